"""What this node itself says of claims: on its own evidence, to the peers it trusts (KNOW-4, MESH-12)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from web4.protocols.knowledge import commands, handlers
from web4.protocols.knowledge.errors import UnknownFactRef, VoteRefused
from web4.protocols.knowledge.ledger.claims import NOTHING_CITED
from web4.protocols.knowledge.ledger.events import Outgoing
from web4.protocols.messages import cip, lip
from web4.protocols.messages.vocabulary import type_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from web4.foundation.clock import Clock
    from web4.foundation.ids import IdSource
    from web4.protocols.knowledge.commands import KnowledgeCommand
    from web4.protocols.knowledge.ledger.claims import Claim
    from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
    from web4.protocols.knowledge.ledger.rounds import KnowledgeState
    from web4.protocols.knowledge.logic import KnowledgeReply
    from web4.protocols.messages.fields import Provenance
    from web4.protocols.messages.lip import SourceClaim
    from web4.protocols.messages.vocabulary import AgentPayload

_T = TypeVar("_T")


class OwnVoice(ABC):
    """The part of `KnowledgeRuntime` that speaks. See there."""

    node: str
    limits: KnowledgeLimits
    clock: Clock
    ids: IdSource

    @abstractmethod
    async def state(self) -> KnowledgeState:
        """See `KnowledgeRuntime.state`."""

    @abstractmethod
    async def ask(self, command: KnowledgeCommand) -> KnowledgeReply:
        """See `KnowledgeRuntime.ask`."""

    @abstractmethod
    async def claim(self, ref: str) -> Claim:
        """See `KnowledgeRuntime.claim`."""

    @abstractmethod
    def trusted(self) -> list[str]:
        """See `KnowledgeRuntime.trusted`."""

    async def propose(self, payload: cip.FactPropose, *, to: Iterable[str] | None = None) -> Claim:
        """Propose a fact of this node's own, here and to peers; the claim.

        Args:
            payload: The fact, and the trace of how it came about.
            to: Fingerprints; every trusted peer when left out.

        Raises:
            ClaimRefused: The ledger does not take it.
        """
        command = handlers.proposed_fact(payload, **self._said())
        await self._tell([command])
        key = command.claims[0].key
        await self._say([key], payload, to, command.cause)
        return await self.claim(key)

    async def vote(
        self,
        ref: str,
        decision: Literal["confirm", "reject"],
        evidence: Sequence[cip.VoteEvidence],
        *,
        confidence: float = 1.0,
        notes: str = "",
        to: Iterable[str] | None = None,
    ) -> Claim:
        """Vote on a fact by this node's own evidence, here and at peers; the claim.

        Own evidence is what this node recorded itself before the claim came, what it fetched itself, or what a human
        told it. That others confirmed a claim, or that it was accepted here, is none (KNOW-4).

        Args:
            ref: Key of the claim, or `msg_id` of a proposal.
            decision: What the evidence says.
            evidence: At least one piece to confirm.
            confidence: How sure this node is, 0 to 1.
            notes: Words for whoever reads it.
            to: Fingerprints; every trusted peer when left out.

        Raises:
            VoteRefused: It cites no evidence of this node's own.
            UnknownFactRef: There is no such claim.
            MissingProvenance: What was fetched names no address (LIP-1).
        """
        claim = await self.claim(ref)
        memory = (await self.state()).memory
        for one in evidence:
            if isinstance(one, cip.MemoryEvidence):
                own = memory.experiences.get(one.ref)
                if own is None or own.at_ms > claim.proposals[0].at_ms:
                    raise VoteRefused("memory evidence names a record of this node from before the claim")
            elif not one.ref:
                raise VoteRefused("evidence names what it is")
        if decision == "confirm" and not evidence:
            raise VoteRefused("a confirmation cites evidence of this node's own")
        shared: dict[str, Any] = {
            "fact_ref": claim.key,
            "confidence": confidence,
            "evidence": tuple(evidence),
            "notes": notes,
        }
        payload: cip.FactConfirm | cip.FactReject = (
            cip.FactConfirm(decision="confirm", **shared)
            if decision == "confirm"
            else cip.FactReject(decision="reject", **shared)
        )
        command = handlers.fact_vote(payload, **self._said(claim))
        await self._tell([command])
        await self._say([claim.key], payload, to, command.cause)
        return await self.claim(claim.key)

    async def challenge(
        self,
        ref: str,
        reason: Literal["conflict", "insufficient_evidence", "cannot_verify"],
        *,
        notes: str = "",
        to: Iterable[str] | None = None,
    ) -> Claim:
        """Doubt a fact, here and at peers; the claim. A later `vote` to confirm withdraws it (KNOW-7).

        Raises:
            UnknownFactRef: There is no such claim.
        """
        claim = await self.claim(ref)
        payload = cip.FactChallenge(fact_ref=claim.key, reason=reason, notes=notes)
        command = handlers.fact_challenge(payload, note_only=False, **self._said(claim))
        await self._tell([command])
        await self._say([claim.key], payload, to, command.cause)
        return await self.claim(claim.key)

    async def evidence(
        self,
        payload: lip.LipEvidence,
        *,
        about: SourceClaim | None = None,
        to: Iterable[str] = (),
    ) -> list[Claim]:
        """Enter web claims on pages that this node fetched itself, and tell peers; the claims (LIP-3).

        Args:
            payload: The claims and their provenance.
            about: The source, as the envelope names it; needed when anybody is told.
            to: Fingerprints; nobody when left out.

        Raises:
            MissingProvenance: It says not where it is from.
            ClaimRefused: The ledger takes none of it.
        """
        told = handlers.proposed_web_claims(payload, self.limits, **self._said())
        await self._tell(told)
        keys = [one.key for command in told for one in command.claims]
        await self._say(keys, payload, to, told[0].cause, about=about)
        known = (await self.state()).ledger.claims
        return [known[key] for key in keys if key in known]

    async def corroborate(
        self,
        payload: lip.LipAccept | lip.LipReject | lip.LipConflict,
        *,
        about: SourceClaim | None = None,
        to: Iterable[str] | None = None,
    ) -> None:
        """Say of web claims that this node's own pages support them, or that they do not, here and to peers.

        Raises:
            MissingProvenance: An acceptance cites no page (LIP-1).
        """
        told: Sequence[commands.CastVote]
        if isinstance(payload, lip.LipConflict):
            told = handlers.web_conflicts(payload, self.limits, note_only=False, **self._said())
            keys = [one.claim_key for one in payload.conflicts]
        else:
            told = handlers.web_votes(payload, self.limits, **self._said())
            keys = list(payload.claim_keys)
        await self._tell(told)
        await self._say(keys, payload, to, told[0].cause, about=about)

    async def share_decision(self, payload: cip.DecisionShare, *, to: Iterable[str] | None = None) -> None:
        """Tell peers of a decision and what came of it; for them it is foreign experience (MEM-3)."""
        await self._say([], payload, to, self.ids.uuid4())

    # --- web claims that are fetched again (LIP-6) ------------------------------------------------------

    async def due_for_recheck(self, limit: int = 16) -> list[Claim]:
        """Accepted web claims that are to be fetched again, the oldest first."""
        ledger = (await self.state()).ledger
        found: list[Claim] = []
        for key in ledger.rechecks:
            claim = ledger.claims[key]
            if claim.status != "accepted":
                continue
            if self.clock.wall_ms() - claim.since_ms < self.limits.recheck_ms or len(found) >= limit:
                break
            found.append(claim)
        return found

    async def rechecked(self, key: str, *, supported: bool, evidence: Sequence[Provenance] = ()) -> Claim:
        """Say whether the page still supports a claim; one that does not disputes it (LIP-6).

        Raises:
            UnknownFactRef: There is no such claim.
            MissingProvenance: The evidence names no address.
        """
        reply = await self.ask(
            commands.Recheck(
                at_ms=self.clock.wall_ms(),
                cause=self.ids.uuid4(),
                key=key,
                supported=supported,
                cited=handlers.cited_pages(evidence) if evidence else NOTHING_CITED,
            )
        )
        if reply.outcomes[0][1] == "unknown_fact_ref":
            raise UnknownFactRef("no claim of this node has this reference")
        return await self.claim(key)

    # --- how it is said ---------------------------------------------------------------------------------

    def _said(self, about: Claim | None = None) -> dict[str, Any]:
        """Who says it, when. What this node says later counts, within one millisecond too (KNOW-2)."""
        msg_id, now = self.ids.uuid4(), self.clock.wall_ms()
        before = None if about is None else about.votes.get(self.node)
        sent = now if before is None else max(now, before.sent_ms + 1)
        return {"at_ms": now, "cause": msg_id, "peer": self.node, "msg_id": msg_id, "sent_ms": sent}

    async def _tell(self, told: Iterable[KnowledgeCommand]) -> None:
        """Give own commands to the ledger.

        Raises:
            ClaimRefused: It takes nothing of one of them.
        """
        for command in told:
            outcomes = (await self.ask(command)).outcomes
            result = handlers.result_of(None, outcomes)
            if result.error is not None:
                raise result.error

    async def _say(
        self,
        keys: Sequence[str],
        payload: AgentPayload,
        to: Iterable[str] | None,
        cause: str,
        *,
        about: SourceClaim | None = None,
    ) -> None:
        """Request durably that peers are told; the lane's effects do it, after a crash too."""
        peers = self.trusted() if to is None else sorted(set(to))
        kind = type_of(payload)
        for some in _by(self.limits.peers_per_command, peers):
            await self.ask(
                commands.Say(
                    at_ms=self.clock.wall_ms(),
                    cause=cause,
                    keys=tuple(dict.fromkeys(keys)),
                    type=kind.name,
                    payload=msgspec.to_builtins(payload),
                    to=tuple(Outgoing(peer=one, msg_id=self.ids.uuid4()) for one in some),
                    about=None if about is None else msgspec.to_builtins(about),
                )
            )


def _by(most: int, things: list[_T]) -> list[list[_T]]:
    return [things[start : start + most] for start in range(0, len(things), most)]

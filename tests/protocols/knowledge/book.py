"""A ledger without a lane for tests: commands in, events kept."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal

from web4.protocols.knowledge import commands
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.ledger import events
from web4.protocols.knowledge.ledger.claims import Cited
from web4.protocols.knowledge.ledger.evaluation import Load
from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
from web4.protocols.knowledge.logic import KnowledgeLogic, KnowledgeReply
from web4.protocols.knowledge.memory.entries import StoredTriple

if TYPE_CHECKING:
    from web4.protocols.knowledge.commands import KnowledgeCommand
    from web4.protocols.knowledge.ledger.claims import Claim, VoteKind
    from web4.protocols.knowledge.memory.commands import MemoryCommand
    from web4.trust import TrustState

START = 1_800_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR


def fp(name: str) -> str:
    """A fingerprint that begins with a name's letters in hex."""
    return name.encode().hex().ljust(64, "0")


def msg(number: int | str) -> str:
    """A version 4 UUID that a number or a name stands for."""
    return str(uuid.UUID(bytes=str(number).encode().rjust(16, b"\0")[-16:], version=4))


NODE = fp("node")


def triple(text: str, *, functional: bool = True) -> StoredTriple:
    """`subject predicate object`."""
    subject, predicate, of = text.split(" ")
    return StoredTriple(subject=subject, predicate=predicate, object=of, functional=functional)


class Book:
    """A ledger, and how tests speak to it. Peers, claims and messages have short names."""

    def __init__(self, **limits: Any) -> None:
        self.logic = KnowledgeLogic(NODE, limits=KnowledgeLimits(**limits))
        self.state = self.logic.initial
        self.events: list[Any] = []
        self.commands: list[KnowledgeCommand] = []
        self.at = START
        self._number = 0

    def tell(self, command: KnowledgeCommand) -> KnowledgeReply:
        self.commands.append(command)
        decision = self.logic.decide(self.state, command)
        for event in decision.events:
            self.state = self.logic.apply(self.state, event)
        self.events += decision.events
        return decision.reply

    def settled(self) -> None:
        """Tick until nothing is left to look at."""
        while self.tell(commands.Tick(at_ms=self.at, cause=self.next_id())).more:
            pass

    def next_id(self) -> str:
        self._number += 1
        return msg(f"auto{self._number}")

    # --- what is told -----------------------------------------------------------------------------------

    def know(self, state: TrustState, *names: str, by: str | None = None) -> None:
        for name in names:
            introducer = None if by is None else fp(by)
            self.tell(
                commands.TrustSeen(
                    at_ms=self.at, cause=self.next_id(), peer=fp(name), state=state, introducer=introducer
                )
            )

    def propose(
        self,
        who: str,
        statement: str,
        *,
        of: StoredTriple | None = None,
        msg_id: str | None = None,
        complete: bool = True,
        domain: str = "physics",
        **fields: Any,
    ) -> str:
        key = claim_key(domain, statement)
        stated = commands.Stated(key=key, domain=domain, statement=statement, triple=of)
        given: dict[str, Any] = {"digest": "ab" * 32, "route": "cip"} | fields
        return self.said(
            commands.Propose(
                at_ms=self.at,
                cause=msg_id or (made := self.next_id()),
                peer=fp(who),
                msg_id=msg_id or made,
                sent_ms=self.at,
                claims=(stated,),
                complete=complete,
                **given,
            )
        )

    def found(self, who: str, statement: str, *pages: str, **fields: Any) -> str:
        """LIP_EVIDENCE: `who` found `statement` on pages of these domains."""
        given: dict[str, Any] = {"cited": cited(who, *pages), "route": "lip"} | fields
        return self.propose(who, statement, **given)

    def vote(
        self,
        who: str,
        kind: VoteKind,
        statement: str,
        *,
        evidence: Cited | None = None,
        sent: int | None = None,
        msg_id: str | None = None,
        ref: str | None = None,
        route: Literal["cip", "lip"] = "cip",
        **fields: Any,
    ) -> str:
        return self.said(
            commands.CastVote(
                at_ms=self.at,
                cause=msg_id or (made := self.next_id()),
                refs=(ref or claim_key("physics", statement),),
                peer=fp(who),
                kind=kind,
                route=route,
                msg_id=msg_id or made,
                sent_ms=self.at if sent is None else sent,
                cited=evidence if evidence is not None else Cited(pieces=1),
                **fields,
            )
        )

    def said(self, command: KnowledgeCommand) -> str:
        return self.tell(command).outcomes[0][1]

    def confirm(self, who: str, statement: str, **fields: Any) -> str:
        return self.vote(who, "confirm", statement, **fields)

    def reject(self, who: str, statement: str, **fields: Any) -> str:
        return self.vote(who, "reject", statement, **fields)

    def challenge(self, who: str, statement: str, **fields: Any) -> str:
        return self.vote(who, "challenge", statement, **{"reason": "conflict"} | fields)

    def human(self, statement: str, decision: Literal["accept", "reject"], reason: str = "I looked") -> None:
        self.tell(
            commands.HumanDecision(
                at_ms=self.at,
                cause=self.next_id(),
                key=claim_key("physics", statement),
                decision=decision,
                human="ada",
                reason=reason,
            )
        )

    def load(self, presence: Any = "engaged", lri: int = 0, *, kernel_overload: bool = False) -> None:
        load = Load(presence=presence, lri=lri, kernel_overload=kernel_overload)
        self.tell(commands.LoadSeen(at_ms=self.at, cause=self.next_id(), load=load))

    def tier(self, domain: str, tier: Any) -> None:
        self.tell(
            commands.TierSet(
                at_ms=self.at, cause=self.next_id(), domain=domain, tier=tier, human="ada", reason="known"
            )
        )

    def remember(self, command: MemoryCommand) -> None:
        self.tell(commands.Remember(at_ms=self.at, cause=self.next_id(), memory=command))

    def wait(self, ms: int) -> None:
        self.at += ms
        self.settled()

    # --- what is asked ----------------------------------------------------------------------------------

    def claim(self, statement: str, domain: str = "physics") -> Claim:
        return self.state.ledger.claims[claim_key(domain, statement)]

    def status(self, statement: str) -> str:
        claim = self.claim(statement)
        return f"{claim.status}({claim.reason})" if claim.reason else claim.status

    def told(self) -> list[tuple[str, str]]:
        """Whose lane was told what."""
        return [
            (bytes.fromhex(one.peer).rstrip(b"\0").decode(), one.command.event)
            for one in self.events
            if isinstance(one, events.TrustEffectRequested)
        ]


def cited(who: str, *domains: str, body: str | None = None) -> Cited:
    """Evidence fetched from pages of these domains; the body is the voter's own unless given."""
    return Cited(
        pieces=len(domains),
        domains=tuple(sorted(set(domains))),
        bodies=(fp(body or f"{who}{''.join(domains)}"),),
    )

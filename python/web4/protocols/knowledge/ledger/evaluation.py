"""What this node makes of a claim (KNOW-6), as a pure function that reads like the rule: the first match wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from web4.protocols.knowledge.ledger import counting
from web4.protocols.knowledge.sources.tiers import RANK
from web4.protocols.messages.fields import Presence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from web4.protocols.knowledge.ledger.claims import Basis, Claim, ClaimStatus, Mode, Proposal, Rule, Vote
    from web4.protocols.knowledge.ledger.counting import PeerSeen
    from web4.protocols.knowledge.sources.tiers import Tier

_PROPOSING: Final = frozenset({"probing", "trusted"})
_MEDIUM: Final = RANK["medium"]
LEARNING_LRI: Final = 50
SUPPORTING: Final = 2
"""Supporting accepted claims that stand for the confirmers in relaxed mode (KNOW-5)."""


class CausalAnswer(NamedTuple):
    """What causal memory says of a statement (MEM-4), with the claims and records it says so by."""

    verdict: Literal["supports", "contradicts", "unknown"] = "unknown"
    references: tuple[str, ...] = ()


class Load(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How this node is, as far as deciding on claims depends on it.

    Args:
        presence: Wire presence (PACE-2).
        lri: Load, 0 to 100.
        kernel_overload: Whether the kernel signals overload.
    """

    presence: Presence = "engaged"
    lri: int = 0
    kernel_overload: bool = False

    @property
    def overloaded(self) -> bool:
        """Whether no claim is accepted now (KNOW-5, 5)."""
        return self.presence == "overloaded"

    @property
    def learning(self) -> bool:
        """Whether the learning gate is open (LIP-4)."""
        return (
            self.lri < LEARNING_LRI and self.presence in {"focused", "engaged"} and not self.kernel_overload
        )


class Standing(NamedTuple):
    """A claim, and all that its evaluation depends on.

    Args:
        claim: With its proposals and standing votes.
        peers: Current trust, and who introduced whom.
        tiers: Of the sources that its proposals name.
        check: What causal memory says.
        supports: Of each proposer, how many accepted claims of others it says this follows from (KNOW-5, relaxed).
        load: How this node is.
        mode: Strict, or relaxed.
        at_ms: Now, Unix milliseconds.
        node: This node's fingerprint.
        confirmers_needed: At least 2.
        pending_ms: How long a claim may be pending.
        disputed_ms: How long one that was never accepted may be disputed.
    """

    claim: Claim
    peers: Mapping[str, PeerSeen]
    tiers: Mapping[str, Tier]
    check: CausalAnswer
    supports: Mapping[str, int]
    load: Load
    mode: Mode
    at_ms: int
    node: str
    confirmers_needed: int = 2
    pending_ms: int = 24 * 3_600_000
    disputed_ms: int = 7 * 24 * 3_600_000


class Verdict(NamedTuple):
    """What a claim is to be.

    Args:
        status: What it is.
        rule: Which letter of KNOW-6 decided; `kept` and `unresolved` are KNOW-7's.
        reason: A code word; empty if there is nothing to say.
        basis: Of an acceptance: what it rests on.
        confirmers: Of an acceptance: who was counted.
        independent: Of an acceptance: how many of them are independent, counted up to what is needed.
    """

    status: ClaimStatus
    rule: Rule
    reason: str = ""
    basis: Basis | None = None
    confirmers: tuple[str, ...] = ()
    independent: int = 0


def evaluate(on: Standing) -> Verdict:  # noqa: PLR0911 - one return for each letter
    """Say what the claim is to be (KNOW-6; of one that was accepted, KNOW-7)."""
    claim = on.claim
    if claim.human is not None:  # (a) a human decided
        return _by_human(on)
    if not claim.was_accepted:  # (b) whose claim it is, and whence
        proposals = _proposals_that_count(on)
        if not proposals:
            return Verdict("rejected", "b", "untrusted_source")
        if _is_blocked(on, proposals):
            return Verdict("rejected", "b", "blocked")
    against = counting.doubters(claim, on.peers, on.node)
    if _voted_down(on):  # (c)
        return Verdict("rejected", "c", "voted_down")
    if against or on.check.verdict == "contradicts":  # (d)
        return _disputed(on, "contradicted" if not against else _doubt(against))
    if claim.was_accepted:  # KNOW-7: nothing else takes an acceptance back
        return _kept(on)
    by_fact, by_web = _as_fact(on), _as_web(on)
    if by_fact is not None and not on.load.overloaded:  # (e)
        return by_fact
    if by_web is not None and on.load.learning:
        return by_web
    if by_fact is not None or by_web is not None:  # (f)
        return Verdict("pending", "f", "load")
    if claim.status == "pending" and on.at_ms - claim.since_ms >= on.pending_ms:  # (g)
        return Verdict("rejected", "g", "expired")
    return Verdict("pending", "h")  # (h)


def tier_of(on: Standing, proposals: Sequence[Proposal]) -> Tier | None:
    """The best that a proposal brings: of each the worst of its sources. None if none names a source."""
    worst: list[Tier] = [
        min((on.tiers.get(one, "unknown") for one in proposal.cited.domains), key=RANK.__getitem__)
        for proposal in proposals
        if proposal.cited.domains
    ]
    if not worst:
        return None
    best: Tier = max(worst, key=RANK.__getitem__)
    return best


def _proposals_that_count(on: Standing) -> list[Proposal]:
    """Those of this node, and of probing or trusted peers (KNOW-5, 4)."""
    return [
        one
        for one in on.claim.proposals
        if one.peer == on.node or counting.state_of(on.peers, one.peer) in _PROPOSING
    ]


def _is_blocked(on: Standing, proposals: Sequence[Proposal]) -> bool:
    """Whether every one of these proposals rests on a blocked source."""
    return all(one.cited.domains for one in proposals) and tier_of(on, proposals) == "blocked"


def _by_human(on: Standing) -> Verdict:
    assert on.claim.human is not None
    if on.claim.human.decision == "reject":
        return Verdict("rejected", "a", "human")
    best = max((_confirmed(on), _corroborated(on)), key=lambda one: one[1])
    return Verdict("accepted", "a", "", "human", *best)


def _voted_down(on: Standing) -> bool:
    """(c) At least two independent rejections with weight, and no confirmation."""
    rejections = [one for one in counting.doubters(on.claim, on.peers, on.node) if one.kind == "reject"]
    if len(rejections) < 2 or counting.independent(rejections, on.peers, up_to=2) < 2:
        return False
    return not counting.is_confirmed(on.claim, on.peers, on.node)


def _doubt(against: list[Vote]) -> str:
    return "challenged" if any(one.kind == "challenge" for one in against) else "rejections"


def _disputed(on: Standing, reason: str) -> Verdict:
    """(d), until it has taken too long (KNOW-7)."""
    claim = on.claim
    if not claim.was_accepted and claim.status == "disputed" and on.at_ms - claim.since_ms >= on.disputed_ms:
        return Verdict("rejected", "unresolved", "unresolved")
    return Verdict("disputed", "d", reason)


def _kept(on: Standing) -> Verdict:
    """KNOW-7: an acceptance stands unless its source is blocked, or its confirmers turn out to be blacklisted."""
    claim = on.claim
    # By all proposals: that one's peer was demoted since must not make it a claim of the others' sources.
    if _is_blocked(on, claim.proposals):
        return Verdict("disputed", "kept", "source_blocked")
    counted = _counted(on)
    if claim.basis == "confirmers":
        lost = {one for one in claim.confirmers if counting.state_of(on.peers, one) == "blacklisted"}
        if lost:
            # Those who were demoted since still stand for it; only the blacklisted do not.
            left = [
                vote
                for vote in claim.votes.values()
                if vote.kind == "confirm" and vote.peer in claim.confirmers and vote.peer not in lost
            ]
            now = [one for one in counted if one not in left]
            if counting.independent([*left, *now], on.peers, up_to=2) < 2:
                return Verdict("disputed", "kept", "confirmer_blacklisted")
    return Verdict("accepted", "kept", "", claim.basis, claim.confirmers)


def _counted(on: Standing) -> list[Vote]:
    return [
        *counting.confirmers(on.claim, on.peers, on.node),
        *counting.corroborators(on.claim, on.peers, on.node),
    ]


def _as_fact(on: Standing) -> Verdict | None:
    """KNOW-5 without the load: how the claim would be accepted as a fact."""
    proposals = [one for one in _proposals_that_count(on) if one.route == "cip"]
    if not any(one.complete for one in proposals):  # (2)
        return None
    names, number = _confirmed(on)
    if number >= on.confirmers_needed:  # (3)
        return Verdict("accepted", "e", "", "confirmers", names, number)
    if on.mode == "relaxed" and any(
        one.complete
        and counting.state_of(on.peers, one.peer) == "trusted"
        and on.supports.get(one.peer, 0) >= SUPPORTING
        for one in proposals
    ):
        return Verdict("accepted", "e", "", "support", names, number)
    return None


def _as_web(on: Standing) -> Verdict | None:
    """LIP-3 without the gate: how the claim would be accepted as one from the web."""
    proposals = [one for one in _proposals_that_count(on) if one.route == "lip"]
    if not any(one.complete for one in proposals):
        return None
    names, number = _corroborated(on)
    if number >= on.confirmers_needed:
        return Verdict("accepted", "e", "", "confirmers", names, number)
    tier = tier_of(on, proposals)
    if tier is not None and RANK[tier] >= _MEDIUM:
        return Verdict("accepted", "e", "", "tier", names, number)
    return None


def _confirmed(on: Standing) -> tuple[tuple[str, ...], int]:
    """Who confirms the fact, and how many of them are independent (KNOW-3)."""
    votes = counting.confirmers(on.claim, on.peers, on.node)
    number = counting.independent(votes, on.peers, up_to=on.confirmers_needed)
    return tuple(sorted(one.peer for one in votes)), number


def _corroborated(on: Standing) -> tuple[tuple[str, ...], int]:
    """Who corroborates the web claim, and how many of them are independent, of its first source too (LIP-3)."""
    first = counting.first_web_proposal(on.claim)
    if first is None:
        return (), 0
    votes = [
        one
        for one in counting.corroborators(on.claim, on.peers, on.node)
        if all(on.tiers.get(domain, "unknown") != "blocked" for domain in one.cited.domains)
    ]
    number = counting.independent(votes, on.peers, up_to=on.confirmers_needed, apart_from=first.cited)
    return tuple(sorted(one.peer for one in votes)), number

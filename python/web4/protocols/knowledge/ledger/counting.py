"""Who counts, and how many of them are independent of each other (KNOW-3, LIP-3). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from web4.trust import TrustState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from web4.protocols.knowledge.ledger.claims import Cited, Claim, Proposal, Vote


class PeerSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the ledger knows of a peer.

    Args:
        state: How far it is trusted.
        introducer: By whom it is here; None once the operator anchored or promoted it (KNOW-3).
    """

    state: TrustState = "unknown"
    introducer: str | None = None


UNSEEN = PeerSeen()


def state_of(peers: Mapping[str, PeerSeen], peer: str) -> TrustState:
    """How far a peer is trusted."""
    return peers.get(peer, UNSEEN).state


def confirmers(claim: Claim, peers: Mapping[str, PeerSeen], node: str) -> list[Vote]:
    """The votes that count for a fact: of trusted peers who did not propose it, citing evidence (KNOW-3)."""
    proposers = claim.proposers
    return [
        vote
        for vote in claim.votes.values()
        if vote.kind == "confirm"
        and vote.route == "cip"
        and vote.cited.pieces
        and vote.peer != node
        and vote.peer not in proposers
        and state_of(peers, vote.peer) == "trusted"
    ]


def corroborators(claim: Claim, peers: Mapping[str, PeerSeen], node: str) -> list[Vote]:
    """The votes that count for a web claim: of trusted peers, not the first proposer, with own provenance (LIP-3)."""
    first = first_web_proposal(claim)
    return [
        vote
        for vote in claim.votes.values()
        if vote.kind == "confirm"
        and vote.route == "lip"
        and vote.cited.bodies
        and vote.peer != node
        and (first is None or vote.peer != first.peer)
        and state_of(peers, vote.peer) == "trusted"
    ]


def doubters(claim: Claim, peers: Mapping[str, PeerSeen], node: str) -> list[Vote]:
    """The standing challenges and rejections with weight: of trusted peers, and of this node itself."""
    return [
        vote
        for vote in claim.votes.values()
        if vote.kind != "confirm" and (vote.peer == node or state_of(peers, vote.peer) == "trusted")
    ]


def is_confirmed(claim: Claim, peers: Mapping[str, PeerSeen], node: str) -> bool:
    """Whether anybody with weight but its proposers confirms the claim: it cannot be voted down then.

    This node's own word counts here, so that every node with the same votes comes to the same state (MESH-12).
    """
    proposers = claim.proposers
    return any(
        vote.kind == "confirm"
        and vote.peer not in proposers
        and (vote.peer == node or state_of(peers, vote.peer) == "trusted")
        for vote in claim.votes.values()
    )


def first_web_proposal(claim: Claim) -> Proposal | None:
    """The proposal that made it a web claim, if one did."""
    return next((one for one in claim.proposals if one.route == "lip"), None)


def independent(
    votes: Sequence[Vote],
    peers: Mapping[str, PeerSeen],
    *,
    apart_from: Cited | None = None,
    through: Iterable[Cited] = (),
) -> int:
    """How many of these votes are independent of each other (KNOW-3).

    Those who are here by the same introducer count, together with that introducer, as one; so do those whose evidence
    has the same registrable domain or the same body. What hangs together by several such ties is one, too.

    Args:
        votes: Of different peers.
        peers: By whom they are here.
        apart_from: Whoever shares a domain or a body with this does not count: the first source of LIP-3.
        through: What others cite: it counts nothing itself, but shows what hangs together.
    """
    groups = _Groups()
    for vote in votes:
        names = _ties(vote.cited)
        introducer = peers.get(vote.peer, UNSEEN).introducer
        if introducer is not None:
            names.append(f"peer {introducer}")
        groups.tie(f"peer {vote.peer}", names)
    if not groups:
        return 0
    for number, cited in enumerate(through):
        groups.tie(f"other {number}", _ties(cited))
    if apart_from is not None:
        groups.tie("first", _ties(apart_from))
    voted = {groups.root(f"peer {vote.peer}") for vote in votes}
    if apart_from is not None:
        voted.discard(groups.root("first"))
    return len(voted)


def _ties(cited: Cited) -> list[str]:
    return [*[f"domain {one}" for one in cited.domains], *[f"body {one}" for one in cited.bodies]]


class _Groups:
    """Names, and which of them hang together."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._parent)

    def tie(self, name: str, others: Iterable[str]) -> None:
        """Put `name` and `others` together."""
        self._parent.setdefault(name, name)
        for other in others:
            self._parent.setdefault(other, other)
            self._parent[self.root(other)] = self.root(name)

    def root(self, name: str) -> str:
        """The one name that stands for all that hangs together with this one."""
        while (parent := self._parent[name]) != name:
            self._parent[name] = self._parent[parent]
            name = self._parent[name]
        return name

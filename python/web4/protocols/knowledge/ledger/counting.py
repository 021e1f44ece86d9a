"""Who counts, and how many of them are independent of each other (KNOW-3, LIP-3). Pure."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from web4.trust import TrustState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def root_of(peer: str, peers: Mapping[str, PeerSeen]) -> str:
    """By whom a peer is here in the end: the introducer of its introducer, and so on; itself if by nobody (KNOW-3).

    Whoever is verified may introduce others. If each step made a new group, one peer could bring its own confirmers.
    """
    line = {peer: None}
    while (by := peers.get(peer, UNSEEN).introducer) is not None:
        if by in line:  # a circle, which no order of introductions gives: its least name stands for it
            return min(islice(line, list(line).index(by), None))
        line[by] = None
        peer = by
    return peer


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
    votes: Sequence[Vote], peers: Mapping[str, PeerSeen], *, up_to: int, apart_from: Cited | None = None
) -> int:
    """How many of these votes there are of which each is independent of each other; `up_to` if there are more (KNOW-3).

    Two are not if their peers are here by the same introducer in the end, or one by the other, or if their evidence has
    the same registrable domain or the same body. One more vote never makes it fewer, so nobody can undo what others
    confirmed by agreeing with them, and the order in which votes come does not matter (MESH-12).

    Args:
        votes: Of different peers.
        peers: By whom they are here.
        up_to: At least 1. What is asked is whether there are enough: a few.
        apart_from: Whoever shares a domain or a body with this does not count: the first source of LIP-3.
    """
    first = frozenset() if apart_from is None else frozenset(_places(apart_from))
    having: dict[str, int] = {}
    names = [_names(vote, peers) for vote in votes]
    names = [of_one for of_one in names if first.isdisjoint(of_one)]
    for place, of_one in enumerate(names):
        for name in of_one:
            having[name] = having.get(name, 0) | 1 << place
    tied = []
    for of_one in names:
        mask = 0
        for name in of_one:
            mask |= having[name]
        tied.append(mask)
    found = 0
    while found < min(up_to, len(tied)) and _has(found + 1, (1 << len(tied)) - 1, tied):
        found += 1
    return found


def _has(number: int, among: int, tied: list[int]) -> bool:
    """Whether there are so many among these places of which none is tied to another."""
    if number <= 1:
        return number <= 0 or bool(among)
    while among.bit_count() >= number:
        place = among.bit_length() - 1
        among ^= 1 << place
        if _has(number - 1, among & ~tied[place], tied):
            return True
    return False


def _names(vote: Vote, peers: Mapping[str, PeerSeen]) -> list[str]:
    """By what a vote can hang together with another: they do if they share a name."""
    return [*_places(vote.cited), f"peer {root_of(vote.peer, peers)}"]


def _places(cited: Cited) -> list[str]:
    return [*[f"domain {one}" for one in cited.domains], *[f"body {one}" for one in cited.bodies]]

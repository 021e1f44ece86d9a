"""MESH-3 as one pure decision: what becomes of an envelope, checked in the order of the specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from web4.foundation.digest import blake3_hex
from web4.protocols.messages.mesh import BROADCAST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from web4.mesh.forwarding.seen import Seen
    from web4.mesh.policy import MeshForwardingPolicy
    from web4.protocols.messages.mesh import MeshEnvelope

DropReason = Literal[
    "invalid",
    "no_link",
    "expired",
    "blocked",
    "loop",
    "seen",
    "seen_full",
    "hop_limit",
    "not_relaying",
    "no_route",
    "rate",
]
DROP_REASONS: Final[dict[DropReason, str]] = {
    "invalid": "Not a right envelope, or wrongly signed (1).",
    "no_link": "There is no link to the neighbour any more, or never was (MESH-2).",
    "expired": "It has outlived its `ttl_ms`, or is from too far ahead (1).",
    "blocked": "Origin, previous hop or destination is blacklisted here (2).",
    "loop": "This node stands in `hops` already (3).",
    "seen": "This envelope of this origin was here before (3).",
    "seen_full": "More ids of this origin live than are remembered (3).",
    "hop_limit": "`hops` is full (5).",
    "not_relaying": "This node passes nothing on (MESH-7).",
    "no_route": "No registered, trusted and live neighbour leads there (6).",
    "rate": "More of this origin waits than is passed on in time (MESH-7).",
}
"""Why an envelope is dropped, and the step of MESH-3 that says so."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """It is for this node."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Append this node to `hops`, and give it to this neighbour."""

    next: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A broadcast: it is for this node, and these neighbours get it too (MESH-6)."""

    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing becomes of it."""

    reason: DropReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a node knows when it decides about an envelope.

    Args:
        own: Fingerprint of this node.
        peer: The neighbour who handed it over, proven by its session; this node itself for its own envelopes.
        now_ms: Time here.
        created_ms: When the envelope was made, as it says.
        policy: See `MeshForwardingPolicy`.
        barred: Whether a node is blacklisted here.
        seen: Whether the envelope was here before.
        next_hop: The neighbour that the way to a destination begins with, if there is one.
        neighbours: The neighbours who may be a next hop.
    """

    own: str
    peer: str
    now_ms: int
    created_ms: int
    policy: MeshForwardingPolicy
    barred: Callable[[str], bool]
    seen: Seen
    next_hop: Callable[[str], str | None]
    neighbours: Sequence[str] = ()


def decide(envelope: MeshEnvelope, situation: Situation) -> Deliver | Forward | Spread | Drop:  # noqa: PLR0911 - a list
    """Say what becomes of an envelope whose form and signature are right: steps 1 (time) to 7."""
    policy = situation.policy
    left_ms = situation.created_ms + envelope.ttl_ms - situation.now_ms
    if left_ms < 0 or situation.created_ms - situation.now_ms > policy.skew_ms:  # (1)
        return Drop("expired")
    if any(map(situation.barred, (envelope.origin, situation.peer, envelope.destination))):  # (2)
        return Drop("blocked")
    if situation.own in envelope.hops or (
        envelope.origin == situation.own and situation.peer != situation.own
    ):  # (3)
        return Drop("loop")
    if situation.seen != "new":
        return Drop("seen" if situation.seen == "seen" else "seen_full")
    if envelope.destination == situation.own:  # (4)
        return Deliver()
    if envelope.destination == BROADCAST:
        return Spread(_spread_to(envelope, situation))
    if len(envelope.hops) >= policy.max_hops:  # (5)
        return Drop("hop_limit")
    if not policy.relays and situation.peer != situation.own:
        return Drop("not_relaying")
    following = situation.next_hop(envelope.destination)
    if (
        following is None or following in envelope.hops or following in (situation.peer, envelope.origin)
    ):  # (6)
        return Drop("no_route")
    return Forward(following)  # (7)


def _spread_to(envelope: MeshEnvelope, situation: Situation) -> tuple[str, ...]:
    """To whom a broadcast goes on: to all who have not had it, within the fan-out; each id draws others."""
    policy = situation.policy
    is_own = situation.peer == situation.own
    if not is_own and (len(envelope.hops) >= policy.max_hops or not policy.relays):
        return ()
    had_it = {situation.own, situation.peer, envelope.origin, *envelope.hops}
    others = [peer for peer in situation.neighbours if peer not in had_it]
    if len(others) > policy.fan_out:
        others.sort(key=lambda peer: blake3_hex(f"{envelope.id}{peer}".encode()))
    return tuple(sorted(others[: policy.fan_out]))

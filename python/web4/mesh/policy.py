"""What a node does for others in the mesh, and what it expects of those it sends through (MESH-7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from web4.protocols.messages.mesh import MAX_HOPS

if TYPE_CHECKING:
    from web4.trust import TrustState

LONGEST_TTL_MS: Final = 60_000
"""No envelope lives longer (MESH-3)."""

_RANK: Final[dict[TrustState, int]] = {
    "blacklisted": -1,
    "unknown": 0,
    "untrusted": 0,
    "probing": 1,
    "trusted": 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshForwardingPolicy:
    """The numbers of a node's mesh, checked when they are set (LIM-1).

    Args:
        max_hops: Intermediate nodes that an envelope may pass.
        ttl_ms: How long an envelope of this node lives, at most 60 s.
        min_trust: How far the next hop has to be trusted.
        fan_out: Neighbours to whom a broadcast is passed on at most.
        relays: Whether this node passes on what is not for it.
        relay_bytes_per_second: Bytes of envelopes that are passed on for one origin.
        relay_burst_bytes: And at once, after a pause.
        queue_bytes: Bytes of one origin that wait for the next hop; more are dropped.
        messages_per_second: Envelopes given to one neighbour, so that its own limit (LIM-2) is never reached.
        stale_ms: Silence after which a neighbour, and what it offered, is not routable (MESH-8).
        advertise_ms: How often ways are offered anew (MESH-4).
        settle_ms: How long changes are gathered before they are offered.
        suspect_ms: How long a way on which a stream broke is taken only if there is no other (MESH-5).
        destinations: Ways that one neighbour may offer; more are not taken in.
        changes_per_second: Ways of one neighbour that may come or become others; what is beyond waits until it is
            offered anew. Each change costs this node a choice, and its neighbours one, too.
        changes_burst: And at once: enough for all the ways of a large mesh.
        origins: Origins whose traffic is remembered and metered at once.
        seen: Envelope ids that are remembered of one origin, and of what one neighbour hands over; more are dropped
            until these expire.
        skew_ms: How far in the future an envelope may have been made.
    """

    max_hops: int = 3
    ttl_ms: int = LONGEST_TTL_MS
    min_trust: TrustState = "trusted"
    fan_out: int = 8
    relays: bool = True
    relay_bytes_per_second: int = 1024 * 1024
    relay_burst_bytes: int = 1024 * 1024
    queue_bytes: int = 1024 * 1024
    messages_per_second: float = 400
    stale_ms: int = 90_000
    advertise_ms: int = 30_000
    settle_ms: int = 50
    suspect_ms: int = 30_000
    destinations: int = 4_096
    changes_per_second: float = 32
    changes_burst: int = 1_024
    origins: int = 1_024
    seen: int = 32_768
    skew_ms: int = 120_000

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")
        if self.max_hops > MAX_HOPS:
            raise ValueError(f"max_hops is at most {MAX_HOPS}")
        if self.ttl_ms > LONGEST_TTL_MS:
            raise ValueError(f"ttl_ms is at most {LONGEST_TTL_MS}")
        if self.min_trust not in ("probing", "trusted"):
            raise ValueError("min_trust is probing or trusted")

    def trusts(self, state: TrustState) -> bool:
        """Whether a neighbour of this trust may be the next hop."""
        return _RANK[state] >= _RANK[self.min_trust]

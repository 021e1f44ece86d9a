"""What lane `server` records of the peers that this node knows of (MESH-8)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from web4.journal.event_types import EventType

PeerSource = Literal["inbound", "introduced", "configured"]
"""How a peer became known; a later one of these outweighs an earlier one."""
RANK: Final[dict[PeerSource, int]] = {"inbound": 0, "introduced": 1, "configured": 2}


class OfferedByPeer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service that a peer says it offers."""

    name: str
    version: str


class PeerEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is known of a peer. All but the fingerprint is somebody's word: the operator's, an introducer's, its own.

    Args:
        fingerprint: Who it is.
        source: How it became known.
        at_ms: When this was recorded, Unix milliseconds.
        agent_id: What it calls itself (ID-3).
        addresses: Where it may be dialled.
        capabilities: What it says that it can do.
        services: What it says that it offers.
        told_by: The introducer whose word `addresses` are; None where they are the operator's.
    """

    fingerprint: str
    source: PeerSource
    at_ms: int
    agent_id: str | None = None
    addresses: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    services: tuple[OfferedByPeer, ...] = ()
    told_by: str | None = None

    @property
    def told(self) -> bool:
        """Whether somebody else than the operator says where it is. Older records do not say who."""
        return bool(self.addresses) and (self.told_by is not None or self.source != "configured")


class PeerAdded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A peer is known from now on."""

    fingerprint: str
    entry: PeerEntry


class PeerChanged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something else is known of a peer."""

    fingerprint: str
    entry: PeerEntry


class PeerRemoved(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A peer is not known any more. `reason` is `operator`, `not_configured` or `evicted`."""

    fingerprint: str
    at_ms: int
    reason: str


PeersEvent = PeerAdded | PeerChanged | PeerRemoved


def _type(name: str, struct: type[msgspec.Struct]) -> EventType:
    classes = dict.fromkeys(struct.__struct_encode_fields__, "structural")
    return EventType(name=name, struct=struct, classes=classes, refs={"peer": "fingerprint"})  # type: ignore[arg-type]


PEERS_EVENTS: Final = (
    _type("mesh.peer_added", PeerAdded),
    _type("mesh.peer_changed", PeerChanged),
    _type("mesh.peer_removed", PeerRemoved),
)
"""Every event type of the peers' part of lane `server`."""

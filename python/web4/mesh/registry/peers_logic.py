"""The peers that a node knows of, as pure functions over lane `server` (ACT-1, MESH-8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from web4.actors.composite import Part
from web4.actors.definition import LaneDefinition, Origin
from web4.foundation.logic import Decision
from web4.mesh.registry.peers_events import (
    PEERS_EVENTS,
    RANK,
    OfferedByPeer,
    PeerAdded,
    PeerChanged,
    PeerEntry,
    PeerRemoved,
    PeersEvent,
    PeerSource,
)

MAX_PEERS: Final = 4_096
"""Peers that are known at once; beyond, one that weighs no more gives way, or the new one is not kept."""
LOGIC_VERSION: Final = 1


class PeersState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All peers that are known, by fingerprint."""

    peers: dict[str, PeerEntry] = msgspec.field(default_factory=dict)


class KnowPeer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody tells of a peer. What is None stays as it is known.

    Args:
        at: Unix milliseconds.
        fingerprint: Whose it is.
        source: Who tells: addresses of a weaker source do not replace those of a stronger one.
        agent_id, addresses, capabilities, services: See `PeerEntry`.
        told_by: The introducer who names the addresses.
        evict: Who gives way if there is no room: the one that was silent longest, as the registry knows.
    """

    at: int
    fingerprint: str
    source: PeerSource
    agent_id: str | None = None
    addresses: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] | None = None
    services: tuple[OfferedByPeer, ...] | None = None
    told_by: str | None = None
    evict: str | None = None


class ForgetPeer(msgspec.Struct, frozen=True, kw_only=True):
    """A peer is to be known no more."""

    at: int
    fingerprint: str
    reason: str
    by: str | None = None


PeersCommand = KnowPeer | ForgetPeer


@dataclass(frozen=True, slots=True)
class PeersReply:
    """The answer to a command.

    Args:
        refused: Code of `RegistryError`, if it was.
        entry: What is known afterwards.
    """

    refused: str | None = None
    entry: PeerEntry | None = None


PeersDecision = Decision[PeersEvent, PeersReply]


@dataclass(frozen=True)
class PeersLogic:
    """Logic of the peers' part of lane `server`."""

    initial: PeersState = field(default_factory=PeersState)

    def decide(self, state: PeersState, command: PeersCommand) -> PeersDecision:
        """Say what follows."""
        known = state.peers.get(command.fingerprint)
        if isinstance(command, KnowPeer):
            return _know(state, known, command)
        if known is None:
            return Decision((), PeersReply("unknown_peer"))
        event = PeerRemoved(fingerprint=command.fingerprint, at_ms=command.at, reason=command.reason)
        return Decision((event,), PeersReply())

    def apply(self, state: PeersState, event: PeersEvent) -> PeersState:
        """Give the state after `event`."""
        peers = dict(state.peers)
        if isinstance(event, PeerRemoved):
            peers.pop(event.fingerprint, None)
        else:
            peers[event.fingerprint] = event.entry
        return PeersState(peers=peers)


def _know(state: PeersState, known: PeerEntry | None, command: KnowPeer) -> PeersDecision:
    entry = _told(known, command)
    if known is not None:
        if msgspec.structs.replace(entry, at_ms=known.at_ms) == known:
            return Decision((), PeersReply(entry=known))
        return Decision((PeerChanged(fingerprint=command.fingerprint, entry=entry),), PeersReply(entry=entry))
    added = PeerAdded(fingerprint=command.fingerprint, entry=entry)
    if len(state.peers) < MAX_PEERS:
        return Decision((added,), PeersReply(entry=entry))
    victim = None if command.evict is None else state.peers.get(command.evict)
    if victim is None or RANK[victim.source] > RANK[command.source] or victim.source == "configured":
        return Decision((), PeersReply("registry_full"))
    removed = PeerRemoved(fingerprint=victim.fingerprint, at_ms=command.at, reason="evicted")
    return Decision((removed, added), PeersReply(entry=entry))


def _told(known: PeerEntry | None, command: KnowPeer) -> PeerEntry:
    """What is known once `command` was heard."""
    before = known or PeerEntry(fingerprint=command.fingerprint, source=command.source, at_ms=command.at)
    weighs = RANK[command.source] >= RANK[before.source] or not before.addresses
    taken = command.addresses if weighs else None
    return PeerEntry(
        fingerprint=command.fingerprint,
        source=max(before.source, command.source, key=RANK.__getitem__),
        at_ms=command.at,
        agent_id=before.agent_id if command.agent_id is None else command.agent_id,
        addresses=before.addresses if taken is None else taken,
        capabilities=before.capabilities if command.capabilities is None else command.capabilities,
        services=before.services if command.services is None else command.services,
        told_by=before.told_by if taken is None else command.told_by,
    )


class PeersDefinition(LaneDefinition[PeersState, PeersCommand, PeersEvent, PeersReply]):
    """What the peers' part of lane `server` consists of."""

    def origin(self, command: PeersCommand) -> Origin:
        """An operator's act is recorded on their behalf."""
        return Origin(command.at, principal=command.by if isinstance(command, ForgetPeer) else None)


PEERS: Final = Part(
    "peers",
    PeersDefinition(logic=PeersLogic(), state=PeersState, events=PEERS_EVENTS, version=LOGIC_VERSION),
    (KnowPeer, ForgetPeer),
)
"""The peers' part of lane `server`."""

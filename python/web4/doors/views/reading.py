"""What questions read: a node that runs, or one at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from web4.foundation.identity import Identity
    from web4.journal.journal import Journal
    from web4.mesh.registry.peers_file import PeersFile
    from web4.mesh.registry.registry import KnownPeer
    from web4.node.config import NodeConfig
    from web4.node.node import Node
    from web4.protocols.hcp.lane.states import LaneState
    from web4.protocols.knowledge.ledger.state import LedgerState
    from web4.trust import TrustRecord


class Reading(Protocol):
    """A node, as far as questions go. What is read is durable; `node` has the telemetry besides, while it runs."""

    @property
    def directory(self) -> Path:
        """Its data directory, absolute."""
        ...

    @property
    def identity(self) -> Identity:
        """Who it is."""
        ...

    @property
    def config(self) -> NodeConfig:
        """How it is set up."""
        ...

    @property
    def name(self) -> str:
        """What the agent calls itself."""
        ...

    @property
    def journal(self) -> Journal:
        """Its journal; an empty one of a node that never ran."""
        ...

    @property
    def node(self) -> Node | None:
        """The node itself, if it runs in this process."""
        ...

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Lanes that cannot be read, and why, as far as they were looked at."""
        ...

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...

    async def named(self) -> PeersFile:
        """The peers that the operator named."""
        ...

    async def trust(self) -> dict[str, TrustRecord]:
        """How far every peer is trusted of whom there is a record, by fingerprint."""
        ...

    async def trust_of(self, peer: str) -> TrustRecord:
        """That of one peer; the default record if there is none."""
        ...

    async def peers(self) -> dict[str, KnownPeer]:
        """The peers that the registry knows, by fingerprint."""
        ...

    async def ledger(self) -> LedgerState:
        """Claims and sources."""
        ...

    async def humans(self) -> dict[str, LaneState]:
        """What is known of humans, by the id of their lanes."""
        ...

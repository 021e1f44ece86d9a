"""A running node as questions read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4.mesh.registry.peers_file import read_peers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from web4.foundation.identity import Identity
    from web4.journal.journal import Journal
    from web4.mesh.registry.peers_file import PeersFile
    from web4.mesh.registry.registry import KnownPeer
    from web4.node import Node, NodeConfig
    from web4.protocols.hcp.lane.states import LaneState
    from web4.protocols.knowledge.ledger.state import LedgerState
    from web4.trust import TrustRecord


class NodeReading:
    """A `Reading` of a node that runs in this process.

    Args:
        node: Which one.
    """

    def __init__(self, node: Node) -> None:
        self.node: Node = node

    @property
    def directory(self) -> Path:
        """See `Reading.directory`."""
        return self.node.places.data.absolute()

    @property
    def identity(self) -> Identity:
        """See `Reading.identity`."""
        return self.node.identity

    @property
    def config(self) -> NodeConfig:
        """See `Reading.config`."""
        return self.node.config

    @property
    def name(self) -> str:
        """See `Reading.name`."""
        return self.node.name

    @property
    def journal(self) -> Journal:
        """See `Reading.journal`."""
        return self.node.journal

    @property
    def unreadable(self) -> Mapping[str, str]:
        """See `Reading.unreadable`: a running node halts such lanes, its journal has the list."""
        return {}

    def now_ms(self) -> int:
        """See `Reading.now_ms`."""
        return self.node.clock.wall_ms()

    async def named(self) -> PeersFile:
        """See `Reading.named`."""
        return await trio.to_thread.run_sync(read_peers, self.node.places.peers)

    async def trust(self) -> dict[str, TrustRecord]:
        """See `Reading.trust`."""
        await trio.lowlevel.checkpoint()
        return {one.peer: one.record for one in self.node.trust}

    async def trust_of(self, peer: str) -> TrustRecord:
        """See `Reading.trust_of`."""
        await trio.lowlevel.checkpoint()
        return self.node.trust.record(peer)

    async def peers(self) -> dict[str, KnownPeer]:
        """See `Reading.peers`."""
        await trio.lowlevel.checkpoint()
        return {one.entry.fingerprint: one for one in self.node.peers.all()}

    async def ledger(self) -> LedgerState:
        """See `Reading.ledger`."""
        return (await self.node.knowledge.state()).ledger

    async def humans(self) -> dict[str, LaneState]:
        """See `Reading.humans`."""
        return await self.node.people.states()

"""A node that does not run: what its journal says, opened for reading. Nothing is written, no lock is taken."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.actors.rebuilding import rebuild
from web4.foundation.clock import SystemClock
from web4.journal.errors import CorruptJournalError
from web4.journal.event_types import EventRegistry
from web4.journal.journal import Journal
from web4.journal.lane import KNOWLEDGE, SERVER, Lane
from web4.journal.own_events import OWN_EVENTS
from web4.mesh.registry.peers_file import read_peers
from web4.mesh.registry.registry import KnownPeer
from web4.node.config import read_config
from web4.node.directory import Places, open_directory
from web4.node.journals import read_journal_of
from web4.node.ownership import check_owner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from web4.foundation.identity import Identity
    from web4.journal.lane import LaneKind
    from web4.mesh.registry.peers_file import PeersFile
    from web4.node.config import NodeConfig
    from web4.protocols.hcp.lane.states import LaneState
    from web4.protocols.knowledge.ledger.state import LedgerState
    from web4.trust import TrustRecord

_PAGE: Final = 500


@asynccontextmanager
async def open_at_rest(directory: Path, config_file: Path | None = None) -> AsyncIterator[AtRest]:
    """Read a node's data directory for the time of the block. Works beside a running node, too.

    Args:
        directory: Absolute.
        config_file: The configuration; left out, the directory's own.

    Raises:
        DirectoryError, IdentityError, ConfigurationError: What is in the directory does not fit; the journal is another
            key's.
        JournalOpenError: The journal cannot be read, wherever it is kept.
    """
    places = Places(directory)
    identity = await trio.to_thread.run_sync(open_directory, places)
    config = await trio.to_thread.run_sync(read_config, config_file or places.config)
    async with read_journal_of(places, identity.fingerprint, config.journal) as backend:
        await check_owner(backend, identity, places)
        yield AtRest(places, identity, config, Journal(backend, registry=EventRegistry(OWN_EVENTS)))


class AtRest:
    """A `Reading` of a node that does not run. States are rebuilt from the lanes' records, each once.

    Args:
        places: Its data directory.
        identity: Who it is.
        config: How it is set up.
        journal: Opened for reading.
    """

    node = None

    def __init__(self, places: Places, identity: Identity, config: NodeConfig, journal: Journal) -> None:
        self._places = places
        self.identity = identity
        self.config = config
        self.journal = journal
        self.unreadable: dict[str, str] = {}
        self._clock = SystemClock()
        self._trust: dict[str, TrustRecord] = {}
        self._all_trust = False

    @property
    def directory(self) -> Path:
        """See `Reading.directory`."""
        return self._places.data

    @property
    def name(self) -> str:
        """See `Reading.name`."""
        return self.config.node.name or self._places.name

    def now_ms(self) -> int:
        """See `Reading.now_ms`."""
        return self._clock.wall_ms()

    async def named(self) -> PeersFile:
        """See `Reading.named`."""
        return await trio.to_thread.run_sync(read_peers, self._places.peers)

    async def trust(self) -> dict[str, TrustRecord]:
        """See `Reading.trust`."""
        if not self._all_trust:
            for peer in await self._ids("peer"):
                await self.trust_of(peer)
            self._all_trust = True
        return {peer: record for peer, record in self._trust.items() if record.state != "unknown"}

    async def trust_of(self, peer: str) -> TrustRecord:
        """See `Reading.trust_of`."""
        from web4.protocols.cip.durable_lane import peer_definition  # noqa: PLC0415 - not every question needs it

        if peer not in self._trust:
            definition = peer_definition()
            state = await self._state(Lane("peer", peer), definition)
            if state is None:
                return definition.logic.initial.trust
            self._trust[peer] = state.trust
        return self._trust[peer]

    async def outbox_counts(self) -> dict[str, int]:
        """How many messages wait for each peer for whom any does. What cannot be read is in `unreadable`."""
        from web4.protocols.cip.durable_lane import peer_definition  # noqa: PLC0415

        waiting = {}
        for peer in await self._ids("peer"):
            state = await self._state(Lane("peer", peer), peer_definition())
            if state is not None and state.outbox.entries:
                waiting[peer] = len(state.outbox.entries)
        return waiting

    async def peers(self) -> dict[str, KnownPeer]:
        """See `Reading.peers`: nobody is live."""
        from web4.mesh.registry.peers_logic import PEERS  # noqa: PLC0415
        from web4.mesh.server_lane import SERVER_LANE  # noqa: PLC0415

        state = await self._state(SERVER, SERVER_LANE)
        if state is None:
            return {}
        known = PEERS.of(state).peers
        return {one: KnownPeer(known[one], None, live=False) for one in sorted(known)}

    async def ledger(self) -> LedgerState:
        """See `Reading.ledger`."""
        from web4.protocols.knowledge.definition import PART  # noqa: PLC0415
        from web4.protocols.knowledge.ledger.state import LedgerState  # noqa: PLC0415
        from web4.protocols.lip.readable_lane import readable_knowledge_lane  # noqa: PLC0415

        state = await self._state(KNOWLEDGE, readable_knowledge_lane(self.identity.fingerprint))
        ledger: LedgerState = LedgerState() if state is None else state.parts[PART].ledger
        return ledger

    async def humans(self) -> dict[str, LaneState]:
        """See `Reading.humans`."""
        from web4.protocols.hcp.lane.readable import READABLE_HUMAN_LANE  # noqa: PLC0415

        found = {}
        for human in await self._ids("human"):
            state: LaneState | None = await self._state(
                Lane("human", human), READABLE_HUMAN_LANE, foreign=True
            )
            if state is not None and (state.local is not None or state.remote is not None):
                found[human] = state
        return found

    async def _ids(self, kind: LaneKind) -> list[str]:
        found: list[str] = []
        after: Lane | None = None
        while page := await self.journal.heads(kind, after=after, limit=_PAGE):
            found += [lane.id for lane, _ in page]
            after = page[-1][0]
        return found

    async def _state(self, lane: Lane, definition: Any, *, foreign: bool = False) -> Any:
        """A lane's state; None if it cannot be read, or with `foreign` is another room's."""
        for one in definition.events:
            self.journal.registry.register(one)
        try:
            return (await rebuild(self.journal, lane, definition)).state
        except CorruptJournalError as error:
            if not (foreign and error.code == "future_event"):
                self.unreadable[str(lane)] = str(error)
            return None

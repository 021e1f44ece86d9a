"""The peers that a node holds in memory, and what its journal remembers of all of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from web4.actors.rebuilding import rebuild
from web4.foundation.digest import blake3_hex
from web4.journal.errors import BlobNotFoundError, CorruptJournalError, JournalError
from web4.journal.lane import Lane
from web4.protocols.cip.durable_lane import DurablePeerLane, peer_definition
from web4.protocols.cip.lane import PEER_EVENTS
from web4.protocols.cip.lane_errors import LANE_ERRORS
from web4.protocols.cip.peer import Peer
from web4.protocols.cip.peer_state import Caused
from web4.trust.fsm import raise_refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from web4.journal.journal import Journal
    from web4.protocols.cip.context import CipContext
    from web4.protocols.cip.durable_lane import Broken
    from web4.trust import TrustCommand, TrustOutcome

_SWEEP_MS: Final = 60_000
_PAGE: Final = 500


class Peers:
    """Peers by fingerprint, made when they are first needed.

    Args:
        context: What the node's sessions share.
        journal: Where lanes of peers are; None keeps them in memory.
        linked: The peers of whom a session is being served, or about to be.
        broken: Told when a peer's lane cannot be kept.
    """

    def __init__(
        self, context: CipContext, journal: Journal | None, *, linked: Callable[[], set[str]], broken: Broken
    ) -> None:
        self._context = context
        self._journal = journal
        self._linked = linked
        self._broken = broken
        self._definition = peer_definition(
            context.trust.limits, context.options.replay, context.options.outbox
        )
        self._held: dict[str, Peer] = {}
        self._used: dict[str, int] = {}
        self._swept_ms = 0
        self._due: set[str] = set()
        self._work = trio.Event()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._held))

    def __contains__(self, fingerprint: object) -> bool:
        return fingerprint in self._held

    def __getitem__(self, fingerprint: str) -> Peer:
        return self._held[fingerprint]

    def get(self, fingerprint: str) -> Peer | None:
        """A peer that is held."""
        return self._held.get(fingerprint)

    def need(self, fingerprint: str) -> Peer:
        """A peer, made now if it is not held.

        Raises:
            InvalidEventError: `lane`: with a journal, a name that is no fingerprint.
        """
        peer = self._held.get(fingerprint)
        if peer is None:
            peer = self._held[fingerprint] = self._made(fingerprint)
        return peer

    def readable(self, fingerprint: str) -> bool:
        """Whether what the journal has of a peer can be used: of a halted lane nobody can say whom it bars."""
        return self._journal is None or Lane("peer", fingerprint) not in self._journal.halted

    def report_blacklisted(self, peer: str, session_id: str | None = None) -> None:
        """Say that a blacklisted peer was refused (HS-6)."""
        self._context.emit(
            "handshake_failed",
            severity="warning",
            peer=peer,
            session_id=session_id,
            protocol="cip",
            state="failed",
            reason="blacklisted",
        )

    def _made(self, fingerprint: str) -> Peer:
        context = self._context
        lane = None
        if self._journal is not None:
            lane = DurablePeerLane(
                fingerprint,
                journal=self._journal,
                definition=self._definition,
                trust=context.trust,
                evidence=context.evidence,
                options=context.options,
                emit=context.emit,
                clock=context.clock,
                broken=self._broken,
                due=self._is_due,
            )
        return Peer(fingerprint, trust=context.trust, options=context.options, emit=context.emit, lane=lane)

    # --- what is remembered -----------------------------------------------------------------------------

    async def remember(self) -> list[str]:
        """Read how far every peer is trusted that the journal knows (HS-6, TRUST-10).

        A lane that cannot be read is halted, and its peer not admitted.

        Returns:
            The peers for whom something waits, or from whom something is not settled (section 18).

        Raises:
            JournalError: The journal cannot be read.
            RuntimeError: The trust registry holds trust that no lane knows of.
        """
        journal = self._journal
        if journal is None:
            return []
        waiting = []
        for one in PEER_EVENTS:
            journal.registry.register(one)
        self._context.trust.keep_on_lanes()
        now_ms = self._context.clock.wall_ms()
        after: Lane | None = None
        while page := await journal.heads("peer", after=after, limit=_PAGE):
            for lane, _ in page:
                try:
                    state = (await rebuild(journal, lane, self._definition)).state
                except CorruptJournalError as error:
                    journal.halt(lane, str(error), seq=error.seq)
                    continue
                self._context.trust.remember(lane.id, state.trust, now_ms=now_ms)
                self._context.evidence.remember(lane.id, state.trust.evidence_bytes)
                if state.outbox.entries or state.taken.messages:
                    waiting.append(lane.id)
            after = page[-1][0]
        return waiting

    async def evidence(self, blake3: str) -> bytes | None:
        """An envelope that an event cites, if it is kept.

        Raises:
            JournalError: It cannot be read, or is not what was kept.
        """
        held = self._context.evidence.get(blake3)
        if held is not None or self._journal is None:
            return held
        try:
            return await self._journal.get_blob(f"b3:{blake3}")
        except BlobNotFoundError:
            return None

    # --- commands about trust ---------------------------------------------------------------------------

    async def command(
        self, fingerprint: str, command: TrustCommand, *, cause: str | None = None
    ) -> TrustOutcome:
        """Decide a command about a peer's trust, once for each cause; returns once what it leads to is durable."""
        trust = self._context.trust
        async with self.using(fingerprint) as peer:
            allowed = peer.trust != "unknown" or trust.newcomer_allowed(command.at_ms)
            command = msgspec.structs.replace(command, newcomer_allowed=allowed)
            told = command if cause is None else Caused(command=command, key=_cause_key(cause))
            outcome = peer.lane.handle(told).trust
            await peer.lane.durable()
        assert outcome is not None
        raise_refusal(outcome, fingerprint)
        return outcome

    @asynccontextmanager
    async def using(self, fingerprint: str) -> AsyncIterator[Peer]:
        """A peer whose lane is there, and stays while it is used."""
        peer = self.need(fingerprint)
        self.use(fingerprint)
        try:
            await peer.lane.load()
            yield peer
        finally:
            self.done(fingerprint)

    def use(self, fingerprint: str) -> None:
        """Hold a peer until `done`."""
        self._used[fingerprint] = self._used.get(fingerprint, 0) + 1

    def done(self, fingerprint: str) -> None:
        """See `use`."""
        users = self._used[fingerprint] - 1
        if users:
            self._used[fingerprint] = users
        else:
            del self._used[fingerprint]

    # --- keeping lanes short ----------------------------------------------------------------------------

    def _is_due(self, fingerprint: str) -> None:
        self._due.add(fingerprint)
        self._work.set()

    async def tend(self) -> None:
        """Write snapshots of lanes that have grown, one after the other. Runs until cancelled."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._due:
                fingerprint = self._due.pop()
                peer = self._held.get(fingerprint)
                if peer is not None:
                    self.use(fingerprint)
                    try:
                        await peer.lane.upkeep()
                    finally:
                        self.done(fingerprint)

    # --- letting go -------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Let go, once a minute, what is held of peers of whom nothing can be replayed any more."""
        at_ms = self._context.clock.wall_ms()
        if abs(at_ms - self._swept_ms) < _SWEEP_MS:
            return
        self._swept_ms = at_ms
        linked = self._linked()
        for fingerprint, peer in list(self._held.items()):
            if fingerprint not in linked and fingerprint not in self._used and peer.idle(at_ms):
                await self._let_go(fingerprint, peer)

    async def close(self) -> None:
        """Write what waits, and a snapshot of every lane, for a few seconds at most: a restart does without."""
        if self._journal is None:
            return
        with trio.CancelScope(shield=True), trio.move_on_after(self._journal.limits.close_seconds):
            for fingerprint, peer in list(self._held.items()):
                await self._let_go(fingerprint, peer)

    async def _let_go(self, fingerprint: str, peer: Peer) -> None:
        try:
            rests = await peer.lane.rest()
        except LANE_ERRORS as error:
            if isinstance(error, JournalError):
                return  # it stays as it is; the next sweep tries again
            raise
        # A link that is not served yet holds its peer already; a second one would have a lane of its own.
        if rests and fingerprint not in self._used and fingerprint not in self._linked():
            del self._held[fingerprint]


def _cause_key(cause: str) -> str:
    """How a cause is remembered: 16 bytes of its digest."""
    return blake3_hex(cause.encode())[:32]

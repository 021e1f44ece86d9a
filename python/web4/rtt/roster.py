"""The sessions of an endpoint: by name, by peer, and those that nobody has taken yet."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import trio

from web4._core import CoreError, SessionTable
from web4.rtt.errors import HandshakeError
from web4.rtt.metrics import Ledger
from web4.rtt.pump import now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from web4._core import Endpoint as NativeEndpoint
    from web4.foundation.events import Emitter
    from web4.rtt.options import Options
    from web4.rtt.session import RttSession


class Roster:
    """Keeps what the native session table decides about together with the sessions themselves."""

    def __init__(self, options: Options, native: NativeEndpoint, emit: Emitter) -> None:
        self._native = native
        self._table = SessionTable(
            sessions_per_peer=options.sessions_per_peer,
            sessions=options.sessions,
            suspended=options.suspended_sessions,
        )
        self._emit = emit
        self._sessions: dict[bytes, RttSession] = {}
        self._accepted: dict[RttSession, None] = {}
        self._waiting: deque[trio.lowlevel.Task] = deque()
        self.state: Literal["open", "closing", "closed"] = "open"
        """Of the endpoint."""
        self.ledger = Ledger()
        """What is over, for the metrics."""
        self.hits: Counter[str] = Counter()
        """How often each limit was hit, by its name (RTT-51)."""

    def __len__(self) -> int:
        """Sessions that are granted and not over, or that nobody has taken out of `next_accepted` yet."""
        return len(self._table)

    def __iter__(self) -> Iterator[RttSession]:
        """The sessions, as they were when this was asked."""
        return iter(list(self._sessions.values()))

    def by_peer(self) -> dict[str, list[RttSession]]:
        """The sessions of each peer."""
        peers: dict[str, list[RttSession]] = {}
        for session in self:
            peers.setdefault(session.peer, []).append(session)
        return peers

    def get(self, session_id: bytes, peer: str) -> RttSession | None:
        """The session of that name if it is this peer's; somebody else's is none, and evidence (RTT-33)."""
        match self._table.find(session_id, bytes.fromhex(peer)):
            case "own":
                return self._sessions.get(session_id)
            case "foreign":
                self._emit(
                    "replay_detected",
                    severity="warning",
                    peer=peer,
                    session_id=session_id.hex(),
                    where="resume",
                )
        return None

    def grant(self, session_id: bytes, peer: str, boot_id: bytes) -> None:
        """Make room for a session that a peer asks for.

        It counts from now on, or opening many at once would pass every limit; `withdraw` takes that back.

        Raises:
            HandshakeError: `limit` or `busy`.
        """
        if self.state != "open":
            raise HandshakeError("this endpoint is closing", code="busy", peer=peer)
        try:
            self._table.check_room(bytes.fromhex(peer))
        except CoreError as error:
            self.hits["sessions_per_peer" if error.code == "limit" else "sessions"] += 1
            raise HandshakeError(
                f"no more sessions here for now: {error.code}", code=error.code, peer=peer
            ) from None
        if self._native.memory_full:
            self.hits["memory"] += 1
            raise HandshakeError("no memory for more sessions for now", code="busy", peer=peer)
        self._table.insert(session_id, bytes.fromhex(peer), boot_id)

    def withdraw(self, session_id: bytes) -> None:
        """What was granted was never confirmed."""
        if session_id not in self._sessions:
            self._table.remove(session_id)

    def add(self, session: RttSession) -> None:
        """A session opened."""
        self._sessions[session.session_id] = session
        self._table.insert(session.session_id, bytes.fromhex(session.peer), session.peer_boot_id)

    def end_earlier_boots(self, peer: str, boot_id: bytes) -> None:
        """End the sessions of earlier starts of a peer: it cannot know them any more (RTT-35)."""
        for session_id in self._table.of_earlier_boots(bytes.fromhex(peer), boot_id):
            if (session := self._sessions.get(session_id)) is not None:
                session.lose("peer_restarted")

    def suspended(self, session: RttSession) -> None:
        """A session lost its carrier; with too many of them, the one longest without is lost (section 15)."""
        evicted = self._table.suspend(session.session_id, now())
        if evicted is not None:
            self.hits["suspended_sessions"] += 1
            self._sessions[evicted].lose("evicted")

    def memory_freed(self, peer: str) -> None:
        """A session of this peer holds less: those that waited for that go on."""
        for session_id in self._native.take_waiting(bytes.fromhex(peer)):
            if (session := self._sessions.get(session_id)) is not None:
                session.react(session.link.memory_freed())

    def resumed(self, session: RttSession) -> None:
        """A session has a carrier again."""
        self._table.resume(session.session_id)

    def forget(self, session: RttSession) -> None:
        """A session is over.

        One that nobody has taken yet can still be read by whoever takes it, and counts until then.
        """
        if session not in self._accepted:
            if self._sessions.pop(session.session_id, None) is not None:
                self.ledger.session_ended(session)
            self._table.remove(session.session_id)
        else:
            # It must not stand for the longest suspended one: to end it again makes no room.
            self._table.resume(session.session_id)

    def accept(self, session: RttSession) -> None:
        """A peer opened this session: somebody may take it."""
        self._accepted[session] = None
        if self._waiting:
            trio.lowlevel.reschedule(self._waiting.popleft())

    async def next_accepted(self) -> RttSession | None:
        """Wait for a session that a peer opened; None once the endpoint was left. Cancelled, none was taken."""
        await trio.lowlevel.checkpoint()
        while not self._accepted:
            if self.state == "closed":
                return None
            self._waiting.append(task := trio.lowlevel.current_task())

            def abort(_: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                self._waiting.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        session = next(iter(self._accepted))
        del self._accepted[session]
        if session.ended:
            self.forget(session)
        return session

    def close(self) -> None:
        """Close every session at once, for good."""
        self.state = "closed"
        while self._waiting:
            trio.lowlevel.reschedule(self._waiting.popleft())
        for session in self:
            session.abort("endpoint closed")

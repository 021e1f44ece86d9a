"""The accepting side of an endpoint: carriers arrive, are let in or not, and become sessions or resume them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4._core import CoreError
from web4.rtt.errors import HandshakeError, RttError
from web4.rtt.opening import open_carrier, opening_error
from web4.rtt.pump import now
from web4.rtt.transports.stream import close_now, descriptor

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4._core import Endpoint as NativeEndpoint
    from web4._core import OpeningLink
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.rtt.admission import Admission
    from web4.rtt.roster import Roster
    from web4.rtt.session import RttSession
    from web4.rtt.transports import Acceptor

    Admit = Callable[[str, str], bool]
    """Asked with a proven fingerprint and an address before anything is answered (RTT-6)."""

BUSY_RETRY_MS = 1_000


class Reception:
    """Serves one listening place for as long as `serve` runs. Sessions that came of it go on afterwards."""

    def __init__(
        self,
        native: NativeEndpoint,
        roster: Roster,
        admission: Admission,
        *,
        nursery: trio.Nursery,
        handshake_timeout: float,
        ids: IdSource,
        emit: Emitter,
        start: Callable[[OpeningLink, trio.abc.Stream], RttSession],
        failed: Callable[[RttError, str], None],
    ) -> None:
        self._native = native
        self._roster = roster
        self._admission = admission
        self._nursery = nursery
        self._handshake_timeout = handshake_timeout
        self._ids = ids
        self._emit = emit
        self._start = start
        self._failed = failed

    async def serve(self, acceptor: Acceptor, max_write: int | None, admit: Admit) -> None:
        """Accept until cancelled, or until the acceptor is closed."""
        async with trio.open_nursery() as nursery:
            for listener in acceptor.listeners:
                nursery.start_soon(self._accept, listener, acceptor, max_write, admit)

    async def _accept(
        self,
        listener: trio.abc.Listener[trio.abc.Stream],
        acceptor: Acceptor,
        max_write: int | None,
        admit: Admit,
    ) -> None:
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError:
                # The peer went before it was accepted, or this process is out of descriptors: either passes.
                self._admission.hits["accept"] += 1
                await trio.sleep(0.01)
                continue
            try:
                address = acceptor.peer_address(stream)
            except OSError:
                # It went before it was looked at, and took its address along.
                self._admission.hits["accept"] += 1
                await close_now(stream)
                continue
            if not self._arrive(stream, address, max_write, admit):
                await close_now(stream)

    def _arrive(self, stream: trio.abc.Stream, address: str, max_write: int | None, admit: Admit) -> bool:
        """Begin the opening of a carrier that may come in; whether it may."""
        evicted = trio.CancelScope()
        token = self._admission.arrive(
            address,
            trio.current_time(),
            has_client_hello=lambda: link.has_client_hello,
            evict=evicted.cancel,
        )
        if token is None:
            return False
        # Not before it was let in: a flood is not worth the beginnings of a handshake each.
        link = self._native.accept(descriptor(stream), max_write)
        answer = _Answer(self._roster, self._ids, self._emit, address, admit)
        self._nursery.start_soon(self._open, link, stream, answer, token, evicted)
        return True

    async def _open(
        self,
        link: OpeningLink,
        stream: trio.abc.Stream,
        answer: _Answer,
        token: int,
        evicted: trio.CancelScope,
    ) -> None:
        address, opened = answer.address, False
        try:
            with evicted, trio.fail_after(self._handshake_timeout):
                await open_carrier(link, stream, answer)
                if answer.resumes is not None:
                    answer.resumes.attach(link, stream)
                else:
                    self._roster.accept(self._start(link, stream))
                opened = True
        except RttError as error:
            self._failed(error, address)
        except trio.TooSlowError:
            self._failed(
                HandshakeError("the opening took too long", code="handshake_timeout", peer=link.peer), address
            )
        except (OSError, trio.ClosedResourceError):
            self._failed(HandshakeError("the carrier failed", code="unreachable", peer=link.peer), address)
        finally:
            self._admission.leave(token)
            if answer.granted is not None:
                self._roster.withdraw(answer.granted)
            if not opened:
                link.release()
                await close_now(stream)


class _Answer:
    """Decides about one proven peer that asks for a session, or to go on with one.

    Tells it no more than section 15 allows.
    """

    def __init__(self, roster: Roster, ids: IdSource, emit: Emitter, address: str, admit: Admit) -> None:
        self._roster = roster
        self._ids = ids
        self._emit = emit
        self._admit = admit
        self.address = address
        self.granted: bytes | None = None
        """The id of the session that was granted."""
        self.resumes: RttSession | None = None
        """The session that goes on with this carrier."""

    def __call__(self, link: OpeningLink) -> None:
        """Answer on the link, or refuse on it and raise why."""
        peer = link.peer
        assert peer is not None
        if not self._is_admitted(peer):
            link.refuse("not_admitted", 0)
            if link.asked_session_id is not None:
                self._roster.ledger.resume_refused(peer, "not_admitted")
            raise HandshakeError("not admitted", code="not_admitted", peer=peer)
        asked = link.asked_session_id
        if asked is None:
            self._grant(link, peer)
        else:
            self._resume(link, peer, asked)

    def _is_admitted(self, peer: str) -> bool:
        try:
            admitted = self._admit(peer, self.address)
            if not isinstance(admitted, bool):
                # A coroutine, for one, is true: nobody may come in by such a mistake.
                raise TypeError("admit returns a bool")
        except Exception as error:
            self._emit("error", severity="error", peer=peer, where="admit", error=type(error).__name__)
            return False
        return admitted

    def _grant(self, link: OpeningLink, peer: str) -> None:
        boot_id = link.peer_boot_id
        assert boot_id is not None
        self._roster.end_earlier_boots(peer, boot_id)
        session_id = self._ids.token(16)
        try:
            self._roster.grant(session_id, peer, boot_id)
        except HandshakeError as error:
            link.refuse(error.code, BUSY_RETRY_MS)
            raise
        self.granted = session_id
        link.answer(session_id, self._ids.token(32))

    def _resume(self, link: OpeningLink, peer: str, session_id: bytes) -> None:
        session = self._roster.get(session_id, peer)
        if session is None or self._roster.state == "closed":
            link.refuse("unknown_session", 0)
            self._roster.ledger.resume_refused(peer, "unknown_session")
            raise HandshakeError("no such session of this peer", code="unknown_session", peer=peer)
        try:
            session.react(link.answer_resume(session.link, self._ids.token(32), now()))
        except CoreError as error:
            session.react(session.link.write())
            self._roster.ledger.resume_refused(peer, error.code)
            raise opening_error(error, peer) from None
        session.arm()
        self._roster.ledger.resume_granted(peer)
        self.resumes = session

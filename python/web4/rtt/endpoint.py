"""An endpoint: one identity, what it listens at, whom it dials, and the sessions that came of it."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from web4.foundation.events import IsolatedEmitter, no_events
from web4.foundation.ids import SystemIds
from web4.rtt.admission import Admission
from web4.rtt.errors import AuthenticationError, HandshakeError, RttError
from web4.rtt.hooks import LEAVING_GRACE, EndpointHooks
from web4.rtt.metrics import Ledger
from web4.rtt.opening import Expect, open_carrier
from web4.rtt.options import Options
from web4.rtt.session import RttSession
from web4.rtt.timers import Timers
from web4.rtt.transports import Address, default_registry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
    from typing import Literal

    from web4._core import OpeningLink
    from web4.foundation.events import Emitter
    from web4.foundation.identity import Identity
    from web4.foundation.ids import IdSource
    from web4.rtt.hooks import SessionHooks
    from web4.rtt.metrics import EndpointMetrics
    from web4.rtt.transports import Acceptor, Registry

    Admit = Callable[[str, str], bool]
    """Asked with a proven fingerprint and an address before anything is answered (RTT-6)."""

BUSY_RETRY_MS = 1_000


class Listener:
    """A place where an endpoint accepts carriers, until it is closed or the endpoint is left."""

    def __init__(self, acceptor: Acceptor, scope: trio.CancelScope) -> None:
        self._acceptor = acceptor
        self._scope = scope

    @property
    def addresses(self) -> tuple[str, ...]:
        """The bound addresses, as URLs to dial."""
        return self._acceptor.addresses

    async def aclose(self) -> None:
        """Stop accepting. Sessions that were accepted go on."""
        self._scope.cancel()
        await self._acceptor.aclose()


class Endpoint:
    """One identity on the network. Made by `open_endpoint`; lives in its nursery.

    At most one endpoint of an identity runs at a time: a session of an earlier one ends when a later one opens its
    first (RTT-35).
    """

    def __init__(
        self,
        identity: Identity,
        nursery: trio.Nursery,
        *,
        options: Options,
        transports: Registry,
        emit: Emitter,
        ids: IdSource,
    ) -> None:
        self.identity = identity
        self.options = options
        self.hits: Counter[str] = Counter()
        """How often each limit was hit, by its name (RTT-51)."""
        self.failures: Counter[tuple[str, str]] = Counter()
        """Openings that failed, by (whom it is charged to, code): the fingerprint that was proven, and before one was
        the address (RTT-9)."""
        self._native = options.build(identity, ids.token(16))
        self._nursery = nursery
        self._transports = transports
        self._emit = IsolatedEmitter(emit)
        self.hooks = EndpointHooks(
            nursery, timeout=options.hook_timeout, emit=self._emit, sessions=self._session_hooks
        )
        """Functions that are told what becomes of the sessions of this endpoint (RTT-54)."""
        self._ids = ids
        self._admission = Admission(options)
        self._admission.hits = self.hits
        self._ledger = Ledger()
        self._timers = Timers()
        self._serving: set[trio.CancelScope] = set()
        self._state: Literal["open", "closing", "closed"] = "open"
        self._by_peer: dict[str, dict[RttSession, bytes | None]] = {}
        self._session_count = 0
        self._granted: dict[int, str] = {}
        self._accepted: dict[RttSession, None] = {}
        self._waiting: deque[trio.lowlevel.Task] = deque()
        nursery.start_soon(self._timers.run)

    def __repr__(self) -> str:
        return f"<Endpoint {self.identity.fingerprint[:12]} with {self.session_count} sessions>"

    @property
    def session_count(self) -> int:
        """Sessions that are not closed, or that nobody has taken out of `sessions` yet."""
        return self._session_count

    def metrics(self) -> EndpointMetrics:
        """A snapshot of what this endpoint has done and holds (RTT-59). Takes some microseconds for each session."""
        return self._ledger.snapshot(
            self._by_peer,
            self.hits + Counter(hook_queue=self.hooks.overflows),
            hook_failures=self.hooks.failures,
            emit_failures=self._emit.failures,
        )

    async def listen(self, url: str, *, admit: Admit) -> Listener:
        """Accept carriers at an address such as `tcp://0.0.0.0:7440` or `unix:///run/web4/a.sock`.

        Args:
            url: Where. Port 0 lets the operating system choose; `Listener.addresses` tells.
            admit: Asked with the proven fingerprint and the address of whoever wants a session; what it refuses
                learns nothing but that (RTT-6). If it raises, the answer is no.

        Raises:
            TransportUnavailableError: The address cannot be used.
            trio.ClosedResourceError: The endpoint was left.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        address = Address.parse(url)
        acceptor = await self._transports.create(address.scheme).listen(address)
        scope = trio.CancelScope()
        if self._state != "open":
            await acceptor.aclose()
            self._check_open()
        self._serving.add(scope)
        self._nursery.start_soon(self._serve, acceptor, admit, scope)
        return Listener(acceptor, scope)

    @asynccontextmanager
    async def dial(self, url: str, *, expect: str | Expect) -> AsyncGenerator[RttSession]:
        """Open a session with the peer at an address, and close it when the block is left.

        Args:
            url: Where it listens.
            expect: The peer's fingerprint; any other key ends the dial before an RTT frame is written (RTT-5). `ANY`
                for whoever answers.

        Raises:
            TransportUnavailableError: Nobody answers there.
            AuthenticationError: Somebody else does.
            HandshakeError: The peer refused, or the carrier failed; `VersionError`, `ProtocolError`: it speaks
                otherwise.
            trio.ClosedResourceError: The endpoint was left.
            SessionLost: On leaving normally, if not everything accepted was acknowledged in time.
        """
        session = await self._dial(url, expect)
        async with session:
            yield session

    async def sessions(self) -> AsyncIterator[RttSession]:
        """The sessions that peers opened, as they come, until the endpoint is left. Whoever takes one out closes it."""
        while True:
            await trio.lowlevel.checkpoint()
            while not self._accepted:
                if self._state == "closed":
                    return
                self._waiting.append(task := trio.lowlevel.current_task())

                def abort(_: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                    self._waiting.remove(task)
                    return trio.lowlevel.Abort.SUCCEEDED

                await trio.lowlevel.wait_task_rescheduled(abort)
            session = next(iter(self._accepted))
            del self._accepted[session]
            if session.ended:
                self._forget(session)
            yield session

    def _check_open(self) -> None:
        if self._state != "open":
            raise trio.ClosedResourceError("the endpoint was left")

    async def _dial(self, url: str, expect: str | Expect) -> RttSession:
        self._check_open()
        pin = None if isinstance(expect, Expect) else _fingerprint_bytes(expect)
        address = Address.parse(url)
        peer = None
        try:
            with trio.move_on_after(self.options.handshake_timeout):
                stream = await self._transports.create(address.scheme).connect(address, self._given_up)
                assert isinstance(stream, trio.SocketStream)
                link = self._native.dial(stream.socket.fileno(), pin)
                try:
                    await open_carrier(link, stream)
                    self._check_open()
                except BaseException:
                    peer = link.peer
                    self._abandon(link, stream)
                    raise
                return self._start_session(link, stream, pinned=pin is not None)
            raise HandshakeError(
                f"{address} did not complete the opening within {self.options.handshake_timeout} s",
                code="handshake_timeout",
                peer=peer,
            )
        except RttError as error:
            self._report_failure(error, str(address))
            raise

    async def _serve(self, acceptor: Acceptor, admit: Admit, scope: trio.CancelScope) -> None:
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    for listener in acceptor.listeners:
                        nursery.start_soon(self._accept, listener, acceptor, admit)
        finally:
            self._serving.discard(scope)
            await acceptor.aclose()

    async def _accept(
        self, listener: trio.abc.Listener[trio.abc.Stream], acceptor: Acceptor, admit: Admit
    ) -> None:
        while True:
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError:
                # The peer went before it was accepted, or this process is out of descriptors: either passes.
                self.hits["accept"] += 1
                await trio.sleep(0.01)
                continue
            assert isinstance(stream, trio.SocketStream)
            try:
                address = acceptor.peer_address(stream)
            except OSError:
                # It went before it was looked at, and took its address along.
                self.hits["accept"] += 1
                stream.socket.close()
                continue
            self._arrive(stream, address, admit)

    def _arrive(self, stream: trio.SocketStream, address: str, admit: Admit) -> None:
        evicted = trio.CancelScope()
        token = self._admission.arrive(
            address,
            trio.current_time(),
            has_client_hello=lambda: link.has_client_hello,
            evict=evicted.cancel,
        )
        if token is None:
            stream.socket.close()
            return
        # Not before it was let in: a flood is not worth the beginnings of a handshake each.
        link = self._native.accept(stream.socket.fileno())
        self._nursery.start_soon(self._open_accepted, link, stream, address, admit, token, evicted)

    async def _open_accepted(
        self,
        link: OpeningLink,
        stream: trio.SocketStream,
        address: str,
        admit: Admit,
        token: int,
        evicted: trio.CancelScope,
    ) -> None:
        session = None
        try:
            with evicted, trio.fail_after(self.options.handshake_timeout):
                await open_carrier(link, stream, lambda asked: self._answer(asked, token, address, admit))
                session = self._start_session(link, stream, pinned=True)
        except RttError as error:
            self._report_failure(error, address)
        except trio.TooSlowError:
            self._report_failure(
                HandshakeError("the opening took too long", code="handshake_timeout", peer=link.peer), address
            )
        except (OSError, trio.ClosedResourceError):
            self._report_failure(
                HandshakeError("the carrier failed", code="unreachable", peer=link.peer), address
            )
        finally:
            self._admission.leave(token)
            self._granted.pop(token, None)
            if session is None:
                self._abandon(link, stream)
        if session is not None:
            self._accepted[session] = None
            if self._waiting:
                trio.lowlevel.reschedule(self._waiting.popleft())

    def _answer(self, link: OpeningLink, token: int, address: str, admit: Admit) -> None:
        """Decide about a proven peer that asks for a session; tells it no more than section 15 allows."""
        peer = link.peer
        assert peer is not None
        try:
            admitted = admit(peer, address)
            if not isinstance(admitted, bool):
                # A coroutine, for one, is true: nobody may come in by such a mistake.
                raise TypeError("admit returns a bool")
        except Exception as error:
            self._emit("error", severity="error", peer=peer, where="admit", error=type(error).__name__)
            admitted = False
        if not admitted:
            link.refuse("not_admitted", 0)
            raise HandshakeError("not admitted", code="not_admitted", peer=peer)
        self._end_sessions_of_earlier_boots(peer, link.peer_boot_id)
        # Sessions that are granted and not confirmed count, or opening many at once would pass every limit.
        granted = sum(other == peer for other in self._granted.values())
        if len(self._by_peer.get(peer, ())) + granted >= self.options.sessions_per_peer:
            self.hits["sessions_per_peer"] += 1
            link.refuse("limit", BUSY_RETRY_MS)
            raise HandshakeError("it has as many sessions as it may", code="limit", peer=peer)
        full = self._session_count + len(self._granted) >= self.options.sessions
        if full or self._state != "open":
            self.hits["sessions"] += full
            link.refuse("busy", BUSY_RETRY_MS)
            raise HandshakeError("this endpoint is full", code="busy", peer=peer)
        self._granted[token] = peer
        link.answer(self._ids.token(16), self._ids.token(32))

    def _end_sessions_of_earlier_boots(self, peer: str, boot_id: bytes | None) -> None:
        for session, earlier in list(self._by_peer.get(peer, {}).items()):
            if earlier != boot_id:
                session.lose()

    def _start_session(self, link: OpeningLink, stream: trio.SocketStream, *, pinned: bool) -> RttSession:
        boot_id = link.peer_boot_id
        session = RttSession(
            link.open_session(int(trio.current_time() * 1e9)),
            stream,
            nursery=self._nursery,
            timers=self._timers,
            emit=self._emit,
            hooks=self.hooks,
            pinned=pinned,
            forget=self._forget,
        )
        self._by_peer.setdefault(session.peer, {})[session] = boot_id
        self._session_count += 1
        self._emit(
            "session_open",
            peer=session.peer,
            session_id=session.session_id.hex(),
            initiator=session.initiator,
        )
        session.hooks.post("on_open", resumed=False)
        self._nursery.start_soon(session.run)
        return session

    def _session_hooks(self) -> Iterator[SessionHooks]:
        return (session.hooks for sessions in self._by_peer.values() for session in sessions)

    def _forget(self, session: RttSession) -> None:
        if session in self._accepted:
            # What arrived on it can still be read by whoever takes it: until then it counts as one of its peer's.
            return
        self._ledger.session_ended(session)
        sessions = self._by_peer[session.peer]
        del sessions[session]
        self._session_count -= 1
        if not sessions:
            del self._by_peer[session.peer]

    def _abandon(self, link: OpeningLink, stream: trio.SocketStream) -> None:
        link.release()
        stream.socket.close()

    def _given_up(self, address: str, why: str) -> None:
        """RTT-68: another address than the first is used, and that is never a secret."""
        self._emit("address_given_up", severity="warning", address=address, why=why)

    def _report_failure(self, error: RttError, address: str) -> None:
        self.failures[error.peer or address, error.code] += 1
        if len(self.failures) > 10_000:
            # Counters must not grow with the number of strangers; what is common comes back.
            self.failures = Counter(dict(self.failures.most_common(5_000)))
        authentication = isinstance(error, AuthenticationError)
        self._ledger.carrier_failed(error, authentication=authentication)
        self._emit(
            "auth_failure" if authentication else "carrier_failed",
            severity="warning",
            peer=error.peer,
            address=address,
            code=error.code,
        )

    def abort_all(self) -> None:
        """Close every session at once, for good."""
        self._state = "closed"
        while self._waiting:
            trio.lowlevel.reschedule(self._waiting.popleft())
        for sessions in list(self._by_peer.values()):
            for session in list(sessions):
                session.abort("endpoint closed")

    async def close_all(self) -> None:
        """Let nobody in any more, and close every session gracefully, all at the same time."""
        self._state = "closing"
        for scope in self._serving:
            scope.cancel()
        async with trio.open_nursery() as nursery:
            for sessions in list(self._by_peer.values()):
                for session in list(sessions):
                    nursery.start_soon(_close_quietly, session)


async def _close_quietly(session: RttSession) -> None:
    try:
        await session.aclose()
    except RttError:
        # Its event says what was lost; the endpoint's owner holds no operation that could raise it.
        return


@asynccontextmanager
async def open_endpoint(
    identity: Identity,
    *,
    options: Options | None = None,
    transports: Registry | None = None,
    emit: Emitter = no_events,
    ids: IdSource | None = None,
) -> AsyncGenerator[Endpoint]:
    """Open an endpoint for the length of a block.

    Leaving normally closes its sessions gracefully; leaving by an exception or a cancellation closes them at once.
    Nothing of it runs afterwards (RTT-61).

    Args:
        identity: Who it is.
        options: Limits and times; `LimitError(bad_option)` if one cannot work.
        transports: What addresses mean; the shipped transports when left out.
        emit: Gets the events of the transport (OBS-2).
        ids: Where session ids and tickets come from; guessable ones only in tests.
    """
    own: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            endpoint = Endpoint(
                identity,
                nursery,
                options=options or Options(),
                transports=transports or default_registry(),
                emit=emit,
                ids=ids or SystemIds(),
            )
            try:
                yield endpoint
                await endpoint.close_all()
                await endpoint.hooks.finish()
            except BaseException as error:
                own = error
                endpoint.hooks.leave(LEAVING_GRACE)
                raise
            finally:
                try:
                    endpoint.abort_all()
                finally:
                    nursery.cancel_scope.cancel()
        return
    except BaseExceptionGroup as group:
        raised = _what_happened(group, own)
    # Out here, so that the group does not become the context of what was in it.
    raise raised


def _what_happened(group: BaseExceptionGroup, own: BaseException | None) -> BaseException:
    """What the nursery of an endpoint wrapped: the block's own exception, or what broke a task of the endpoint."""
    rest = group.split(lambda error: error is own or isinstance(error, trio.Cancelled))[1]
    foreign: BaseException | None = rest
    if foreign is None:
        return group if own is None else own
    if own is not None and not isinstance(own, trio.Cancelled):
        return group
    # Mostly an interrupt from the keyboard, which strikes whatever task runs.
    while isinstance(foreign, BaseExceptionGroup) and len(foreign.exceptions) == 1:
        foreign = foreign.exceptions[0]
    return foreign


def _fingerprint_bytes(fingerprint: str) -> bytes:
    try:
        raw = bytes.fromhex(fingerprint)
    except ValueError:
        raw = b""
    # `fromhex` skips blanks, and takes capitals.
    if raw.hex() != fingerprint or len(raw) != 32:
        raise ValueError("a fingerprint is 64 lowercase hexadecimal characters; for anybody pass rtt.ANY")
    return raw

"""An endpoint: one identity, what it listens at, whom it dials, and the sessions that came of it."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from web4.foundation.events import IsolatedEmitter, no_events
from web4.foundation.ids import SystemIds
from web4.rtt.admission import Admission
from web4.rtt.dialing import Dialer
from web4.rtt.errors import AuthenticationError, RttError
from web4.rtt.hooks import LEAVING_GRACE, EndpointHooks
from web4.rtt.opening import Expect
from web4.rtt.options import Options
from web4.rtt.pump import now
from web4.rtt.reception import Reception
from web4.rtt.reconnect import BackOff, Reconnector
from web4.rtt.roster import Roster
from web4.rtt.session import RttSession
from web4.rtt.timers import Timers
from web4.rtt.transports import Address, shared_registry
from web4.rtt.transports.stream import close_now

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

    from web4._core import OpeningLink
    from web4.foundation.events import Emitter
    from web4.foundation.identity import Identity
    from web4.foundation.ids import IdSource
    from web4.rtt.hooks import SessionHooks
    from web4.rtt.metrics import EndpointMetrics
    from web4.rtt.reception import Admit
    from web4.rtt.transports import Acceptor, Registry


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
        self._roster = Roster(options, self._native, self._emit)
        self._admission = Admission(options)
        self._admission.hits = self._roster.hits
        self._timers = Timers()
        self._serving: set[trio.CancelScope] = set()
        self._dialer = Dialer(
            self._native,
            transports,
            handshake_timeout=options.handshake_timeout,
            emit=self._emit,
            failed=self._report_failure,
        )
        nursery.start_soon(self._timers.run)

    def __repr__(self) -> str:
        return f"<Endpoint {self.identity.fingerprint[:12]} with {self.session_count} sessions>"

    @property
    def session_count(self) -> int:
        """Sessions that are not closed, or that nobody has taken out of `sessions` yet."""
        return len(self._roster)

    @property
    def hits(self) -> Counter[str]:
        """How often each limit was hit, by its name (RTT-51)."""
        return self._roster.hits

    def metrics(self) -> EndpointMetrics:
        """A snapshot of what this endpoint has done and holds (RTT-59). Takes some microseconds for each session."""
        return self._roster.ledger.snapshot(
            self._roster.by_peer(),
            self.hits + Counter(hook_queue=self.hooks.overflows),
            hook_failures=self.hooks.failures,
            emit_failures=self._emit.failures,
        )

    async def listen(self, url: str, *, admit: Admit) -> Listener:
        """Accept carriers at an address such as `tcp://0.0.0.0:7440` or `unix:///run/web4/a.sock`.

        Args:
            url: Where. Port 0 lets the operating system choose; `Listener.addresses` tells.
            admit: Asked with the proven fingerprint and the address of whoever wants a session, or comes back to one;
                what it refuses learns nothing but that (RTT-6). If it raises, the answer is no.

        Raises:
            TransportUnavailableError: The address cannot be used.
            trio.ClosedResourceError: The endpoint was left.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        address = Address.parse(url)
        transport = self._transports.create(address.scheme)
        acceptor = await transport.listen(address)
        scope = trio.CancelScope()
        if self._roster.state != "open":
            await acceptor.aclose()
            self._check_open()
        self._serving.add(scope)
        self._nursery.start_soon(self._serve, acceptor, transport.max_write, admit, scope)
        return Listener(acceptor, scope)

    @asynccontextmanager
    async def dial(self, url: str | Sequence[str], *, expect: str | Expect) -> AsyncGenerator[RttSession]:
        """Open a session with the peer at an address, and close it when the block is left.

        When its carrier is lost, the session finds another one by itself, at the same addresses, until the resume
        window is over (RTT-30, RTT-45).

        Args:
            url: Where it listens. Of a list, the next is tried when a carrier to one cannot be opened, and never when
                the peer was reached and refused, or proved to be somebody else; the event `transport_fallback` names
                each that was left (RTT-68).
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
        while (session := await self._roster.next_accepted()) is not None:
            yield session

    def _check_open(self) -> None:
        if self._roster.state != "open":
            raise trio.ClosedResourceError("the endpoint was left")

    async def _dial(self, url: str | Sequence[str], expect: str | Expect) -> RttSession:
        self._check_open()
        pin = None if isinstance(expect, Expect) else _fingerprint_bytes(expect)
        addresses = deque(Address.parse(each) for each in ([url] if isinstance(url, str) else url))
        link, stream = await self._dialer.dial(addresses, pin)
        try:
            self._check_open()
            return self._start_session(link, stream, pinned=pin is not None, addresses=addresses)
        except BaseException:
            link.release()
            await close_now(stream)
            raise

    async def _serve(
        self, acceptor: Acceptor, max_write: int | None, admit: Admit, scope: trio.CancelScope
    ) -> None:
        reception = Reception(
            self._native,
            self._roster,
            self._admission,
            nursery=self._nursery,
            handshake_timeout=self.options.handshake_timeout,
            ids=self._ids,
            emit=self._emit,
            start=lambda link, stream: self._start_session(link, stream, pinned=True, addresses=()),
            failed=self._report_failure,
        )
        try:
            with scope:
                await reception.serve(acceptor, max_write, admit)
        finally:
            self._serving.discard(scope)
            await acceptor.aclose()

    def _start_session(
        self, link: OpeningLink, stream: trio.abc.Stream, *, pinned: bool, addresses: Sequence[Address]
    ) -> RttSession:
        boot_id = link.peer_boot_id
        assert boot_id is not None
        session = RttSession(
            link.open_session(now()),
            stream,
            nursery=self._nursery,
            timers=self._timers,
            emit=self._emit,
            hooks=self.hooks,
            pinned=pinned,
            roster=self._roster,
            peer_boot_id=boot_id,
            addresses=addresses,
        )
        if session.initiator:
            back_off = BackOff(self.options.reconnect_base, self.options.reconnect_cap, self._fraction)
            session.lifecycle.reconnector = Reconnector(session, self._dialer.redial, back_off)
        self._roster.add(session)
        self._emit(
            "session_open",
            peer=session.peer,
            session_id=session.session_id.hex(),
            initiator=session.initiator,
        )
        session.hooks.post("on_open", resumed=False)
        session.begin()
        return session

    def _session_hooks(self) -> Iterator[SessionHooks]:
        return (session.hooks for session in self._roster)

    def _fraction(self) -> float:
        return int.from_bytes(self._ids.token(7)) / (1 << 56)

    def _report_failure(self, error: RttError, address: str) -> None:
        self.failures[error.peer or address, error.code] += 1
        if len(self.failures) > 10_000:
            # Counters must not grow with the number of strangers; what is common comes back.
            self.failures = Counter(dict(self.failures.most_common(5_000)))
        authentication = isinstance(error, AuthenticationError)
        self._roster.ledger.carrier_failed(error, authentication=authentication)
        self._emit(
            "auth_failure" if authentication else "carrier_failed",
            severity="warning",
            peer=error.peer,
            address=address,
            code=error.code,
        )

    def abort_all(self) -> None:
        """Close every session at once, for good."""
        self._roster.close()

    async def close_all(self) -> None:
        """Let nobody in any more, and close every session gracefully, all at the same time."""
        self._roster.state = "closing"
        for scope in self._serving:
            scope.cancel()
        async with trio.open_nursery() as nursery:
            for session in self._roster:
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
                transports=transports or shared_registry(),
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
    while isinstance(foreign, BaseExceptionGroup) and len(foreign.exceptions) == 1:
        foreign = foreign.exceptions[0]
    # An interrupt from the keyboard strikes whatever task runs; what broke by that tells nothing more.
    if own is None or isinstance(own, trio.Cancelled) or isinstance(foreign, KeyboardInterrupt):
        return foreign
    return group


def _fingerprint_bytes(fingerprint: str) -> bytes:
    try:
        raw = bytes.fromhex(fingerprint)
    except ValueError:
        raw = b""
    # `fromhex` skips blanks, and takes capitals.
    if raw.hex() != fingerprint or len(raw) != 32:
        raise ValueError("a fingerprint is 64 lowercase hexadecimal characters; for anybody pass rtt.ANY")
    return raw

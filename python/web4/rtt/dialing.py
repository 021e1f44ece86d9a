"""The dialling side of an endpoint: an address becomes an open carrier, for a new session or for one that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4.rtt.errors import AuthenticationError, HandshakeError, RttError, TransportUnavailableError
from web4.rtt.opening import open_carrier
from web4.rtt.transports.stream import close_now, descriptor

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from web4._core import Endpoint as NativeEndpoint
    from web4._core import OpeningLink
    from web4.foundation.events import Emitter
    from web4.rtt.session import RttSession
    from web4.rtt.transports import Address, Registry, Transport


class Dialer:
    """Opens carriers. Nothing is left open by an attempt that fails or is cancelled."""

    def __init__(
        self,
        native: NativeEndpoint,
        transports: Registry,
        *,
        handshake_timeout: float,
        emit: Emitter,
        failed: Callable[[RttError, str], None],
    ) -> None:
        self._native = native
        self._transports = transports
        self._handshake_timeout = handshake_timeout
        self._emit = emit
        self._failed = failed

    async def dial(self, addresses: deque[Address], pin: bytes | None) -> tuple[OpeningLink, trio.abc.Stream]:
        """Open a carrier for a new session, at the first of the addresses where that works (RTT-68).

        The addresses are left in the order in which the session is to be dialled again: that one is the first.

        Raises:
            TransportUnavailableError, HandshakeError: Of the last address. Who proves another key than the pinned one,
                or refuses, ends it at once.
        """
        if not addresses:
            raise ValueError("there is no address to dial")
        for tried in range(1, len(addresses) + 1):
            address = addresses[0]
            try:
                return await self._open(address, pin)
            except RttError as error:
                if tried == len(addresses) or not _may_fall_back(error):
                    raise
                addresses.rotate(-1)
                self._fall_back(address, addresses[0], error.code)
        raise AssertionError("the last address returned or raised")

    async def redial(self, session: RttSession) -> None:
        """Try once to give a session another carrier (RTT-30).

        That is dialled where the session had the last one; each time that fails, the next of its addresses is next.

        Raises:
            TransportUnavailableError, HandshakeError: It has none.
        """
        address = session.addresses[0]
        session.lifecycle.resume_asked()
        try:
            link, stream = await self._open(address, None, session)
        except RttError as error:
            session.lifecycle.resume_failed(error)
            session.addresses.rotate(-1)
            if len(session.addresses) > 1:
                self._fall_back(address, session.addresses[0], error.code, session)
            raise
        try:
            session.attach(link, stream)
        except BaseException:
            link.release()
            await close_now(stream)
            raise

    async def _open(
        self, address: Address, pin: bytes | None, session: RttSession | None = None
    ) -> tuple[OpeningLink, trio.abc.Stream]:
        peer: str | None = None
        try:
            with trio.move_on_after(self._handshake_timeout):
                transport = self._transports.create(address.scheme)
                stream = await self._connect(transport, address)
                try:
                    link = self._begin(stream, transport.max_write, pin, session)
                    try:
                        await open_carrier(link, stream)
                    except BaseException:
                        peer = link.peer
                        if session is not None:
                            session.link.give_up(link)
                            session.peer_has_restarted = link.peer_boot_id not in (None, session.peer_boot_id)
                        link.release()
                        raise
                except BaseException:
                    await close_now(stream)
                    raise
                return link, stream
            raise HandshakeError(
                f"{address} did not complete the opening within {self._handshake_timeout} s",
                code="handshake_timeout",
                peer=peer,
            )
        except RttError as error:
            self._failed(error, str(address))
            raise

    async def _connect(self, transport: Transport, address: Address) -> trio.abc.Stream:
        try:
            return await transport.connect(address, self._given_up)
        except RttError:
            raise
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # A foreign transport may say it in its own words. Unheard, they would end the endpoint (RTT-61).
            raise TransportUnavailableError(
                f"{address} cannot be reached: {error}", code="unreachable"
            ) from error

    def _begin(
        self, stream: trio.abc.Stream, max_write: int | None, pin: bytes | None, session: RttSession | None
    ) -> OpeningLink:
        if session is None:
            return self._native.dial(descriptor(stream), pin, max_write)
        link = self._native.redial(descriptor(stream), session.link, max_write)
        if link is None:
            raise HandshakeError("the session cannot go on", code="unknown_session", peer=session.peer)
        return link

    def _fall_back(
        self, address: Address, following: Address, why: str, session: RttSession | None = None
    ) -> None:
        self._emit(
            "transport_fallback",
            severity="warning",
            peer=None if session is None else session.peer,
            session_id=None if session is None else session.session_id.hex(),
            address=str(address),
            following=str(following),
            why=why,
        )

    def _given_up(self, address: str, why: str) -> None:
        """RTT-68: another address of a name than the first is used, and that is never a secret."""
        self._emit("transport_fallback", severity="warning", address=address, why=why)


def _may_fall_back(error: RttError) -> bool:
    if isinstance(error, TransportUnavailableError):
        return error.code == "unreachable"
    return (
        isinstance(error, HandshakeError)
        and not isinstance(error, AuthenticationError)
        and error.code in ("unreachable", "handshake_timeout", "damaged")
    )

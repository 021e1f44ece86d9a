"""Opening a carrier on a connected stream: TLS, then START to CONFIRM (sections 3 and 4)."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

import trio

from web4._core import CoreError
from web4.rtt.errors import (
    AuthenticationError,
    HandshakeError,
    ProtocolError,
    RttError,
    VersionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4._core import OpeningLink

READ_BYTES = 64 * 1024
"""Bytes read at once from a stream without a descriptor: what its wire holds."""

FAREWELL = 1.0
"""Seconds that the last words on a carrier may take (RTT-61)."""

_ASKED, _OPEN = (1, 3), (2, 4)


class Expect(Enum):
    """Whom a dial expects, when it is not one fingerprint."""

    ANY = "any"
    """Anybody: the session is encrypted, and says who the peer is, but nobody checked that (RTT-5)."""


ANY = Expect.ANY


async def open_carrier(
    link: OpeningLink, stream: trio.abc.Stream, answer: Callable[[OpeningLink], None] | None = None
) -> None:
    """Drive a carrier until it is open. Cancelled, it leaves a carrier that is of no use.

    Args:
        link: The carrier, dialled or accepted.
        stream: What is under it. Stays the caller's, who closes it when this raises or is cancelled.
        answer: Acceptor: called once, when the proven peer asks for a session; answers or refuses on the link. An
            `RttError` that it raises ends the opening once the refusal is written.

    Raises:
        AuthenticationError, VersionError, HandshakeError, ProtocolError: As section 17 says.
        trio.ClosedResourceError: The stream was closed under it.
    """
    refusal: RttError | None = None
    on_socket = isinstance(stream, trio.SocketStream)
    flush = _flush_socket if on_socket else _flush
    arrival = _arrival_on_socket if on_socket else _arrival
    while True:
        try:
            progress = link.advance()
        except CoreError as error:
            with trio.move_on_after(FAREWELL):
                await flush(link, stream)
            raise opening_error(error, link.peer) from None
        if progress in _ASKED and answer is not None:
            try:
                answer(link)
            except RttError as error:
                refusal = error
        if progress in _OPEN:
            # What is left to say, CONFIRM above all, the session writes. To be cancelled between the two would leave an
            # initiator with a ticket that its CONFIRM has spent (RTT-32).
            return
        await flush(link, stream)
        if refusal is not None:
            raise refusal
        await arrival(link, stream)


async def _flush_socket(link: OpeningLink, stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    while not link.flush():
        await trio.lowlevel.wait_writable(stream.socket)


async def _arrival_on_socket(_: OpeningLink, stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    await trio.lowlevel.wait_readable(stream.socket)


async def _flush(link: OpeningLink, stream: trio.abc.Stream) -> None:
    while data := link.take_output():
        # If it breaks, what can still be read says why.
        with suppress(trio.BrokenResourceError, OSError):
            await stream.send_all(data)


async def _arrival(link: OpeningLink, stream: trio.abc.Stream) -> None:
    try:
        data = await stream.receive_some(READ_BYTES)
    except (trio.BrokenResourceError, OSError):
        data = b""
    if data:
        link.feed(bytes(data))
    else:
        link.feed_end()


def opening_error(error: CoreError, proven: str | None) -> RttError:
    """The error of section 17 for a failure of the native opening.

    TLS says itself what it had proven when it failed; everything later is charged to the `proven` peer (RTT-9).
    """
    text, peer = str(error), error.proven or proven
    known = {entry.code for entry in HandshakeError.codes}
    match error.field:
        case "authentication":
            return AuthenticationError(text, code=error.code, peer=peer)
        case "refused" | "violation" if error.code in ("version", "extension"):
            return VersionError(text, code=error.code, peer=peer)
        case "refused":
            code = error.code if error.code in known else "refused"
            return HandshakeError(text, code=code, peer=peer, retry_after_ms=error.retry_after_ms)
        case "violation" if error.code not in known:
            return ProtocolError(text, peer=peer)
        case _:
            # A stream that ends is a carrier that failed, whatever TLS calls it. So is one that an alert ended: whoever
            # is on the path can write that, and only the peer itself can refuse (RTT-49).
            named = "alert" if error.code == "refused" else error.code
            return HandshakeError(text, code=named if named in known else "unreachable", peer=peer)

"""One request over one connection: an httpx transport of ours over h11, which keeps nothing (FETCH-4, FETCH-8).

There is no client around it on purpose: without one there is no cookie jar, no proxy from the environment, no
credentials from a file, no referrer and no redirect that was not asked for.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import h11
import httpx
import trio

from web4.protocols.lip.errors import FetchFailed, FetchTimeout, TooLarge
from web4.protocols.lip.fetching.uris import parse_uri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.protocols.lip.fetching.dialing import Dialer
    from web4.protocols.lip.fetching.options import FetchOptions
    from web4.protocols.lip.fetching.uris import FetchUri

_READ: Final = 16 * 1024
_WIRE_SLACK: Final = 256 * 1024
"""What chunked framing may add to a body on the wire."""

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """Verifies names and chains. Trusts `authorities`, a file, or what httpx ships; never the environment. Blocks."""
    if authorities is not None:
        context = ssl.create_default_context(cafile=authorities)
    else:
        context = httpx.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class PinnedTransport(httpx.AsyncBaseTransport):
    """Asks a URI at an address that was checked. Each request has a connection of its own, closed with its response.

    The response's extension `web4_dialed` is the `Dialed` that it came over.

    Args:
        dialer: Checks and connects.
        options: Its limits of headers, body and connecting count.
        tls: See `tls_context`.
    """

    def __init__(self, dialer: Dialer, options: FetchOptions, tls: ssl.SSLContext) -> None:
        self._dialer = dialer
        self._options = options
        self._tls = tls

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a GET and read the answer's head; the body is read by whoever has the response, which they must close.

        Cancellation: the connection is closed.

        Raises:
            FetchError: See `Dialer.connect`; `fetch_timeout` and `tls_failed` while connecting, `too_large`,
                `protocol_error` and `connection_failed` after.
        """
        uri = parse_uri(str(request.url))
        if request.method != "GET" or request.headers.get("host") != uri.authority:
            raise FetchFailed("only GET requests to their own host are made", code="protocol_error")
        stream: Stream | None = None
        try:
            with trio.move_on_after(self._options.connect_seconds) as connecting:
                dialed = await self._dialer.connect(uri)
                stream = dialed.stream
                if uri.scheme == "https":
                    stream = await self._handshake(uri, dialed.stream)
            if connecting.cancelled_caught:
                raise FetchTimeout(f"connecting to {uri.host} took too long", field="connect")
            assert stream is not None
            connection = Connection(stream, self._options, uri.host)
            head = await connection.ask(uri, request.headers)
            return httpx.Response(
                head.status_code,
                headers=list(head.headers.raw_items()),
                stream=connection,
                request=request,
                extensions={"web4_dialed": dialed, "reason_phrase": bytes(head.reason)},
            )
        except BaseException:
            if stream is not None:
                await trio.aclose_forcefully(stream)
            raise

    async def _handshake(self, uri: FetchUri, raw: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        stream = trio.SSLStream(raw, self._tls, server_hostname=uri.host, https_compatible=True)
        try:
            await stream.do_handshake()
        except (trio.BrokenResourceError, ssl.SSLError, OSError, ValueError) as error:
            cause = error.__cause__ or error
            why = (
                "its certificate does not hold" if isinstance(cause, ssl.CertificateError) else "no handshake"
            )
            raise FetchFailed(f"TLS with {uri.host}: {why}", code="tls_failed") from None
        return stream


class Connection(httpx.AsyncByteStream):
    """A connection that is used once. As a byte stream it is the body as it travels, framing aside."""

    def __init__(self, stream: Stream, options: FetchOptions, host: str) -> None:
        self._stream = stream
        self._options = options
        self._host = host
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=options.header_bytes)
        self._received = 0

    async def ask(self, uri: FetchUri, headers: httpx.Headers) -> h11.Response:
        """Send the request; the head of the final answer."""
        request = h11.Request(method="GET", target=uri.target, headers=headers.raw)
        data = (self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            raise FetchFailed(f"{self._host} hung up", code="connection_failed") from None
        while True:
            event = await self._next(self._options.header_bytes, "headers")
            # What came with the first bytes of the body in one read is counted as well: at most one read too strict.
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise FetchFailed(f"{self._host} answers with no HTTP/1.1", code="protocol_error")

    async def piece(self) -> bytes | None:
        """The next piece of the body; None at its end.

        Raises:
            FetchError: `too_large`, `protocol_error`, `connection_failed`.
        """
        limit = self._options.header_bytes + self._options.body_bytes + _WIRE_SLACK
        event = await self._next(limit, "body")
        if isinstance(event, h11.EndOfMessage):
            return None
        if not isinstance(event, h11.Data):
            raise FetchFailed(f"{self._host} answers with no HTTP/1.1", code="protocol_error")
        return bytes(event.data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """All pieces, for an httpx client; see `piece`."""
        while (piece := await self.piece()) is not None:
            yield piece

    async def _next(self, limit: int, what: str) -> Any:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                if error.error_status_hint == 431:
                    raise TooLarge(f"the {what} of {self._host} are too large", field=what) from None
                raise FetchFailed(f"{self._host} answers with no HTTP/1.1", code="protocol_error") from None
            if event is not h11.NEED_DATA:
                return event
            if self._received > limit:
                raise TooLarge(f"the {what} of {self._host} are too large", field=what)
            await self._receive()

    async def _receive(self) -> None:
        try:
            data = await self._stream.receive_some(_READ)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError, OSError):
            raise FetchFailed(f"the connection to {self._host} broke", code="connection_failed") from None
        self._received += len(data)
        try:
            self._http.receive_data(bytes(data))
        except h11.RemoteProtocolError:
            raise FetchFailed(f"{self._host} answers with no HTTP/1.1", code="protocol_error") from None

    async def aclose(self) -> None:
        """Close the connection without ado: nothing more is to be said over it."""
        await trio.aclose_forcefully(self._stream)

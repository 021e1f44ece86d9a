"""TLS 1.3 on Trio with the standard library's `ssl`. Further connections are accepted beside the first."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from scripts.bench.credentials import SERVER_NAME, tls_context
from scripts.bench.framing import READ_SIZE, FramedLink

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from scripts.bench.link import Link
    from scripts.bench.side import Side

    TlsStream = trio.SSLStream[trio.SocketStream]

LOOP = "trio"
ENCRYPTED = True
KINDS = frozenset({"one_way", "ping_pong", "open", "idle"})


class StreamLink(FramedLink):
    """A link over a stream, whose client can open more like it."""

    def __init__(self, stream: TlsStream, port: int, context: ssl.SSLContext) -> None:
        super().__init__(stream.send_all, lambda: stream.receive_some(READ_SIZE))
        self._port = port
        self._context = context

    def open_session(self) -> AbstractAsyncContextManager[object]:
        """Open one more connection at the client."""
        return _connect(self._port, self._context)


@asynccontextmanager
async def _connect(port: int, context: ssl.SSLContext) -> AsyncIterator[TlsStream]:
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    async with _wrap(tcp, context, server=False) as stream:
        await stream.do_handshake()
        yield stream


def _wrap(stream: trio.SocketStream, context: ssl.SSLContext, *, server: bool) -> TlsStream:
    return trio.SSLStream(
        stream,
        context,
        server_side=server,
        server_hostname=None if server else SERVER_NAME,
        https_compatible=True,  # the other side may be gone when we say goodbye
    )


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides and do the handshake."""
    context = tls_context(side.credentials, side.role)
    if side.role == "client":
        port = (await side.address()).port
        async with _connect(port, context) as stream:
            yield StreamLink(stream, port, context)
        return
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4096)
    async with listener, trio.open_nursery() as nursery:
        side.announce(listener.socket.getsockname()[1])
        async with _wrap(await listener.accept(), context, server=True) as first:
            await first.do_handshake()
            nursery.start_soon(_accept, listener, context, nursery)
            yield StreamLink(first, 0, context)
        nursery.cancel_scope.cancel()


async def _accept(listener: trio.SocketListener, context: ssl.SSLContext, nursery: trio.Nursery) -> None:
    while True:
        nursery.start_soon(_hold, _wrap(await listener.accept(), context, server=True))


async def _hold(stream: TlsStream) -> None:
    try:
        async with stream:
            await stream.receive_some(1)  # nothing comes but the end
    except trio.BrokenResourceError:
        return

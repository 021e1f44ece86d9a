"""Certificates of a test's own, and the web over TLS."""

from __future__ import annotations

import ssl
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trustme

from tests.protocols.lip.web import SITE, Route, Web, allowed
from web4.protocols.lip.fetching import Fetcher, open_fetcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping


@contextmanager
def authority_file() -> Iterator[tuple[trustme.CA, Path]]:
    """An authority, and its certificate in a file."""
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "authority.pem"
        authority.cert_pem.write_to_path(str(path))
        yield authority, path


@asynccontextmanager
async def serving_tls(
    routes: Mapping[str, Route], name: str, *, trusted: bool = True
) -> AsyncIterator[tuple[Fetcher, Web]]:
    """The web with a certificate for `name`, and a fetcher that trusts its authority."""
    web = Web(dict(routes), {name: ["127.0.0.1"]})
    with authority_file() as (authority, path), authority_file() as (_, stranger):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)

        async def handle(raw: trio.SocketStream) -> None:
            stream = trio.SSLStream(raw, context, server_side=True, https_compatible=True)
            try:
                await stream.do_handshake()
                await web.handle(_Plain(stream))  # type: ignore[arg-type]  # what it uses of a stream
            except (trio.BrokenResourceError, ssl.SSLError):
                await trio.aclose_forcefully(stream)

        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            web.port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, handle, [listener])
            options = allowed(web, (SITE,), authorities=str(path if trusted else stranger))
            async with open_fetcher(options, resolve=web.resolve, dial=web.dial, emit=web.emit) as fetcher:
                yield fetcher, web
            nursery.cancel_scope.cancel()


class _Plain:
    """An encrypted stream as the web uses one."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream

    async def receive_some(self, most: int) -> bytes:
        return bytes(await self._stream.receive_some(most))

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._stream.aclose()

"""A web of a test's own: a counting server on the loopback, names that lead to it, a fetcher that is let there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from web4.protocols.lip.fetching import FetchException, FetchOptions, open_fetcher, system_dial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.protocols.lip.fetching import Fetcher

Route = bytes | Callable[[trio.SocketStream], Awaitable[None]]

SITE = "site.test"


def answer(body: bytes = b"", *, status: str = "200 OK", kind: str = "text/plain", **fields: str) -> bytes:
    """An answer as it travels. Fields are named with underscores."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    if kind:
        lines.append(f"Content-Type: {kind}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def moved(location: str, status: str = "302 Found") -> bytes:
    return answer(status=status, kind="", Location=location)


@dataclass
class Web:
    """The server, and everything that was asked of it and of the resolver.

    `routes` goes by path, or by host and path: `other.test/page`. Without a robots.txt a host has none.
    """

    routes: dict[str, Route]
    names: dict[str, Sequence[str]] = field(default_factory=dict)
    port: int = 0
    requests: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    resolved: list[str] = field(default_factory=list)
    dialed: list[str] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def url(self, path: str = "/", host: str = SITE) -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def pages(self) -> list[str]:
        """What was asked for, robots.txt aside."""
        return [one for one in self.requests if not one.endswith("/robots.txt")]

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some(65536)
                if not data:
                    return
                head += data
            path = head.split()[1].decode()
            host = next(
                line[5:].strip().decode().partition(":")[0]
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"host:")
            )
            self.requests.append(host + path)
            self.heads.append(head)
            plain = path.partition("?")[0]
            route = self.routes.get(host + plain, self.routes.get(plain))
            if route is None:
                route = answer(status="404 Not Found")
            if isinstance(route, bytes):
                await stream.send_all(route)
                await stream.send_eof()
                with trio.move_on_after(5):
                    await stream.receive_some(1)
            else:
                await route(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise OSError("no such name")
        return self.names[host]

    async def dial(self, address: str, port: int) -> trio.SocketStream:
        self.dialed.append(address)
        return await system_dial(address, port)

    def emit(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))


@asynccontextmanager
async def serving(routes: Mapping[str, Route], *, hosts: Sequence[str] = (SITE,)) -> AsyncIterator[Web]:
    """The server and the names of `hosts`, all of them 127.0.0.1."""
    web = Web(dict(routes), {host: ["127.0.0.1"] for host in hosts})
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        web.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, web.handle, [listener])
        yield web
        nursery.cancel_scope.cancel()


def allowed(web: Web, hosts: Sequence[str] = ("127.0.0.1",), **limits: Any) -> FetchOptions:
    """Options that let a fetcher go to the server, and do not make it wait between requests."""
    exceptions = tuple(
        FetchException(host=host, port=web.port, network="127.0.0.0/8") for host in (*web.names, *hosts)
    )
    return FetchOptions(exceptions=exceptions, **{"spacing_seconds": 0.0} | limits)


@asynccontextmanager
async def browsing(
    routes: Mapping[str, Route], *, hosts: Sequence[str] = (SITE,), **limits: Any
) -> AsyncIterator[tuple[Fetcher, Web]]:
    """A fetcher that is let to the server of `routes`."""
    async with (
        serving(routes, hosts=hosts) as web,
        open_fetcher(allowed(web, **limits), resolve=web.resolve, dial=web.dial, emit=web.emit) as fetcher,
    ):
        yield fetcher, web

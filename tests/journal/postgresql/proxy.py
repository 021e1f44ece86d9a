"""A wire that breaks where it is told to, between a backend and its server."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.postgresql_server import PostgresqlServer

_SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Forwards connections. Both directions of all of them can be held, and what clients see can be cut."""

    def __init__(self, directory: Path, server: Path, nursery: trio.Nursery) -> None:
        self.directory = directory
        self._server = server
        self._nursery = nursery
        self._clients: list[trio.SocketStream] = []
        self._may_ask = trio.Event()
        self._may_answer = trio.Event()
        self.asked = trio.Event()
        """Set when something was held on its way to the server."""
        self.answered = trio.Event()
        """Set when something was held on its way back."""
        self.refuse = False
        """Whether new connections are refused."""
        self.let_ask()
        self.let_answer()

    def conninfo(self, server: PostgresqlServer, database: str) -> str:
        """The same database, through here."""
        return database.replace(str(server.directory), str(self.directory))

    def hold_asking(self) -> None:
        """Let nothing through to the server."""
        self._may_ask, self.asked = trio.Event(), trio.Event()

    def hold_answering(self) -> None:
        """Let nothing through to the clients."""
        self._may_answer, self.answered = trio.Event(), trio.Event()

    def let_ask(self) -> None:
        """Let through again what was held; it arrives though its client is gone."""
        self._may_ask.set()

    def let_answer(self) -> None:
        """Let answers through again."""
        self._may_answer.set()

    async def cut(self) -> None:
        """Close the clients' ends. What they sent still arrives."""
        clients, self._clients = self._clients, []
        for client in clients:
            await trio.aclose_forcefully(client)

    async def serve(self, client: trio.SocketStream) -> None:
        """Forward one connection."""
        if self.refuse:
            await trio.aclose_forcefully(client)
            return
        # What is held belongs to this connection: later ones are not touched by what the test lets go.
        server = await trio.open_unix_socket(self._server)
        self._clients.append(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask, client, server)
            nursery.start_soon(self._answer, server, client)

    async def _ask(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        try:
            while data := await client.receive_some():
                if not self._may_ask.is_set():
                    self.asked.set()
                    await self._may_ask.wait()
                await server.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await server.send_eof()

    async def _answer(self, server: trio.SocketStream, client: trio.SocketStream) -> None:
        try:
            while data := await server.receive_some():
                if not self._may_answer.is_set():
                    self.answered.set()
                    await self._may_answer.wait()
                await client.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await trio.aclose_forcefully(client)
        await trio.aclose_forcefully(server)


@asynccontextmanager
async def open_proxy(server: PostgresqlServer) -> AsyncGenerator[Proxy]:
    """A proxy before a server."""
    with tempfile.TemporaryDirectory(prefix="web4-pgx-") as directory:
        async with trio.open_nursery() as nursery:
            proxy = Proxy(Path(directory), server.directory / _SOCKET, nursery)
            path = str(proxy.directory / _SOCKET)
            listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
            await listener.bind(path)
            listener.listen(20)

            async def accept() -> None:
                while True:
                    connection, _ = await listener.accept()
                    nursery.start_soon(proxy.serve, trio.SocketStream(connection))

            nursery.start_soon(accept)
            try:
                yield proxy
            finally:
                nursery.cancel_scope.cancel()
                listener.close()

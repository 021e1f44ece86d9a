"""The carrier between two agents, so that it can be cut: forwards bytes and reads none of them."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 64 * 1024


class Wire:
    """Listens at an address of its own and forwards to another, which may change.

    Args:
        directory: Where its socket lies, if bytes travel on one of the file system.
        transport: `tcp` or `unix`.
        name: Of that socket.
    """

    def __init__(self, directory: Path, transport: str, name: str = "wire") -> None:
        self._path = directory / f"{name}.sock" if transport == "unix" else None
        self._scopes: set[trio.CancelScope] = set()
        self.target = ""
        """Where it leads to."""
        self.url = ""
        """Where it is dialled, once it runs."""
        self.down = False
        """Whether it carries nothing at all."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Carry, until cancelled."""
        listener = await self._listen()
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                await trio.serve_listeners(self._carry, [listener], handler_nursery=nursery)
        finally:
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    async def _listen(self) -> trio.SocketListener:
        if self._path is None:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.url = f"tcp://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            return listeners[0]
        self._path.unlink(missing_ok=True)
        socket = trio.socket.socket(trio.socket.AF_UNIX)
        try:
            await socket.bind(os.fspath(self._path))
        except OSError as error:
            socket.close()
            raise OSError(f"{self._path}: {error}") from None
        socket.listen()
        self.url = f"unix://{self._path}"
        return trio.SocketListener(socket)

    def cut(self) -> int:
        """Cut every connection there is; how many there were."""
        scopes = tuple(self._scopes)
        for scope in scopes:
            scope.cancel()
        return len(scopes)

    async def _carry(self, near: trio.SocketStream) -> None:
        with (
            suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError),
            trio.CancelScope() as scope,
        ):
            if self.down:
                return
            self._scopes.add(scope)
            try:
                far = await _dial(self.target)
                async with far, near, trio.open_nursery() as nursery:
                    nursery.start_soon(_pass_on, near, far, scope)
                    nursery.start_soon(_pass_on, far, near, scope)
            finally:
                self._scopes.discard(scope)


async def _dial(url: str) -> trio.SocketStream:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        stream: trio.SocketStream = await trio.open_unix_socket(parts.path)
        return stream
    assert parts.hostname is not None
    assert parts.port is not None
    return await trio.open_tcp_stream(parts.hostname, parts.port)


async def _pass_on(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(_CHUNK):
            await sink.send_all(data)
    scope.cancel()

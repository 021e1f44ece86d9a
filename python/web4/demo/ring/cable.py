"""A cable between two nodes: bytes go through it until it is cut.

A node dials the cable's address, and is at the other's. The ends notice nothing of it but what a network does: that
bytes come late, or that a connection breaks.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from pathlib import Path

_PIECE = 65_536


class Cable:
    """One cable. `run` it; `address` is where it is dialled.

    Args:
        name: For people.
        path: Its Unix socket; on TCP when None.
    """

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self.address = ""
        """Where it is dialled, once it runs."""
        self.target = ""
        """Where its other end is: a node's own address. Empty while there is none."""
        self.whole = True
        """Whether it is not cut."""
        self._path = path
        self._streams: set[trio.SocketStream] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry bytes, until cancelled.

        Raises:
            OSError: It cannot listen.
        """
        listener = await self._listen()
        try:
            await trio.serve_listeners(self._carry, [listener], task_status=_Ignored(task_status))
        finally:
            if self._path is not None:
                with suppress(FileNotFoundError):
                    os.unlink(self._path)  # noqa: PTH108 - nothing is awaited when it is cancelled

    async def _listen(self) -> trio.SocketListener:
        if self._path is None:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.address = f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}"
            return listener
        with suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - of a run that was killed
        socket = trio.socket.socket(trio.socket.AF_UNIX)
        await socket.bind(os.fspath(self._path))
        socket.listen()
        self.address = f"unix://{self._path}"
        return trio.SocketListener(socket)

    def cut(self) -> None:
        """Carry nothing from now on: what goes through it breaks."""
        self.whole = False
        for stream in self._streams:
            stream.socket.close()
        self._streams.clear()

    def join(self) -> None:
        """Carry again."""
        self.whole = True

    async def _carry(self, near: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with near:
                if not self.whole or not self.target:
                    return
                async with await _dial(self.target) as far:
                    if not self.whole:
                        return
                    ends = {near, far}
                    self._streams |= ends
                    try:
                        await _both_ways(near, far)
                    finally:
                        self._streams -= ends


async def _both_ways(near: trio.SocketStream, far: trio.SocketStream) -> None:
    async with trio.open_nursery() as nursery:

        async def one_way(source: trio.SocketStream, target: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while piece := await source.receive_some(_PIECE):
                    await target.send_all(piece)
            nursery.cancel_scope.cancel()  # one end is gone: so is the connection

        nursery.start_soon(one_way, near, far)
        await one_way(far, near)


async def _dial(address: str) -> trio.SocketStream:
    scheme, _, place = address.partition("://")
    if scheme == "unix":
        return await trio.open_unix_socket(place)
    host, _, port = place.rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


class _Ignored(trio.TaskStatus[object]):
    """Says that it has started without the listeners, which are this module's own affair."""

    def __init__(self, inner: trio.TaskStatus[None]) -> None:
        self._inner = inner

    def started(self, value: object = None) -> None:
        self._inner.started()

"""A TCP proxy that does harm, run as `python -m tests.chaos.proxy PORT [SEED]`: forwards to that port of the loopback.

It obeys commands on its standard input, one JSON object a line, and answers each with one line of the same name.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from tests.chaos.damage import Act, Damage
from tests.rtt.peer import tell

UP, DOWN = "up", "down"
"""From who dialled to who listens, and back."""


@dataclass(eq=False)
class Connection:
    """One connection and its other half."""

    dialler: trio.SocketStream
    acceptor: trio.SocketStream
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    stalled: bool = False
    recorded: dict[str, bytearray] = field(default_factory=lambda: {UP: bytearray(), DOWN: bytearray()})

    def reset(self) -> None:
        for stream in (self.dialler, self.acceptor):
            if stream.socket.fileno() >= 0:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.socket.close()
        self.scope.cancel()

    def end(self, how: str) -> None:
        if how == "rst":
            self.reset()
        elif how == "fin":
            self.finish()
        else:
            self.stalled = True

    def finish(self) -> None:
        """End both directions politely, and read on to nowhere: closing with unread bytes would be a reset."""
        self.stalled = True
        for stream in (self.dialler, self.acceptor):
            with suppress(OSError):
                stream.socket.shutdown(socket.SHUT_WR)


class Proxy:
    """Accepts, forwards, and does what it is told."""

    def __init__(self, target: int, seed: str, nursery: trio.Nursery) -> None:
        self.target = target
        self.nursery = nursery
        self.connections: dict[Connection, None] = {}
        self.ended: list[Connection] = []
        self.plans: list[dict[str, Any]] = []
        self.delay = 0.0
        self.pieces: tuple[int, int] | None = None
        self.keep = False
        self.passing = trio.Event()
        self.passing.set()
        self.accepted = 0
        self.totals = {UP: 0, DOWN: 0}
        self._random = random.Random(seed)

    # --- commands --------------------------------------------------------------------------------------

    async def plan(self, plans: list[dict[str, Any]]) -> dict[str, Any]:
        """What the next connections suffer, one after the other: an act for `up`, one for `down`."""
        self.plans = plans
        return {}

    async def weather(self, delay: float = 0.0, pieces: tuple[int, int] | None = None) -> dict[str, Any]:
        """Every piece that is forwarded waits so long, and is of so few and so many bytes."""
        self.delay, self.pieces = delay, pieces
        return {}

    async def cut(self, how: str = "rst") -> dict[str, Any]:
        """End every connection there is."""
        cut = list(self.connections)
        for connection in cut:
            connection.end(how)
        return {"connections": len(cut)}

    async def hold(self) -> dict[str, Any]:
        """Let nothing pass, and say so to nobody."""
        if self.passing.is_set():
            self.passing = trio.Event()
        return {}

    async def release(self) -> dict[str, Any]:
        self.passing.set()
        return {}

    async def record(self) -> dict[str, Any]:
        """Keep every byte of the connections from now on."""
        self.keep = True
        return {}

    async def recorded(self) -> dict[str, Any]:
        """What each connection, in order, has carried since `record`."""
        return {
            "connections": [
                {name: bytes(data).hex() for name, data in connection.recorded.items()}
                for connection in [*self.ended, *self.connections]
            ]
        }

    async def look(self) -> dict[str, Any]:
        return {"open": len(self.connections), "accepted": self.accepted, **self.totals}

    # --- forwarding ------------------------------------------------------------------------------------

    async def serve(self, dialler: trio.SocketStream) -> None:
        plan = self.plans.pop(0) if self.plans else {}
        self.accepted += 1
        try:
            acceptor = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            dialler.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        connection = Connection(dialler, acceptor)
        self.connections[connection] = None
        async with acceptor:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    for name, source, sink in ((UP, dialler, acceptor), (DOWN, acceptor, dialler)):
                        act = plan.get(name)
                        damage = Damage(None if act is None else Act(**act))
                        nursery.start_soon(self._forward, connection, name, source, sink, damage)
            del self.connections[connection]
            if self.keep:
                self.ended.append(connection)

    async def _forward(
        self,
        connection: Connection,
        name: str,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        damage: Damage,
    ) -> None:
        try:
            async for data in source:
                await self.passing.wait()
                if connection.stalled:
                    continue
                self.totals[name] += len(data)
                if self.keep:
                    connection.recorded[name] += data
                await self._write(sink, damage.feed(bytes(data)))
                if damage.end is not None:
                    connection.end(damage.end)
            if not connection.stalled:
                await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # One end broke it, so the other one shall know. What was ended politely ends by itself.
            if not connection.stalled:
                connection.reset()

    async def _write(self, sink: trio.SocketStream, data: bytes) -> None:
        while data:
            await self.passing.wait()
            size = len(data) if self.pieces is None else self._random.randint(*self.pieces)
            if self.delay:
                await trio.sleep(self.delay)
            await sink.send_all(data[:size])
            data = data[size:]


async def main() -> None:
    seed = sys.argv[2] if len(sys.argv) > 2 else "proxy"
    async with trio.open_nursery() as nursery:
        proxy = Proxy(int(sys.argv[1]), seed, nursery)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
        tell("listening", port=listeners[0].socket.getsockname()[1])
        pending = b""
        async for data in trio.lowlevel.FdStream(os.dup(0)):
            *whole, pending = (pending + data).split(b"\n")
            for line in whole:
                arguments = json.loads(line)
                command = arguments.pop("command")
                tell(command, **await getattr(proxy, command)(**arguments))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)

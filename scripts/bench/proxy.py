"""A TCP proxy that resets connections when it is told to: one thread, one selector, nothing else.

    python -m scripts.bench.proxy PORT

Forwards loopback connections to PORT and says on its first line where it listens. Each line of its input is a
command: `reset` ends every connection with RST on both sides and lets new ones flow, `hold` stops reading from all of
them, the ones to come included, until the next reset, and `look` does nothing. It answers each with the time on the
monotonic clock, in nanoseconds, and how many connections there were.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import sys
import time

import msgspec

CHUNK = 256 * 1024
_RESET = struct.pack("ii", 1, 0)
"""`SO_LINGER` that makes `close` send RST."""


class Done(msgspec.Struct, frozen=True):
    """The answer to a command.

    Args:
        at_ns: When it was done, on the clock that all processes share.
        connections: How many connections there were.
    """

    at_ns: int
    connections: int


class _Half:
    """One socket of a connection, and what waits to be written to it."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = end
        self.other: _Half | None = None
        self.waiting = memoryview(b"")
        self.finished = False


class Proxy:
    """Forwards connections to a loopback port.

    Args:
        target: The port.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._halves: set[_Half] = set()
        self._held = False
        self.port: int = self._listener.getsockname()[1]

    def register(self, descriptor: int) -> None:
        """Have `turn` return when this descriptor can be read."""
        self._selector.register(descriptor, selectors.EVENT_READ, descriptor)

    def turn(self, timeout: float | None = None) -> bool:
        """Move what can be moved; True when a registered descriptor can be read."""
        commanded = False
        for key, events in self._selector.select(timeout):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.data, int):
                commanded = True
            elif key.data in self._halves:
                self._move(key.data, events)
        return commanded

    def reset(self) -> Done:
        """End every connection with RST, both sides, and let new ones flow."""
        self._held = False
        halves = list(self._halves)
        for half in halves:
            self._drop(half)
        return Done(time.monotonic_ns(), len(halves) // 2)

    def hold(self) -> Done:
        """Read no more until the next reset."""
        self._held = True
        for half in self._halves:
            self._watch(half)
        return self.look()

    def look(self) -> Done:
        """Count the connections."""
        return Done(time.monotonic_ns(), len(self._halves) // 2)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        near, far = _Half(client), _Half(server)
        near.other, far.other = far, near
        for half in (near, far):
            self._halves.add(half)
            self._selector.register(half.socket, selectors.EVENT_READ, half)
            self._watch(half)

    def _watch(self, half: _Half) -> None:
        assert half.other is not None
        # A socket is read only while nothing of it waits to be written: a slow reader slows its sender.
        read = not (self._held or half.finished or half.other.waiting)
        events = selectors.EVENT_READ * read | selectors.EVENT_WRITE * bool(half.waiting)
        known = half.socket.fileno() in self._selector.get_map()
        if events and known:
            self._selector.modify(half.socket, events, half)
        elif events:
            self._selector.register(half.socket, events, half)
        elif known:
            self._selector.unregister(half.socket)

    def _move(self, half: _Half, events: int) -> None:
        other = half.other
        assert other is not None
        try:
            if events & selectors.EVENT_WRITE:
                self._write(half)
            elif events & selectors.EVENT_READ:
                data = half.socket.recv(CHUNK)
                if data:
                    other.waiting = memoryview(data)
                    self._write(other)
                else:
                    half.finished = True
                    other.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(half)
            self._drop(other)
            return
        if half.finished and other.finished:
            self._drop(half)
            self._drop(other)
            return
        self._watch(half)
        self._watch(other)

    @staticmethod
    def _write(half: _Half) -> None:
        try:
            half.waiting = half.waiting[half.socket.send(half.waiting) :]
        except BlockingIOError:
            return

    def _drop(self, half: _Half) -> None:
        if half not in self._halves:
            return
        self._halves.discard(half)
        if half.socket.fileno() in self._selector.get_map():
            self._selector.unregister(half.socket)
        half.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        half.socket.close()


def main() -> None:
    """Forward until the input ends."""
    proxy = Proxy(int(sys.argv[1]))
    proxy.register(0)
    do = {"reset": proxy.reset, "hold": proxy.hold, "look": proxy.look}
    _answer(proxy.port)
    commands = b""
    while True:
        if not proxy.turn():
            continue
        data = os.read(0, 4096)
        if not data:
            return
        *lines, commands = (commands + data).split(b"\n")
        for line in lines:
            _answer(do[msgspec.json.decode(line, type=str)]())


def _answer(value: object) -> None:
    os.write(1, msgspec.json.encode(value) + b"\n")


if __name__ == "__main__":
    main()

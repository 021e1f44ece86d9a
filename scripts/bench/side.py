"""One of the two processes of a measurement: its role, its loop, and its pipe to the parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

import msgspec
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Loop = Literal["blocking", "trio", "asyncio", "uvloop"]
T = TypeVar("T")


class Address(msgspec.Struct, frozen=True):
    """Where a server is to be reached on loopback.

    Args:
        port: Its port; the parent may put a proxy's there.
        note: What else its client has to know, a key for one.
    """

    port: int
    note: str = ""


class Failure(msgspec.Struct, frozen=True):
    """Why a process gave up."""

    failed: str


class Hello(msgspec.Struct, frozen=True):
    """What a process says first.

    Args:
        loop: What its coroutines run on.
        encrypted: Whether its peer encrypts.
        kinds: The kinds of figures its peer carries.
        versions: What the peer is made of.
        limits: Limits that are raised for the measurement.
    """

    loop: Loop
    encrypted: bool
    kinds: list[str]
    versions: dict[str, str]
    limits: dict[str, int]


class Side:
    """One of the two processes (one JSON value a line goes to the parent and comes from it)."""

    def __init__(self, role: Literal["server", "client"], *, credentials: Path) -> None:
        self.role = role
        self.credentials = credentials
        self.loop: Loop = "blocking"
        self._buffer = b""
        self._output = os.dup(1)
        os.dup2(2, 1)  # a stray print must not look like a report

    async def read(self, kind: type[T]) -> T | None:
        """Return the parent's next line, or None when it closed the pipe."""
        while b"\n" not in self._buffer:
            await self._wait_readable(sys.stdin.fileno())
            data = os.read(sys.stdin.fileno(), 65536)
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return msgspec.json.decode(line, type=kind)

    def write(self, value: object) -> None:
        """Send one line to the parent."""
        os.write(self._output, msgspec.json.encode(value) + b"\n")

    def announce(self, port: int, note: str = "") -> None:
        """Tell the client, through the parent, how to reach this server."""
        self.write(Address(port, note))

    async def address(self) -> Address:
        """Return what the server announced."""
        address = await self.read(Address)
        if address is None:
            raise EOFError("the parent went away before the server was up")
        return address

    async def sleep(self, seconds: float) -> None:
        """Do nothing for a while, on whatever loop this is."""
        if self.loop == "trio":
            await trio.sleep(seconds)
        elif self.loop == "blocking":
            time.sleep(seconds)  # noqa: ASYNC251 - there is no loop that it could hold up
        else:
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """Raise `TimeoutError` in the block when it takes longer."""
        if self.loop == "trio":
            with trio.move_on_after(seconds) as scope:
                yield
            if scope.cancelled_caught:
                raise TimeoutError
        elif self.loop == "blocking":
            signal.signal(signal.SIGALRM, _time_out)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        else:
            async with asyncio.timeout(seconds):
                yield

    async def _wait_readable(self, descriptor: int) -> None:
        if self.loop == "trio":
            await trio.lowlevel.wait_readable(descriptor)
        elif self.loop != "blocking":
            loop = asyncio.get_running_loop()
            readable = loop.create_future()

            def wake() -> None:
                if not readable.done():
                    readable.set_result(None)

            loop.add_reader(descriptor, wake)
            try:
                await readable
            finally:
                loop.remove_reader(descriptor)


def _time_out(*_: object) -> NoReturn:
    raise TimeoutError

"""A peer in a process of its own: runs `tests.rtt.peer`, takes commands and tells news as lines of JSON."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.rtt.arrange import SAFETY

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

ROOT = Path(__file__).parents[2]


class Peer:
    """The other process."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._pending = b""

    async def news(self, name: str) -> dict[str, Any]:
        """The next line, which must be of this name."""
        assert self.process.stdout is not None
        with trio.fail_after(SAFETY):
            while b"\n" not in self._pending:
                data = await self.process.stdout.receive_some()
                assert data, f"the peer ended before it told {name!r}"
                self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        told: dict[str, Any] = json.loads(line)
        assert told.pop("news") == name, told
        return told

    async def say(self, command: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        line = json.dumps({"command": command, **arguments}).encode() + b"\n"
        await self.process.stdin.send_all(line)

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and wait for the news of the same name."""
        await self.say(command, **arguments)
        return await self.news(command)


@asynccontextmanager
async def obedient_process(module: str, *arguments: str, within: Sequence[str] = ()) -> AsyncGenerator[Peer]:
    """Run a module that takes commands, by the command `within` if any; it is killed at the end, even while it is
    stopped."""
    command = [*within, sys.executable, "-m", module, *arguments]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        yield Peer(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with trio.move_on_after(0):
                await stream.aclose()


@asynccontextmanager
async def peer_process(seed: str, *, within: Sequence[str] = (), **options: Any) -> AsyncGenerator[Peer]:
    """Start a peer with an identity of its own."""
    async with obedient_process("tests.rtt.peer", seed, json.dumps(options), within=within) as peer:
        yield peer


def descriptors(process: int | str = "self") -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def memory(process: int | str = "self") -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1]) * resource.getpagesize()

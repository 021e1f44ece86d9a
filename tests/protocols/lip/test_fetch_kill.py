"""A node that is killed while it fetches fetches again, and once (FETCH-1)."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.protocols.lip.web import answer, serving
from web4 import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = Path(__file__).with_name("fetch_node.py")
BODY = b"The lamp is green."


async def test_a_killed_fetch_is_made_again_after_the_restart(tmp_path: Path) -> None:
    """SIGKILL between the request and the body; the next start performs what was requested, and records it once."""
    reached = trio.Event()

    async def hang(stream: trio.SocketStream) -> None:
        reached.set()
        await stream.receive_some(1)

    async with serving({"/page": hang}) as web, trio.open_nursery() as nursery:
        command: Sequence[str] = [sys.executable, str(PROGRAM), str(tmp_path), str(web.port)]
        start = partial(trio.run_process, command, check=False, capture_stdout=True, capture_stderr=True)
        process = await nursery.start(
            partial(trio.run_process, command, check=False, stderr=subprocess.DEVNULL)
        )
        with trio.fail_after(60):
            await reached.wait()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert web.pages == ["127.0.0.1/page"]

        web.routes["/page"] = answer(BODY)
        for _ in range(2):  # the second start finds it concluded, and asks for nothing
            ran = await start()
            assert ran.returncode == 0, ran.stderr
            assert ran.stdout.decode() == f"done {_core.blake3(BODY).hex()} 1\n"
        assert web.pages == ["127.0.0.1/page"] * 2

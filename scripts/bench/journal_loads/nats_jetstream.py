"""NATS JetStream with a file store that syncs before it acknowledges (`sync_interval: always`), a subject per caller.

Servers before 2.10 have no such setting: what they acknowledge may be lost, and there is nothing to compare.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nats

from scripts.bench.journal_task import PAYLOAD, Counting, Task, now
from scripts.bench.peers.free_port import free_port

if TYPE_CHECKING:
    from scripts.bench.figures import Measurement

_SYNCS = (2, 10)


class CannotSyncError(Exception):
    """This server acknowledges before it syncs."""


def find_server() -> str:
    """The program: on the path, or where `make bench-peers` unpacked it.

    Raises:
        CannotSyncError: It cannot sync before it acknowledges.
        FileNotFoundError: There is none.
    """
    unpacked = Path(sys.prefix) / "nats-server/usr/sbin/nats-server"
    found = shutil.which("nats-server") or (str(unpacked) if unpacked.exists() else None)
    if found is None:
        raise FileNotFoundError("no nats-server on the path")
    ran = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    version = ran.stdout.split()[-1].removeprefix("v")
    if tuple(int(part) for part in version.split(".")[:2]) < _SYNCS:
        raise CannotSyncError(f"nats-server {version} cannot sync before it acknowledges; 2.10 can")
    return found


def measure(task: Task) -> Measurement:
    """Publish and wait for the acknowledgement. The server's CPU is not counted."""
    program, port = find_server(), free_port()
    directory = Path(task.directory)
    config = directory / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{directory}/store", sync_interval: always }}\n'
    )
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
    try:
        return asyncio.run(_measure(task, port))
    finally:
        server.terminate()
        server.wait()


async def _measure(task: Task, port: int) -> Measurement:
    client = await nats.connect(
        f"nats://127.0.0.1:{port}", max_reconnect_attempts=50, reconnect_time_wait=0.1
    )
    stream = client.jetstream()
    await stream.add_stream(name="bench", subjects=["bench.*"])
    counting = Counting()
    callers = [
        asyncio.create_task(_publish(stream, f"bench.{number}", counting.latencies))
        for number in range(task.callers)
    ]
    await asyncio.sleep(task.warm_up)
    counting.begin()
    await asyncio.sleep(task.seconds)
    found = counting.end()
    for caller in callers:
        caller.cancel()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    await client.close()
    for error in ended:
        if isinstance(error, Exception):
            raise error
    return found


async def _publish(stream: Any, subject: str, latencies: list[int]) -> None:
    payload = os.urandom(PAYLOAD)
    while True:
        begun = now()
        await stream.publish(subject, payload, timeout=60)
        latencies.append(now() - begun)

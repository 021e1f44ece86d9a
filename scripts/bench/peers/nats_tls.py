"""nats-py over TLS through a real nats-server, on uvloop.

Core NATS drops what a slow subscriber does not take. So that nothing is dropped here, the receiver tells how much it
has taken, on a subject of its own, and the sender keeps at most a window of messages on the way. `publish` collects
up to 1 MiB before it writes; there is no call for many messages, so a batch is a loop. Messages come through a
subscription's callback, the fastest way in. The server runs beside the harness's server process and may use every
core. A client that lost the server redials at once and for ever.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nats

from scripts.bench.credentials import SERVER_NAME, tls_context
from scripts.bench.peers.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from scripts.bench.figures import Figure
    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "uvloop"
ENCRYPTED = True
KINDS = frozenset({"one_way", "ping_pong", "resets", "stall"})
PACKAGES = ("nats-py", "uvloop")
WINDOW_MESSAGES = 16_384
WINDOW_BYTES = 4 * 1024 * 1024
_UNHEARD = 1.0
"""Seconds without a word of the receiver after which what is on the way is given up: the connection was cut."""


def _find_server() -> str:
    unpacked = Path(sys.prefix) / "nats-server/usr/sbin/nats-server"
    found = shutil.which("nats-server") or (str(unpacked) if unpacked.exists() else None)
    if found is None:
        raise FileNotFoundError("no nats-server on the path, nor the package `nats-server` to unpack")
    return found


SERVER = _find_server()
VERSIONS = {
    "nats-server": subprocess.run(
        [SERVER, "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
}


class SubjectLink:
    """A link over a subject each way, and one each way for what was taken."""

    def __init__(self, client: Any, role: str) -> None:
        self._client = client
        self._to, self._of = ("down", "up") if role == "server" else ("up", "down")
        self._ready: deque[bytes] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None
        self._window = WINDOW_MESSAGES
        self._sent = self._acknowledged = self._taken = 0

    async def subscribe(self) -> None:
        """Hear what the other side sends."""
        await self._client.subscribe(f"bench.{self._of}", cb=self._on_message)
        await self._client.subscribe(f"bench.taken.{self._to}", cb=self._on_taken)
        await self._client.flush()

    def prepare(self, figure: Figure) -> None:
        """Fit the window to the messages, and count anew."""
        self._window = min(WINDOW_MESSAGES, max(1, WINDOW_BYTES // figure.size))
        self._sent = self._acknowledged = self._taken = 0

    async def send(self, message: bytes) -> None:
        """Publish one message."""
        if self._sent - self._acknowledged >= self._window:
            await self._wait_taken()
        await self._client.publish(f"bench.{self._to}", message)
        self._sent += 1

    async def send_many(self, messages: list[bytes]) -> None:
        """Publish each message."""
        if self._sent - self._acknowledged >= self._window:
            await self._wait_taken()
        publish, subject = self._client.publish, f"bench.{self._to}"
        for message in messages:
            await publish(subject, message)
        self._sent += len(messages)

    async def receive(self) -> bytes:
        """Return the next message."""
        while not self._ready:
            await self._wait_message()
        message = self._ready.popleft()
        await self._take(1)
        return message

    async def receive_many(self) -> list[bytes]:
        """Return every message that is here; wait for one."""
        while not self._ready:
            await self._wait_message()
        messages = list(self._ready)
        self._ready.clear()
        await self._take(len(messages))
        return messages

    async def _on_message(self, message: Any) -> None:
        self._ready.append(message.data)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _on_taken(self, message: Any) -> None:
        self._acknowledged = max(self._acknowledged, int(message.data))
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    async def _take(self, count: int) -> None:
        step = max(1, self._window // 4)
        before, self._taken = self._taken, self._taken + count
        if before // step != self._taken // step:
            await self._client.publish(f"bench.taken.{self._of}", b"%d" % self._taken)

    async def _wait_message(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    async def _wait_taken(self) -> None:
        while self._sent - self._acknowledged >= self._window:
            self._sender = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(_UNHEARD):
                    await self._sender
            except TimeoutError:
                if self._client.is_connected:
                    self._sent = self._acknowledged


@contextmanager
def _run_server(side: Side, port: int) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="web4-bench-nats-") as directory:
        configuration = Path(directory) / "nats.conf"
        certificate, key = side.credentials / "certificate.pem", side.credentials / "key.pem"
        configuration.write_text(
            f'listen: "127.0.0.1:{port}"\ntls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
        )
        with subprocess.Popen([SERVER, "-c", str(configuration)], stderr=subprocess.DEVNULL) as server:
            os.sched_setaffinity(server.pid, range(os.cpu_count() or 1))
            try:
                yield
            finally:
                server.terminate()


async def _connect(side: Side, port: int) -> Any:
    return await nats.connect(
        f"tls://127.0.0.1:{port}",
        tls=tls_context(side.credentials, "client"),
        tls_hostname=SERVER_NAME,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.02,
        error_cb=_ignore,
    )


async def _ignore(_error: Exception) -> None:
    """Nothing: what got lost is counted at the other side."""


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Start the server, connect both sides to it."""
    if side.role == "client":
        client = await _connect(side, (await side.address()).port)
        link = SubjectLink(client, side.role)
        await link.subscribe()
        yield link
        await client.close()
        return
    port = free_port()
    with _run_server(side, port):
        give_up = time.monotonic() + 10
        while True:
            try:
                _reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(0.02)
        client = await _connect(side, port)
        link = SubjectLink(client, side.role)
        await link.subscribe()
        side.announce(port)
        yield link
        await client.close()

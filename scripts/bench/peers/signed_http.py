"""Signed JSON over HTTP, in the manner of `uagents`: one POST per message, answered when it is handled.

An envelope names sender, target and schema, holds its payload in base64, and is signed over a SHA-256 digest of all
that; the receiver computes the digest again, verifies it, and gives the payload to a handler. aiohttp at the client and
uvicorn at the server, as there, both on uvloop. Better than there: Ed25519 by OpenSSL where that library signs with
secp256k1 in Python, connections that are kept, no model validation. Not encrypted, nothing remembered.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import uuid
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from scripts.bench.peers.free_port import free_port
from scripts.bench.peers.letters import IN_FLIGHT, message, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from scripts.bench.link import Link
    from scripts.bench.side import Side

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

LOOP = "uvloop"
ENCRYPTED = False
KINDS = frozenset({"one_way"})
PACKAGES = ("aiohttp", "uvicorn", "uvloop", "cryptography")
_SCHEMA = "model:" + "0" * 64
_LIFETIME = 60


def _digest(envelope: dict[str, Any]) -> bytes:
    """What is signed: every field but the signature."""
    hasher = hashlib.sha256()
    for field in ("sender", "target", "session", "schema_digest", "payload"):
        hasher.update(envelope[field].encode())
    hasher.update(envelope["expires"].to_bytes(8, "big"))
    hasher.update(envelope["nonce"].to_bytes(8, "big"))
    return hasher.digest()


def _name(key: Ed25519PublicKey) -> str:
    return key.public_bytes_raw().hex()


class Posting:
    """The client's link: each message is a POST, and so many are waited for at once."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url
        self._key = Ed25519PrivateKey.generate()
        self._name = _name(self._key.public_key())
        self._nonce = 0

    async def send(self, message: bytes) -> None:
        """Sign, post, and wait until it is handled."""
        self._nonce += 1
        envelope: dict[str, Any] = {
            "version": 1,
            "sender": self._name,
            "target": self._url,
            "session": str(uuid.uuid4()),
            "schema_digest": _SCHEMA,
            "payload": base64.b64encode(json.dumps({"statement": text(message)}).encode()).decode(),
            "expires": int(time.time()) + _LIFETIME,
            "nonce": self._nonce,
        }
        envelope["signature"] = self._key.sign(_digest(envelope)).hex()
        headers = {"content-type": "application/json"}
        async with self._http.post(self._url, data=json.dumps(envelope), headers=headers) as response:
            if response.status != 200:
                raise RuntimeError(f"the receiver answered {response.status}")
            await response.read()

    async def send_many(self, messages: list[bytes]) -> None:
        """Post each message; as many connections as may be in flight."""
        await asyncio.gather(*map(self.send, messages))

    async def receive(self) -> bytes:
        """Nothing ever comes: only the server receives."""
        raise NotImplementedError

    async def receive_many(self) -> list[bytes]:
        """See `receive`."""
        raise NotImplementedError


class Handling:
    """The server's link, and its ASGI application."""

    def __init__(self) -> None:
        self._come: deque[bytes] = deque()
        self._waiting = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        status = 200 if self._handle(json.loads(body)) else 400
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    def _handle(self, envelope: dict[str, Any]) -> bool:
        """Verify, and let the handler have the payload."""
        if envelope["expires"] < time.time():
            return False
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(envelope["sender"]))
        key.verify(bytes.fromhex(envelope["signature"]), _digest(envelope))  # raises
        payload = json.loads(base64.b64decode(envelope["payload"]))
        self._come.append(message(payload["statement"]))
        self._waiting.set()
        return True

    async def receive(self) -> bytes:
        """Wait for the next message."""
        while not self._come:
            self._waiting.clear()
            await self._waiting.wait()
        return self._come.popleft()

    async def receive_many(self) -> list[bytes]:
        """Wait for one message and return every one that is here."""
        first = await self.receive()
        more = [first, *self._come]
        self._come.clear()
        return more

    async def send(self, message: bytes) -> None:
        """Nothing is ever sent: only the client sends."""
        raise NotImplementedError

    async def send_many(self, messages: list[bytes]) -> None:
        """See `send`."""
        raise NotImplementedError


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Serve, or open a client with as many connections as messages may be in flight."""
    if side.role == "server":
        port = free_port()
        handling = Handling()
        configuration = uvicorn.Config(
            handling, host="127.0.0.1", port=port, log_level="warning", lifespan="off", http="httptools"
        )
        server = uvicorn.Server(configuration)
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        side.announce(port)
        try:
            yield handling
        finally:
            server.should_exit = True
            with suppress(asyncio.CancelledError):
                await task
    else:
        port = (await side.address()).port
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
        async with aiohttp.ClientSession(connector=connector) as http:
            yield Posting(http, f"http://127.0.0.1:{port}/submit")

"""What both zenoh peers share: two sessions, one that listens and one that dials, and a key for each direction.

Publishers are RELIABLE and BLOCK, subscribers read a bounded FIFO channel, which holds the link back when it is full.
A blocked `put` may wait for 60 s before zenoh closes the link (5 s is the default), so that a slow reader costs
nothing. Batching is zenoh's own: it packs whatever is waiting into batches of 64 KiB. There is no call for many
messages, so a batch is a loop of `put` and of `try_recv`. Round trips go `express`, past the batching, as the
documentation advises for latency. Discovery is off.
"""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import zenoh

from scripts.bench.credentials import SERVER_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.figures import Figure
    from scripts.bench.link import Link
    from scripts.bench.side import Side

PACKAGES = ("eclipse-zenoh",)
WAIT_BEFORE_CLOSE_US = 60_000_000
INBOX = 1_024
AT_ONCE = 256
_MATCH_LIMIT = 20.0


class SampleLink:
    """A link over a subscriber and two publishers of the same key, one of them express."""

    def __init__(self, subscriber: Any, packed: Any, express: Any) -> None:
        self._receive = subscriber.recv
        self._try_receive = subscriber.try_recv
        self._packed = packed
        self._express = express
        self._put = packed.put

    def prepare(self, figure: Figure) -> None:
        """Choose the publisher."""
        self._put = (self._express if figure.kind == "ping_pong" else self._packed).put

    async def send(self, message: bytes) -> None:
        """Hand over one message."""
        self._put(message)

    async def send_many(self, messages: list[bytes]) -> None:
        """Hand over each message."""
        put = self._put
        for message in messages:
            put(message)

    async def receive(self) -> bytes:
        """Return the next message."""
        message: bytes = self._receive().payload.to_bytes()
        return message

    async def receive_many(self) -> list[bytes]:
        """Wait for one message and return what else is here."""
        messages = [self._receive().payload.to_bytes()]
        while len(messages) < AT_ONCE and (sample := self._try_receive()) is not None:
            messages.append(sample.payload.to_bytes())
        return messages


def _configure(side: Side, endpoint: str) -> Any:
    server = side.role == "server"
    tls = (
        {
            "listen_certificate": str(side.credentials / "certificate.pem"),
            "listen_private_key": str(side.credentials / "key.pem"),
        }
        if server
        else {"root_ca_certificate": str(side.credentials / "certificate.pem")}
    )
    settings = {
        "mode": "peer" if server else "client",
        "listen/endpoints" if server else "connect/endpoints": [endpoint],
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "transport/link/tls": tls,
        "transport/link/tx/queue/congestion_control/block/wait_before_close": WAIT_BEFORE_CLOSE_US,
    }
    config = zenoh.Config()
    for key, value in settings.items():
        config.insert_json5(key, json.dumps(value))
    return config


@asynccontextmanager
async def open_sessions(side: Side, scheme: str, port: int | None) -> AsyncIterator[Link]:
    """Connect both sides and wait until each knows the other's subscriber.

    Args:
        side: This side.
        scheme: `tls` or `quic`.
        port: Where the server listens; the client is told by it.
    """
    port = (await side.address()).port if port is None else port
    host = "127.0.0.1" if side.role == "server" else SERVER_NAME
    with zenoh.open(_configure(side, f"{scheme}/{host}:{port}")) as session:
        to, of = ("down", "up") if side.role == "server" else ("up", "down")
        subscriber = session.declare_subscriber(f"bench/{of}", zenoh.handlers.FifoChannel(INBOX))
        packed, express = (
            session.declare_publisher(
                f"bench/{to}",
                congestion_control=zenoh.CongestionControl.BLOCK,
                reliability=zenoh.Reliability.RELIABLE,
                express=express,
            )
            for express in (False, True)
        )
        if side.role == "server":
            side.announce(port)
        give_up = time.monotonic() + _MATCH_LIMIT
        while not (packed.matching_status and express.matching_status):
            if time.monotonic() > give_up:
                raise TimeoutError("zenoh did not match publisher and subscriber")
            await side.sleep(0.01)
        yield SampleLink(subscriber, packed, express)

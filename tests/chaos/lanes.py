"""Traffic that checks itself: what is sent to a mirror must come back once, in order, and unchanged (RTT-23)."""

from __future__ import annotations

import struct
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.rtt.arrange import ALICE, BOB, LOOPBACK, Events
from tests.rtt.processes import Peer, obedient_process, peer_process
from web4 import rtt

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Callable, Sequence

KINDS = ("control", "state", "knowledge")
HASTY: dict[str, Any] = {"reconnect_base": 0.002, "reconnect_cap": 0.05, "handshake_timeout": 2.0}
"""Options of whoever dials and is cut often: nobody learns anything from waiting."""
OPEN: dict[str, Any] = {
    "carriers_per_second": 100_000,
    "carriers_burst": 100_000,
    "half_open": 4096,
    "half_open_per_address": 4096,
    "sessions_per_peer": 10_000,
}
"""Options of whoever is dialled as often."""


class Lane:
    """One channel to a mirror, and what must still come back on it."""

    def __init__(self, channel: rtt.Channel, choose: random.Random, most: int = 3000) -> None:
        self.channel = channel
        self.sent = self.returned = 0
        self._choose = choose
        self._most = most
        self._expected: deque[bytes] = deque()

    async def send(self) -> None:
        """One message, numbered, of a size and content that nobody expects."""
        await self.say(self._choose.randbytes(self._choose.randint(0, self._most)))

    async def say(self, text: bytes) -> None:
        """One message, numbered."""
        message = struct.pack(">Q", self.sent) + text
        self.sent += 1
        self._expected.append(message)
        await self.channel.send(message)

    async def receive(self) -> None:
        """Everything that has come back, which is what was sent first."""
        for message in await self.channel.receive_many():
            assert self._expected, (
                f"{self.channel.kind} message {message[:8].hex()} came twice, or from nowhere"
            )
            expected = self._expected.popleft()
            assert message == expected, (
                f"{self.channel.kind}: {message[:8].hex()} came where {expected[:8].hex()} was next"
            )
            self.returned += 1

    async def run(self, count: int, sent: Callable[[], object] = lambda: None) -> None:
        """Send `count` messages, and wait until the mirror has returned all of them."""
        until = self.sent + count

        async def send() -> None:
            while self.sent < until:
                await self.send()
                sent()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while self.returned < until:
                await self.receive()


async def lanes(session: rtt.RttSession, choose: random.Random, kinds: Sequence[str] = KINDS) -> list[Lane]:
    """A lane of every kind. All block: what a policy drops does not come back."""
    return [Lane(await session.open_channel(kind, name=kind, policy="block"), choose) for kind in kinds]


async def run_all(every: Sequence[Lane], count: int, sent: Callable[[], object] = lambda: None) -> None:
    """Send on all lanes at once. A last round on each finds what would have come twice."""
    for messages in (count, 1):
        async with trio.open_nursery() as nursery:
            for lane in every:
                nursery.start_soon(lane.run, messages, sent)


@asynccontextmanager
async def proxy_process(target: str, seed: int = 0) -> AsyncGenerator[tuple[Peer, str]]:
    """A proxy before a `tcp://` address, and its own."""
    async with obedient_process("tests.chaos.proxy", target.rsplit(":", 1)[1], str(seed)) as proxy:
        port = (await proxy.news("listening"))["port"]
        yield proxy, f"tcp://127.0.0.1:{port}"


class Chaos:
    """An endpoint here, a mirror in another process, and a proxy in a third between them."""

    def __init__(
        self, alice: rtt.Endpoint, events: Events, bob: Peer, proxy: Peer, direct: str, url: str
    ) -> None:
        self.alice, self.events, self.bob, self.proxy = alice, events, bob, proxy
        self.direct, self.url = direct, url
        self.expect = BOB.fingerprint

    def violations(self) -> list[dict[str, Any]]:
        """Sessions that ended because one end said what it must not. Nobody here does."""
        return [
            fields for fields in self.events.fields("session_close") if fields["reason"] == "protocol_error"
        ]

    @asynccontextmanager
    async def session(self, url: str | Sequence[str] | None = None) -> AsyncGenerator[rtt.RttSession]:
        async with self.alice.dial(url or self.url, expect=BOB.fingerprint) as session:
            yield session


@asynccontextmanager
async def chaos(*, seed: int = 0, here: Any = None, there: Any = None) -> AsyncGenerator[Chaos]:
    events = Events()
    async with peer_process("bob", **{**OPEN, **(there or {})}) as bob:
        direct = (await bob.ask("listen", url=LOOPBACK))["addresses"][0]
        await bob.ask("mirror")
        async with (
            proxy_process(direct, seed) as (proxy, url),
            rtt.open_endpoint(ALICE, options=rtt.Options(**{**HASTY, **(here or {})}), emit=events) as alice,
        ):
            try:
                yield Chaos(alice, events, bob, proxy, direct, url)
            except BaseException:
                with trio.CancelScope(shield=True), trio.move_on_after(2):
                    for name, fields in (await bob.ask("events"))["events"][-40:]:
                        print(f"the mirror: {name} {fields}")
                for name, fields in events.seen[-40:]:
                    print(f"here: {name} {fields}")
                raise

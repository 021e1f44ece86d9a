"""Two endpoints in one process, joined by a real socket, and what they report."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from web4 import rtt
from web4.foundation.identity import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

ALICE = Identity.from_seed(b"alice".ljust(32, b"\0"))
BOB = Identity.from_seed(b"bob".ljust(32, b"\0"))
CAROL = Identity.from_seed(b"carol".ljust(32, b"\0"))

LOOPBACK = "tcp://127.0.0.1:0"
SAFETY = 90.0
"""Seconds after which a test that hangs fails. Nothing is measured by it."""


def anybody(peer: str, address: str) -> bool:
    return True


@dataclass
class Events:
    """An emitter that keeps what it is told, for tests to read and to wait for."""

    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _news: trio.Event = field(default_factory=trio.Event)

    def __call__(self, name: str, /, **fields: Any) -> None:
        self.seen.append((name, fields))
        self._news.set()
        self._news = trio.Event()

    def names(self, *wanted: str) -> list[str]:
        return [name for name, _ in self.seen if not wanted or name in wanted]

    def fields(self, name: str) -> list[dict[str, Any]]:
        return [fields for seen, fields in self.seen if seen == name]

    async def wait(self, name: str, count: int = 1) -> dict[str, Any]:
        """The `count`-th event of a name, once it has come."""
        with trio.fail_after(SAFETY):
            while len(found := self.fields(name)) < count:
                await self._news.wait()
        return found[count - 1]


@dataclass
class Pair:
    """A session seen from both of its ends: `here` dialled it."""

    here: rtt.RttSession
    there: rtt.RttSession
    alice: rtt.Endpoint
    bob: rtt.Endpoint
    alice_events: Events
    bob_events: Events

    async def channel(self, kind: str = "knowledge", **arguments: Any) -> tuple[rtt.Channel, rtt.Channel]:
        """A channel, opened here and accepted there."""
        ours = await self.here.open_channel(kind, **arguments)
        return ours, await self.there.accept_channel()


async def next_session(endpoint: rtt.Endpoint) -> rtt.RttSession:
    async for session in endpoint.sessions():
        return session
    raise AssertionError("sessions() has no end")


@asynccontextmanager
async def paired(
    *,
    url: str = LOOPBACK,
    options: rtt.Options | None = None,
    there: rtt.Options | None = None,
) -> AsyncGenerator[Pair]:
    """Alice dials Bob. Both sessions are aborted at the end, whatever state they are in."""
    alice_events, bob_events = Events(), Events()
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(rtt.open_endpoint(ALICE, options=options, emit=alice_events))
        bob = await stack.enter_async_context(
            rtt.open_endpoint(BOB, options=there or options, emit=bob_events)
        )
        listener = await bob.listen(url, admit=anybody)
        here = await stack.enter_async_context(alice.dial(listener.addresses[0], expect=BOB.fingerprint))
        accepted = await next_session(bob)
        try:
            yield Pair(here, accepted, alice, bob, alice_events, bob_events)
        finally:
            here.abort("the test is over")
            accepted.abort("the test is over")


async def until(condition: Callable[[], bool]) -> None:
    """Let everything run until a condition holds that no event announces; a test that hangs fails."""
    with trio.fail_after(SAFETY):
        while not condition():
            await trio.testing.wait_all_tasks_blocked(0.001)

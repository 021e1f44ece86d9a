"""A peer for tests, run as `python -m tests.rtt.peer SEED OPTIONS`: obeys commands on its standard input, one JSON
object a line, and answers each with one line of the same name."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import trio

from web4 import rtt
from web4.foundation.errors import Web4Error
from web4.foundation.identity import Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def tell(name: str, /, **fields: Any) -> None:
    os.write(1, json.dumps({"news": name, **fields}).encode() + b"\n")


class Happened:
    """An emitter that keeps the latest events."""

    def __init__(self) -> None:
        self.latest: deque[tuple[str, dict[str, Any]]] = deque(maxlen=200)

    def __call__(self, name: str, /, **fields: Any) -> None:
        self.latest.append((name, fields))


class Obedient:
    """One endpoint, one session, one channel, and what it is told to do with them."""

    def __init__(
        self, endpoint: rtt.Endpoint, events: Happened, stack: AsyncExitStack, nursery: trio.Nursery
    ) -> None:
        self.endpoint = endpoint
        self.happened = events
        self.stack = stack
        self.nursery = nursery

    async def listen(self, url: str) -> dict[str, Any]:
        self.asked: list[str] = []

        def admit(peer: str, address: str) -> bool:
            self.asked.append(peer)
            return True

        listener = await self.endpoint.listen(url, admit=admit)
        return {"addresses": listener.addresses}

    async def dial(self, url: str, expect: str) -> dict[str, Any]:
        self.session = await self.stack.enter_async_context(self.endpoint.dial(url, expect=expect))
        return self.described()

    async def accept(self) -> dict[str, Any]:
        async for session in self.endpoint.sessions():
            self.session = session
            break
        return self.described()

    def described(self) -> dict[str, Any]:
        session = self.session
        return {"peer": session.peer, "binding": session.binding.hex(), "id": session.session_id.hex()}

    async def open_channel(self, kind: str, **arguments: Any) -> dict[str, Any]:
        self.channel = await self.session.open_channel(kind, **arguments)
        return {}

    async def accept_channel(self) -> dict[str, Any]:
        self.channel = await self.session.accept_channel()
        return {"kind": self.channel.kind, "name": self.channel.name}

    async def send(self, messages: list[str]) -> dict[str, Any]:
        return {"outcomes": await self.channel.send_many([bytes.fromhex(text) for text in messages])}

    async def receive(self, count: int) -> dict[str, Any]:
        messages: list[bytes] = []
        while len(messages) < count:
            messages += await self.channel.receive_many(max=count - len(messages))
        return {"messages": [message.hex() for message in messages]}

    async def failures(self) -> dict[str, Any]:
        failures = [[*key, count] for key, count in self.endpoint.failures.items()]
        return {"failures": failures, "asked": self.asked}

    async def mirror(self) -> dict[str, Any]:
        """From now on, take every session and channel that comes, and send back what comes on it."""
        self.nursery.start_soon(mirror_sessions, self.endpoint)
        return {}

    async def look(self) -> dict[str, Any]:
        """How many sessions there are, and what all tasks are."""
        tasks = trio.lowlevel.current_statistics().tasks_living
        return {"sessions": self.endpoint.session_count, "tasks": tasks, "hits": dict(self.endpoint.hits)}

    async def events(self) -> dict[str, Any]:
        """The latest events of the endpoint."""
        return {"events": list(self.happened.latest)}

    async def close(self) -> dict[str, Any]:
        await self.session.aclose()
        return {}


async def mirror_sessions(endpoint: rtt.Endpoint) -> None:
    async with trio.open_nursery() as nursery:
        async for session in endpoint.sessions():
            nursery.start_soon(mirror, session)


async def mirror(session: rtt.RttSession) -> None:
    """Send back what comes on every channel of a session, until the session is over."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mirror_channel, session.control)
            async for channel in channels(session):
                nursery.start_soon(mirror_channel, channel)
        await session.aclose()
    except* rtt.RttError:
        session.abort("it is over")


async def channels(session: rtt.RttSession) -> AsyncIterator[rtt.Channel]:
    try:
        while True:
            yield await session.accept_channel(policy="block")
    except trio.EndOfChannel:
        return


async def mirror_channel(channel: rtt.Channel) -> None:
    async for data in channel:
        await channel.send(data)


async def main() -> None:
    seed, options = sys.argv[1], json.loads(sys.argv[2])
    identity = Identity.from_seed(seed.encode().ljust(32, b"\0"))
    events = Happened()
    async with (
        rtt.open_endpoint(identity, options=rtt.Options(**options), emit=events) as endpoint,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        obedient = Obedient(endpoint, events, stack, nursery)
        lines = trio.lowlevel.FdStream(os.dup(0))
        pending = b""
        async for data in lines:
            *whole, pending = (pending + data).split(b"\n")
            for line in whole:
                arguments = json.loads(line)
                command = arguments.pop("command")
                try:
                    tell(command, **await getattr(obedient, command)(**arguments))
                except Web4Error as error:
                    tell(command, error=type(error).__name__, code=error.code)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)

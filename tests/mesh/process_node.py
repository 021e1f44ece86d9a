"""A node of a mesh in a process of its own: `python -m tests.mesh.process_node SETTINGS`, JSON of `Settings`.

It prints one JSON object per line, events among them, and does what lines on its standard input ask for.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from tests.mesh.meshes import MESHED, gladly, identity_of
from web4 import rtt
from web4.mesh.runtime import MeshRuntime
from web4.protocols.cip import CipOptions, CipRuntime
from web4.protocols.cip.session import CipSession
from web4.trust import Anchored

if TYPE_CHECKING:
    from web4.protocols.cip.validation import Incoming
    from web4.protocols.messages.vocabulary import ChannelKind

SHOWN = {
    "route_changed",
    "mesh_dropped",
    "topology_changed",
    "session_suspend",
    "session_resume",
    "error",
    "session_lost",
}


@dataclass
class Settings:
    """What a node of these tests is told.

    `dial` and `trust` name other nodes; `records` is a file for all that the node receives in its sessions.
    """

    name: str
    directory: str
    dial: list[str]
    trust: list[str]
    records: str | None = None


def say(kind: str, /, **fields: Any) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)


def emit(kind: str, /, **fields: Any) -> None:
    if kind in SHOWN:
        say(kind, **{name: value for name, value in fields.items() if name != "kind"})


def record_everything(path: str) -> None:
    """Write down every message that any session of this node gets, before it looks at it."""
    receive, together = CipSession.receive, CipSession.receive_together
    file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - as long as the process

    def one(session: CipSession, data: bytes, channel: ChannelKind) -> Any:
        file.write(data + b"\n")
        return receive(session, data, channel)

    def several(session: CipSession, messages: list[bytes], channel: ChannelKind) -> Any:
        file.write(b"".join(data + b"\n" for data in messages))
        return together(session, messages, channel)

    # Their types are others on purpose.
    setattr(CipSession, "receive", one)  # noqa: B010
    setattr(CipSession, "receive_together", several)  # noqa: B010


class Seeing(MeshRuntime):
    """Says over whom a relayed part has come, once for each way."""

    seen: ClassVar[set[tuple[str, ...]]] = set()

    async def receive(self, peer: str, incoming: Incoming, channel: ChannelKind) -> None:
        message: Any = incoming.message
        if message.type == "MESH_RELAY" and message.destination == self.own and message.hops not in self.seen:
            self.seen.add(message.hops)
            say("relayed_over", hops=message.hops, origin=message.origin)
        await super().receive(peer, incoming, channel)


class ProcessNode:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.identity = identity_of(settings.name)

    def url(self, name: str) -> str:
        return f"unix://{self.settings.directory}/{name}.sock"

    async def run(self) -> None:
        options = CipOptions(agent_id=self.settings.name, offer=MESHED)
        registry = rtt.default_registry()
        async with (
            trio.open_nursery() as nursery,
            rtt.open_endpoint(self.identity, transports=registry, emit=emit) as self.endpoint,
            CipRuntime(self.identity, options=options, emit=emit, accept_intent=gladly) as self.cip,
        ):
            for name in self.settings.trust:
                now = Anchored(at_ms=1)
                await self.cip.trust_command(identity_of(name).fingerprint, now)
            self.mesh = Seeing(
                self.identity, cip=self.cip, endpoint=self.endpoint, transports=registry, emit=emit
            )
            await nursery.start(self.mesh.run)
            await self.endpoint.listen(self.url(self.settings.name), admit=self.cip.admit)
            nursery.start_soon(self.accept, nursery)
            nursery.start_soon(self.read)
            say("listening", fingerprint=self.identity.fingerprint)
            for name in self.settings.dial:
                nursery.start_soon(self.keep, name)
            await self.obey(nursery)
            nursery.cancel_scope.cancel()

    async def accept(self, nursery: trio.Nursery) -> None:
        async for session in self.endpoint.sessions():
            nursery.start_soon(self.cip.serve, session)

    async def keep(self, name: str) -> None:
        fingerprint = identity_of(name).fingerprint
        while True:
            with suppress(rtt.RttError):
                async with self.endpoint.dial(self.url(name), expect=fingerprint) as session:
                    await self.cip.serve(session)
            await trio.sleep(0.1)

    async def read(self) -> None:
        async for delivery in self.cip.inbox:
            if delivery.message.type == "INTENT":
                say("heard", topic=delivery.message.payload.topic)

    async def obey(self, nursery: trio.Nursery) -> None:
        pending = b""
        stdin = trio.lowlevel.FdStream(0)
        async for data in stdin:
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                nursery.start_soon(self.do, order)

    async def do(self, order: dict[str, Any]) -> None:
        peer = identity_of(order["peer"]).fingerprint
        match order["do"]:
            case "reach":
                self.mesh.reach(peer)
                await self.cip.connected(peer)
                say("reached", peer=order["peer"])
            case "send":
                await self.cip.connected(peer)
                for number in range(order["count"]):
                    topic = order["text"].format(number)
                    await self.cip.send_intent(peer, goal="ask", topic=topic)
                    await trio.sleep(order.get("every", 0))
                say("sent", count=order["count"])
            case "route":
                while self.mesh.route(peer) is None:  # noqa: ASYNC110 - the state of several tasks
                    await trio.sleep(0.02)
                route = self.mesh.route(peer)
                assert route is not None
                say("route", path=route.path, cost=route.cost)


if __name__ == "__main__":
    given = Settings(**json.loads(sys.argv[1]))
    if given.records is not None:
        record_everything(given.records)
    trio.run(ProcessNode(given).run)

"""One node with a human, in a process that can be killed: `python -m tests.e2e.hcp_node NAME PEER DIRECTORY [dial]`.

It reads one command per line, as JSON, and prints one JSON object per line: its events, and an answer to each command.
It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from web4 import rtt
from web4.actors import open_lane_actors
from web4.foundation.errors import Web4Error
from web4.foundation.identity import Identity
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.protocols.cip import PEER_EVENTS, CipOptions, CipRuntime
from web4.protocols.cip.agreement import Offer
from web4.protocols.hcp import Answer, Contact, Grant, HcpRuntime, Regrant, Revoke, SetState
from web4.protocols.hcp.lane.events import HUMAN_EVENTS
from web4.protocols.router import ProtocolRouter

if TYPE_CHECKING:
    from web4.protocols.cip import Delivery

OPTIONS: dict[str, Any] = {"offer": Offer(protocols=("cip/1.0", "hcp/1.0"))}
HUMANS = {"ada": "grace", "bob": "hal"}


def say(kind: str, /, **fields: Any) -> None:
    line = json.dumps({"kind": kind, "ns": time.monotonic_ns(), **fields}, default=str)
    os.write(1, line.encode() + b"\n")


def identity_of(name: str) -> Identity:
    return Identity.from_seed(name.encode().ljust(32, b"."))


class HumanNode:
    """What the commands are about."""

    def __init__(self, name: str, peer: str, cip: CipRuntime, hcp: HcpRuntime, nursery: trio.Nursery) -> None:
        self.cip = cip
        self.hcp = hcp
        self.nursery = nursery
        self.human = HUMANS[name]
        self.peer = identity_of(peer).fingerprint
        self.contact = Contact(self.peer, HUMANS[peer])

    async def work(self) -> None:
        async with self.hcp.running(self.human, self.contact) as scope:
            say("working")
            await trio.sleep_forever()
        say("stopped", cancelled=scope.cancelled_caught)

    async def on_intent(self, delivery: Delivery) -> None:
        say("intent", msg_id=delivery.message.msg_id)

    async def do(self, command: dict[str, Any]) -> Any:
        hcp, human, contact = self.hcp, self.human, self.contact
        match command.pop("do"):
            case "act":
                kind, fields = command["act"], command.get("fields", {})
                acts: dict[str, Any] = {"grant": Grant, "revoke": Revoke, "state": SetState, "answer": Answer}
                act = Regrant(contact) if kind == "regrant" else acts[kind](**fields)
                await hcp.act(human, act, door="test")
            case "hello":
                return (await hcp.say_hello(human, contact)).status
            case "intent":
                passage = await hcp.send_intent(human, contact, goal="align", topic="garden")
                return [passage.status, passage.msg_id]
            case "work":
                self.nursery.start_soon(self.work)
            case "people":
                people = [one for one in await hcp.people() if one.contact == contact]
                return [[one.consent, one.social.get(human)] for one in people]
            case "pending":
                return [[one.check_in_id, one.action.msg_id] for one in await hcp.pending(human)]
            case "outbox":
                return [one.type for one in await self.cip.outbox(self.peer)]
        return None


async def main(name: str, peer: str, directory: Path, dial: bool) -> None:
    identity, other = identity_of(name), identity_of(peer).fingerprint
    registry = EventRegistry((*PEER_EVENTS, *HUMAN_EVENTS))
    async with (
        open_sqlite(directory / f"{name}-journal") as backend,
        open_journal(backend, registry=registry, identity=identity) as journal,
        rtt.open_endpoint(identity) as endpoint,
        CipRuntime(identity, options=CipOptions(agent_id=name, **OPTIONS), journal=journal) as cip,
        trio.open_nursery() as nursery,
    ):
        await cip.anchor([other])
        hcp = HcpRuntime(journal, agent_id=name, send=cip.send, purge=cip.purge, trust=cip.trust, emit=say)
        async with open_lane_actors(journal, {"human": hcp.definition}) as actors:
            hcp.bind(actors)
            await nursery.start(hcp.run)
            await hcp.add_human(HUMANS[name], name=HUMANS[name].title(), role="tester")
            node = HumanNode(name, peer, cip, hcp, nursery)
            router = ProtocolRouter(cip)
            hcp.register(router)
            router.register("hcp", "HCP_INTENT", node.on_intent)
            nursery.start_soon(router.run)
            if dial:
                nursery.start_soon(keep_dialling, endpoint, cip, f"unix://{directory}/{peer}.sock", other)
            else:
                (directory / f"{name}.sock").unlink(missing_ok=True)
                await endpoint.listen(f"unix://{directory}/{name}.sock", admit=cip.admit)
                nursery.start_soon(serve_all, endpoint, cip, nursery)
            say("ready")
            await obey(node)
        nursery.cancel_scope.cancel()


async def serve_all(endpoint: Any, cip: CipRuntime, nursery: trio.Nursery) -> None:
    async for session in endpoint.sessions():
        nursery.start_soon(cip.serve, session)


async def keep_dialling(endpoint: Any, cip: CipRuntime, url: str, peer: str) -> None:
    while True:
        try:
            async with endpoint.dial(url, expect=peer) as session:
                await cip.serve(session)
        except (rtt.RttError, OSError):
            pass
        await trio.sleep(0.1)


async def obey(node: HumanNode) -> None:
    buffer = bytearray()
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as commands:
        async for data in commands:
            buffer += data
            while (end := buffer.find(b"\n")) >= 0:
                line, buffer = bytes(buffer[:end]), buffer[end + 1 :]
                try:
                    say("did", value=await node.do(json.loads(line)))
                except Web4Error as error:
                    say("did", error=error.code)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:] == ["dial"])

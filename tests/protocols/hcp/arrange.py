"""Two nodes with humans, and a wire between them that delivers, loses nothing, and can be held."""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import trio
import trio.testing

from web4.actors import open_lane_actors
from web4.foundation.clock import format_timestamp
from web4.foundation.digest import blake3_hex
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.event_types import EventRegistry
from web4.journal.lane import Lane
from web4.journal.opening import open_journal
from web4.protocols.cip.actions import Delivery
from web4.protocols.gates import GATES
from web4.protocols.hcp import Contact, Grant, HcpRuntime
from web4.protocols.hcp.lane.events import HUMAN_EVENTS
from web4.protocols.messages.cip import Reply
from web4.protocols.messages.hcp import HumanParties
from web4.protocols.messages.vocabulary import TYPES, type_of
from web4.testing.clocks import TrioClock
from web4.trust import TrustRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.journal.journal import Journal
    from web4.protocols.router.results import Handler, HandlerResult
    from web4.trust import TrustState

ADA, BOB = blake3_hex(b"ada"), blake3_hex(b"bob")
EVE = blake3_hex(b"eve")
GRACE, HAL = Contact(ADA, "grace"), Contact(BOB, "hal")
"""The two humans, as the other node sees them."""
MAL = Contact(EVE, "mal")
"""A third, of a node that wishes them ill."""
_SIGN = {"algo": "ed25519", "signature": "A" * 86 + "=="}


class Said:
    """An emitter that remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, type: str, /, **fields: Any) -> None:  # noqa: A002 - the name of the field it fills
        self.events.append((type, fields))

    def of(self, type: str) -> list[dict[str, Any]]:  # noqa: A002 - the name of the field it fills
        return [fields for one, fields in self.events if one == type]


class Trust:
    """A `TrustView` that a test sets."""

    def __init__(self) -> None:
        self.of: defaultdict[str, TrustState] = defaultdict(lambda: "trusted")

    def state(self, peer: str) -> TrustState:
        return self.of[peer]

    def record(self, peer: str) -> TrustRecord:
        return TrustRecord(state=self.of[peer])

    def observe(self, observer: Any) -> Any:
        return lambda: None


class Node:
    """A node around an `HcpRuntime`: an outbox, the handlers of a router, and an agent that takes what it is given."""

    def __init__(self, fingerprint: str, journal: Journal, wire: Wire) -> None:
        self.fingerprint = fingerprint
        self.journal = journal
        self.said = Said()
        self.trust = Trust()
        self.wire = wire
        self.outbox: list[Delivery] = []
        self.purged: list[str] = []
        self.sent: dict[str, None] = {}
        self.agent: list[Delivery] = []
        self.heard: list[Delivery] = []
        self.results: dict[str, HandlerResult | None] = {}
        self.handlers: defaultdict[str, list[Handler]] = defaultdict(list)
        self.hcp = HcpRuntime(
            journal,
            agent_id="agent",
            send=self.send,
            purge=self.purge,
            trust=self.trust,
            hand_on=self.work,
            emit=self.said,
            ids=SeededIds(fingerprint),
        )
        self.declined: list[tuple[str, str, str, str]] = []
        self.hcp.register(self)
        for name in ("HCP_INTENT", "HCP_CONTEXT"):
            self.register("hcp", name, self.work)

    def register(
        self, protocol: str, type_name: str, handler: Handler, /, *, idempotent: bool = False
    ) -> None:
        assert TYPES[type_name].protocol == protocol
        self.handlers[type_name].append(handler)

    async def work(self, delivery: Delivery) -> None:
        self.agent.append(delivery)

    async def send(
        self, peer: str, payload: Any, *, corr_id: Any = None, about: Any = None, msg_id: str | None = None
    ) -> str:
        assert msg_id is not None
        await trio.lowlevel.checkpoint()
        if isinstance(payload, Reply):  # of CIP: it is for the peer's agent
            self.declined.append((peer, payload.in_reply_to, payload.status, payload.reason))
            return msg_id
        assert isinstance(about, HumanParties)
        if msg_id in self.sent:  # OUT-3: the same id is the same message
            return msg_id
        self.sent[msg_id] = None
        kind, now = type_of(payload), self.journal.clock.wall_ms()
        document = {
            "hcp": "1.0",
            "msg_id": msg_id,
            "timestamp": format_timestamp(now),
            "type": kind.name,
            "sender": {"agent_id": "a", "fingerprint": self.fingerprint, "human_id": about.sender},
            "receiver": {"agent_id": "b", "fingerprint": peer, "human_id": about.receiver},
            "state": {"human": msgspec.to_builtins(about.state)},
            "payload": msgspec.to_builtins(payload),
            "sign": _SIGN,
            **({} if corr_id is None else {"corr_id": corr_id}),
        }
        message: Any = msgspec.convert(document, kind.envelope)
        self.outbox.append(Delivery(peer, "trusted", "yes", message, "0" * 64, 500, now))
        self.wire.kick()
        return msg_id

    async def purge(self, peer: str, where: Any, reason: str, /) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        gone = [one for one in self.outbox if one.peer == peer and where(Queued.of(one))]
        self.outbox = [one for one in self.outbox if one not in gone]
        self.purged += [one.type for one in gone]
        assert reason == "consent_revoked"
        return tuple(one.message.msg_id for one in gone)

    async def receive(self, sender: str, delivery: Delivery) -> None:
        """Gate by trust (TRUST-6), then handlers in order, as the router has it."""
        trust = self.trust.state(sender)
        admission = GATES[delivery.type][trust]
        if admission in {"no", "drop"}:
            return
        here = Delivery(
            sender,
            trust,
            admission,
            delivery.message,
            delivery.digest,
            delivery.size,
            self.journal.clock.wall_ms(),
        )
        self.heard.append(here)
        for handler in self.handlers[delivery.type]:
            result = await handler(here)
            self.results[delivery.message.msg_id] = result
            if result is not None and result.status != "handled":
                return

    async def records(self, lane_id: str) -> list[str]:
        """The types of what stands on a lane."""
        return [one.type for one in await self.journal.read(Lane("human", lane_id), limit=1_000)]


class Queued(NamedTuple):
    """What an outbox tells of what waits in it."""

    msg_id: str
    type: str
    humans: tuple[str, ...]

    @classmethod
    def of(cls, delivery: Delivery) -> Queued:
        message: Any = delivery.message
        return cls(message.msg_id, message.type, (message.sender.human_id, message.receiver.human_id))


class Wire:
    """Delivers what is in outboxes, each node's in order, unless it is held."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.held = False
        self._kicked = trio.Event()

    def kick(self) -> None:
        self._kicked.set()

    async def run(self) -> None:
        while True:
            self._kicked = trio.Event()
            for node in tuple(self.nodes.values()):
                while node.outbox and not self.held:
                    delivery = node.outbox.pop(0)
                    await self.nodes[delivery.peer].receive(node.fingerprint, delivery)
            await self._kicked.wait()

    async def settle(self) -> None:
        """Wait until nothing is on its way."""
        for _ in range(5):
            self.kick()
            await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def node(
    fingerprint: str, wire: Wire, store: MemoryStore | None = None, *, faults: Any = None
) -> AsyncIterator[Node]:
    """One node on a journal in memory."""
    async with open_memory(store, faults=faults) as backend:
        registry = EventRegistry(HUMAN_EVENTS)
        async with open_journal(backend, registry=registry, clock=TrioClock()) as journal:
            one = wire.nodes[fingerprint] = Node(fingerprint, journal, wire)
            async with open_lane_actors(journal, {"human": one.hcp.definition}) as actors:
                one.hcp.bind(actors)
                async with trio.open_nursery() as nursery:
                    await nursery.start(one.hcp.run)
                    yield one
                    nursery.cancel_scope.cancel()


@asynccontextmanager
async def two(
    store: MemoryStore | None = None, *, faults: Any = None
) -> AsyncIterator[tuple[Node, Node, Wire]]:
    """Ada's node with Grace, Bob's with Hal, strangers to each other. `store` is Bob's, `faults` are of Ada's disk."""
    wire = Wire()
    async with (
        node(ADA, wire, faults=faults) as ada,
        node(BOB, wire, store) as bob,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(wire.run)
        await ada.hcp.add_human("grace", name="Grace", role="gardener")
        await bob.hcp.add_human("hal", name="Hal", role="neighbour")
        yield ada, bob, wire
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def three(store: MemoryStore | None = None) -> AsyncIterator[tuple[Node, Node, Node, Wire]]:
    """Ada's node, Eve's with Mal, and Bob's, with whom both are acquainted. `store` is Bob's."""
    async with two(store) as (ada, bob, wire), node(EVE, wire) as eve:
        await eve.hcp.add_human("mal", name="Mal", role="stranger")
        await befriend(ada, bob, wire, trusted=True)
        await befriend(eve, bob, wire, trusted=True, who=MAL)
        yield ada, eve, bob, wire


async def befriend(ada: Node, bob: Node, wire: Wire, *, trusted: bool = False, who: Contact = GRACE) -> None:
    """Let Grace and Hal consent and say hello; with `trusted`, validate each other, too."""
    await ada.hcp.act(who.human_id, Grant(), door="test")
    await bob.hcp.act("hal", Grant(), door="test")
    await ada.hcp.say_hello(who.human_id, HAL)
    await bob.hcp.say_hello("hal", who)
    await wire.settle()
    if trusted:
        intent = await ada.hcp.send_intent(who.human_id, HAL, goal="align", topic="start")
        await wire.settle()
        for one, human, contact in ((ada, who.human_id, HAL), (bob, "hal", who)):
            await one.hcp.send_feedback(
                human, contact, intent_ref=intent.msg_id, feedback="good", satisfaction=90, door="test"
            )
        await wire.settle()


async def social(one: Node, human: str, contact: Contact) -> str:
    """How far two humans have come, as one node sees it."""
    people = {person.contact: person for person in await one.hcp.people()}
    return people[contact].social[human]

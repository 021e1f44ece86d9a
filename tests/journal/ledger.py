"""A lane with a real logic, for the tests of what is kept of it: orders that are placed, charged and done.

Its state has everything that compaction must not lose (JRN-17b): outcomes, keys, a version, what is open.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec
from hypothesis import strategies as st

from web4.foundation.digest import canonical
from web4.foundation.identity import Identity
from web4.foundation.ids import SeededIds
from web4.foundation.logic import Decision
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.draft import NewEvent
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.hashed import Hashed
from web4.journal.lane import Lane
from web4.journal.opening import open_journal
from web4.journal.record import Snapshot
from web4.journal.redaction import Redactor
from web4.testing.clocks import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from web4.journal.journal import Journal
    from web4.journal.limits import JournalLimits

LANE = Lane("session", "orders")
NODE = Identity.from_seed(bytes(range(32)))


class Placed(msgspec.Struct, frozen=True):
    order: str
    item: str
    key: str | Hashed


class Started(msgspec.Struct, frozen=True):
    order: str


class Charging(msgspec.Struct, frozen=True):
    effect: str
    order: str
    amount: int
    safe: bool


class Charged(msgspec.Struct, frozen=True):
    effect: str
    outcome: Literal["ok", "error"]


class Done(msgspec.Struct, frozen=True):
    order: str
    success: bool
    total: int
    body: str | None


class Noted(msgspec.Struct, frozen=True):
    text: str


def types() -> tuple[EventType, ...]:
    """The lane's events."""
    return (
        EventType(
            name="order.placed",
            struct=Placed,
            classes={"order": "structural", "item": "retainable", "key": "hashed"},
            phase="begin",
            subject="order",
            refs={"session": "order"},
        ),
        EventType(
            name="order.started",
            struct=Started,
            classes={"order": "structural"},
            phase="start",
            subject="order",
        ),
        EventType(
            name="charge.requested",
            struct=Charging,
            classes=dict.fromkeys(("effect", "order", "amount", "safe"), "structural"),
            phase="request",
            subject="effect",
            command="order",
            idempotent="safe",
        ),
        EventType(
            name="charge.concluded",
            struct=Charged,
            classes={"effect": "structural", "outcome": "structural"},
            phase="conclusion",
            subject="effect",
        ),
        EventType(
            name="order.done",
            struct=Done,
            classes={
                "order": "structural",
                "success": "structural",
                "total": "structural",
                "body": "retainable",
            },
            phase="end",
            subject="order",
        ),
        EventType(name="noted", struct=Noted, classes={"text": "retainable"}),
    )


class Order(msgspec.Struct, frozen=True):
    item: str
    started: bool = False
    total: int = 0


class Ledger(msgspec.Struct, frozen=True):
    """The state of the lane."""

    version: int = 0
    epoch: int = 0
    orders: dict[str, Order] = {}
    charges: dict[str, tuple[str, int]] = {}
    outcomes: dict[str, tuple[bool, int]] = {}
    keys: dict[str, str] = {}
    notes: tuple[str, ...] = ()


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks of the lane. Ids come with it."""

    op: Literal["place", "start", "charge", "conclude", "finish", "note"]
    at: int
    id: str
    effect: str = ""
    amount: int = 0
    text: str = ""
    outcome: Literal["ok", "error"] = "ok"
    version: int | None = None
    key: Hashed | None = None


class LedgerLogic:
    """Orders: idempotent by key, and refused when they were decided upon another version."""

    initial = Ledger()

    def decide(self, state: Ledger, command: Command) -> Decision[Any, str]:
        if command.key is not None and command.key.hash in state.keys:
            order = state.keys[command.key.hash]
            return Decision((), f"again {order} {state.outcomes.get(order)}")
        if command.version is not None and command.version != state.version:
            return Decision((), f"stale {state.version}")
        return Decision(tuple(self._events(state, command)), f"version {state.version}")

    def _events(self, state: Ledger, command: Command) -> list[Any]:
        known = state.orders.get(command.id)
        if command.op == "note":
            return [Noted(command.text)]
        if command.op == "place" and known is None and command.id not in state.outcomes:
            return [Placed(command.id, command.text, command.key or Hashed("", 0))]
        if command.op == "start" and known is not None and not known.started:
            return [Started(command.id)]
        if command.op == "charge" and known is not None and command.effect not in state.charges:
            return [Charging(command.effect, command.id, command.amount, command.amount % 2 == 0)]
        if command.op == "conclude" and command.effect in state.charges:
            return [Charged(command.effect, command.outcome)]
        if command.op == "finish" and known is not None:
            open_charges = [effect for effect, (order, _) in state.charges.items() if order == command.id]
            closing: list[Any] = [Charged(effect, "error") for effect in sorted(open_charges)]
            return [*closing, Done(command.id, command.outcome == "ok", known.total, command.text)]
        return []

    def apply(self, state: Ledger, event: Any) -> Ledger:
        replace = msgspec.structs.replace
        state = replace(state, version=state.version + 1)
        match event:
            case Noted(text):
                return replace(state, notes=(*state.notes, text)[-5:], epoch=state.epoch + 1)
            case Placed(order, item, key):
                assert isinstance(key, Hashed)
                keys = {**state.keys, key.hash: order} if key.hash else state.keys
                return replace(state, orders={**state.orders, order: Order(item)}, keys=keys)
            case Started(order):
                known = replace(state.orders[order], started=True)
                return replace(state, orders={**state.orders, order: known})
            case Charging(effect, order, amount, _):
                return replace(state, charges={**state.charges, effect: (order, amount)})
            case Charged(effect, outcome):
                charges = dict(state.charges)
                order, amount = charges.pop(effect)
                known = state.orders[order]
                known = replace(known, total=known.total + (amount if outcome == "ok" else 0))
                return replace(state, charges=charges, orders={**state.orders, order: known})
            case Done(order, success, total, _):
                orders = {name: one for name, one in state.orders.items() if name != order}
                return replace(state, orders=orders, outcomes={**state.outcomes, order: (success, total)})
        raise TypeError(type(event).__name__)


class LedgerDefinition:
    """What replay has to know of the lane."""

    logic = LedgerLogic()
    version = 1
    upcasters: ClassVar[Mapping[int, Any]] = {}
    event_names = frozenset(one.name for one in types())

    def encode(self, state: Ledger) -> bytes:
        return canonical(state)

    def decode(self, data: bytes) -> Ledger:
        return msgspec.json.decode(data, type=Ledger)


DEFINITION = LedgerDefinition()
DEFINITIONS: Mapping[Any, Any] = {"session": DEFINITION}


@asynccontextmanager
async def opened(
    store: MemoryStore | None = None,
    *,
    redactor: Redactor | None = None,
    identity: Identity | None = NODE,
    limits: JournalLimits | None = None,
    clock: ManualClock | None = None,
    **options: Any,
) -> AsyncIterator[Journal]:
    """A journal in memory whose registry knows the lane's events."""
    store = store or MemoryStore(ids=SeededIds(7))
    async with (
        open_memory(store) as backend,
        open_journal(
            backend,
            registry=EventRegistry(types()),
            identity=identity,
            redactor=redactor or Redactor(backend.hash_key),
            clock=clock or ManualClock(),
            ids=SeededIds(8),
            limits=limits,
            **options,
        ) as journal,
    ):
        yield journal


class Writer:
    """The one writer of a lane: decide, append, apply, as a lane's actor does it."""

    def __init__(
        self, journal: Journal, lane: Lane = LANE, state: Ledger | None = None, seq: int = 0
    ) -> None:
        self.journal = journal
        self.lane = lane
        self.state = state or Ledger()
        self.seq = seq

    async def handle(self, command: Command) -> str:
        """Decide one command; its reply, once its events are durable."""
        decision = DEFINITION.logic.decide(self.state, command)
        prepared = [self.journal.prepare(NewEvent(event, command.at)) for event in decision.events]
        if prepared:
            appended = await self.journal.append(self.lane, prepared, expected_seq=self.seq)
            self.seq = appended.last_seq
            for one in prepared:
                self.state = DEFINITION.logic.apply(self.state, one.event)
        return decision.reply

    async def snapshot(self) -> Snapshot:
        """Store the state as it is."""
        head = await self.journal.head(self.lane)
        snapshot = Snapshot.of(
            self.lane, head.seq, head.hash, DEFINITION.encode(self.state), DEFINITION.version
        )
        await self.journal.put_snapshot(snapshot)
        return snapshot

    async def notes(self, count: int, *, start: int = 0, at: int = 1_000, size: int = 10) -> None:
        """Append `count` facts in batches, a millisecond apart."""
        for begin in range(start, start + count, 200):
            texts = [f"note {n} ".ljust(size, ".") for n in range(begin, min(begin + 200, start + count))]
            events = [
                self.journal.prepare(NewEvent(Noted(text), at + begin + n)) for n, text in enumerate(texts)
            ]
            self.seq = (await self.journal.append(self.lane, events, expected_seq=self.seq)).last_seq
            for one in events:
                self.state = DEFINITION.logic.apply(self.state, one.event)


def commands(most: int = 40) -> st.SearchStrategy[list[Command]]:
    """Commands in any order over a few orders, effects and keys: many are refused, some come again."""
    ids, effects = st.sampled_from("abc"), st.sampled_from(["e1", "e2"])
    ops = ["note", "note", "place", "start", "charge", "conclude", "finish", "finish"]
    one = st.builds(
        Command,
        op=st.sampled_from(ops),
        at=st.integers(0, 10_000),
        id=ids,
        effect=effects,
        amount=st.integers(0, 9),
        text=st.text(max_size=3),
        outcome=st.sampled_from(["ok", "error"]),
        version=st.sampled_from([None, None, None, 0, 1, 2, 3, 5, 8]),
        key=st.sampled_from([None, None, *(Hashed.of(bytes(32), text) for text in "abcd")]),
    )
    return st.lists(one, min_size=most // 4, max_size=most)


def sequence(*ops: str, text: str = "t") -> Sequence[Command]:
    """Commands from words such as `place a`, `charge a e1`, `conclude e1`, in the order given."""
    made = []
    for at, op in enumerate(ops, start=1_000):
        name, *rest = op.split()
        subject = rest[0] if rest else ""
        effect = rest[-1] if name in {"charge", "conclude"} else ""
        made.append(Command(op=name, at=at, id=subject, effect=effect, amount=2, text=text))  # type: ignore[arg-type]
    return made

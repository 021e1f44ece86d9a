"""Sends that are asked for at once: one command, one record, and the same as one after the other (OUT-1, OUT-6)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import outcome
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocols.cip.examples import ADA, BOB, FACT, TRACE
from tests.protocols.cip.nodes import nodes, until
from tests.protocols.cip.test_outbox_logic import Lane, enqueued, uid
from web4.actors.errors import MailboxFullError
from web4.foundation.codec import ENCODER
from web4.foundation.digest import canonical
from web4.foundation.errors import InvalidEnvelopeError
from web4.foundation.logic import replay
from web4.journal.backends.memory import MemoryStore, ScriptedFaults
from web4.journal.backends.memory.faults import KINDS, FaultKind
from web4.journal.errors import JournalUnavailable, RedactionError
from web4.journal.redaction import Redactor
from web4.protocols.cip.lane import LOGIC_VERSION, decode_state, encode_state, of_version_2
from web4.protocols.cip.outbox.bodies import enqueue
from web4.protocols.cip.outbox.commands import Conclude, EnqueueTogether
from web4.protocols.cip.outbox.entries import (
    TOGETHER_BYTES,
    Conclusion,
    Conclusions,
    EnvelopeQueued,
    EnvelopesQueued,
    OutboxLimits,
    OutboxState,
)
from web4.protocols.cip.outbox.logic import OutboxLogic
from web4.protocols.cip.outbox.together import Together
from web4.protocols.cip.peer_logic import PeerLogic
from web4.protocols.cip.peer_state import PeerOutcome, PeerState
from web4.protocols.cip.sealing import composed
from web4.protocols.errors import OutboxFull
from web4.protocols.messages import cip as m
from web4.protocols.messages.fields import Party
from web4.trust import OperatorBlock, TrustViolationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trio.testing import MockClock

    from web4.journal.event_types import EventType
    from web4.protocols.cip.outbox.commands import Enqueue

# --- the logic ----------------------------------------------------------------------------------------------

PLAIN = st.fixed_dictionaries(
    {"number": st.integers(0, 9), "size": st.integers(1, 400), "low": st.booleans()},
    optional={
        "body": st.just(None),
        "corr_id": st.just(uid(77)),
        "type": st.just("INTENT"),
        "humans": st.just(("ada", "bob")),
    },
)


def asked(told: dict[str, Any], at_ms: int) -> Enqueue:
    more = {**told, "at_ms": at_ms}
    if "body" in more:
        more["blob"] = "b3:" + "0" * 64
    return enqueued(more.pop("number"), **more)


@given(batches=st.lists(st.lists(PLAIN, min_size=1, max_size=12), max_size=4), ended=st.integers(0, 9))
@settings(deadline=None)
def test_a_batch_is_as_its_commands_one_by_one(batches: list[list[dict[str, Any]]], ended: int) -> None:
    """OUT-1, OUT-6: the same outcomes, the same end state, also of a bound that is reached in the middle."""
    together, singly = Lane(), Lane()
    for lane in (together, singly):
        lane.tell(enqueued(ended))
        lane.tell(Conclude(at_ms=1, msg_ids=(uid(ended),), outcome="delivered"))
    for number, batch in enumerate(batches):
        at_ms = 10 + number
        commands = tuple(asked(told, at_ms) for told in batch)
        outcomes = together.tell(EnqueueTogether(at_ms=at_ms, commands=commands)).queueings
        assert outcomes == tuple(singly.tell(one).queueing for one in commands)
        assert together.state == singly.state
        assert encode_state(together.state) == encode_state(singly.state)


def test_one_event_names_many_and_not_too_much() -> None:
    """JRN-2: 64 envelopes are one record; a blob stands alone, and so does what would make a record too long."""
    logic = OutboxLogic()

    def events(*commands: Enqueue) -> list[Any]:
        told = EnqueueTogether(at_ms=5, commands=commands)
        found, outcomes = logic.enqueue_together(OutboxState(last=7), told)
        assert outcomes == ("queued",) * len(commands)
        return list(found)

    (one,) = events(*[enqueued(number) for number in range(64)])
    assert isinstance(one, EnvelopesQueued)
    assert (one.number, one.at_ms, len(one.envelopes), len(one.bodies)) == (8, 5, 64, 64)
    (one,) = events(enqueued(1, at_ms=3))
    assert isinstance(one, EnvelopeQueued)
    assert (one.number, one.at_ms) == (8, 5)
    long: dict[str, Any] = {"size": TOGETHER_BYTES // 2}
    blob: dict[str, Any] = {"body": None, "blob": "b3:" + "0" * 64}
    found = events(
        enqueued(1), enqueued(2), enqueued(3, **blob), enqueued(4, **long), enqueued(5, **long), enqueued(6)
    )
    numbers = [(one.number, len(one.bodies) if isinstance(one, EnvelopesQueued) else 0) for one in found]
    assert numbers == [(8, 2), (10, 0), (11, 2), (13, 0)]


def test_nobody_queues_for_the_blacklisted() -> None:
    """TRUST-8: none of a batch."""
    lane = Lane()
    lane.tell(OperatorBlock(at_ms=lane.now, human="ada", reason="enough"))
    outcome = lane.tell(EnqueueTogether(at_ms=lane.now, commands=(enqueued(1), enqueued(2))))
    assert outcome.refusal is not None
    assert outcome.refusal.code == "gate"
    assert not lane.state.outbox.entries


def test_the_longest_bodies_fit_a_record() -> None:
    """JRN-2: quoted once more, what one event names is no longer than a payload may be."""
    body = canonical({"a": '"' * (TOGETHER_BYTES // 4 - 4)}).decode()
    assert TOGETHER_BYTES - 16 < 2 * len(body) <= TOGETHER_BYTES
    commands = tuple(enqueued(number, body=body, size=len(body)) for number in range(2))
    (event,), _ = OutboxLogic().enqueue_together(OutboxState(), EnqueueTogether(at_ms=0, commands=commands))
    assert len(canonical(event)) < 256 * 1024


# --- snapshots ----------------------------------------------------------------------------------------------

IDS = st.one_of(
    st.uuids().map(str),
    st.sampled_from(
        ["", "x" * 36, str(uid(1)).upper(), uid(1)[:-1] + " ", "0123456 -0000-0000-0000-000000000000"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=40),
)
ENDS = st.builds(
    Conclusion,
    st.sampled_from(["delivered", "refused"]),
    st.integers(0, 3),
    st.one_of(st.none(), st.sampled_from(["", "gate"])),
)


@given(newer=st.dictionaries(IDS, ENDS), older=st.dictionaries(IDS, ENDS))
def test_conclusions_in_a_snapshot(newer: dict[str, Conclusion], older: dict[str, Conclusion]) -> None:
    """JRN-7, JRN-9d: read as they were written, whatever an id looks like; a state of version 2 is the same."""
    concluded = Conclusions(type(Conclusions().newer)(newer), type(Conclusions().newer)(older))
    state = msgspec.structs.replace(PeerState(), outbox=OutboxState(last=1, concluded=concluded))
    written = encode_state(state)
    assert decode_state(written) == state
    assert encode_state(decode_state(written)) == written
    document = json.loads(written)
    assert LOGIC_VERSION == 3
    document["outbox"].update({"newer": msgspec.to_builtins(newer), "older": msgspec.to_builtins(older)})
    assert encode_state(decode_state(canonical(of_version_2(document)))) == written


# --- bodies -------------------------------------------------------------------------------------------------


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=60),
    context=st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=5), st.floats(-1e9, 1e9), max_size=3
    ),
    corr_id=st.one_of(st.none(), st.just(uid(5))),
    plain_id=st.booleans(),
)
def test_a_body_is_what_is_composed(
    text: str, context: dict[str, Any], corr_id: str | None, plain_id: bool
) -> None:
    """SIG-1: the canonical bytes of the envelope, however they are put together."""
    payload = m.Intent(goal="ask", topic=text or "x", priority="low", context=context)
    msg_id = uid(9) if plain_id else 'a "name" that is no UUID'
    to = Party(agent_id="bob", fingerprint=BOB.fingerprint)
    told: dict[str, Any] = {"agent_id": "ada", "receiver": to, "msg_id": msg_id, "corr_id": corr_id}
    _, body = enqueue(ADA, payload, at_ms=0, max_bytes=1_000_000, **told)
    assert body == canonical(composed(ADA, payload, **told))


def test_a_body_is_nested_no_deeper_than_an_envelope() -> None:
    """ENV-1: what cannot be said is refused when it is queued, not when it is sent."""
    to = Party(agent_id="bob", fingerprint=BOB.fingerprint)
    told: dict[str, Any] = {"agent_id": "ada", "receiver": to, "msg_id": uid(9)}
    refused = []
    context: dict[str, Any] = {}
    for _ in range(200):
        context = {"a": context}
        payload = m.Intent(goal="ask", topic="depth", priority="low", context=context)
        try:
            canonical(msgspec.Raw(ENCODER.encode(composed(ADA, payload, **told))))
        except ValueError:
            refused.append(True)
            with pytest.raises(InvalidEnvelopeError):
                enqueue(ADA, payload, at_ms=0, max_bytes=1_000_000, **told)
        else:
            refused.append(False)
            enqueue(ADA, payload, at_ms=0, max_bytes=1_000_000, **told)
    assert refused == sorted(refused)
    assert set(refused) == {False, True}


# --- asking together ----------------------------------------------------------------------------------------


class Journal:
    """A lane whose commits wait to be let through, with the logic of a real one."""

    def __init__(self, limits: OutboxLimits | None = None) -> None:
        self.logic = PeerLogic(outbox=OutboxLogic(limits or OutboxLimits()))
        self.state = self.logic.initial
        self.told: list[Any] = []
        self.gate = trio.Event()
        self.refuses: Callable[[Any], Exception | None] = lambda _: None
        self.fails: Exception | None = None
        self.together = Together(self.handle, self.durable)

    def handle(self, command: Any) -> PeerOutcome:
        error = self.refuses(command)
        if error is not None:
            raise error
        self.told.append(command)
        decision = self.logic.decide(self.state, command)
        self.state = replay(self.logic, decision.events, base=self.state)
        return decision.reply

    async def durable(self) -> None:
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails

    @property
    def queued(self) -> list[str]:
        return list(self.state.outbox.entries)


class Asking:
    """Tasks that ask, and what each was told."""

    def __init__(self, lane: Journal, nursery: trio.Nursery) -> None:
        self.lane = lane
        self.nursery = nursery
        self.told: dict[int, Any] = {}
        self.scopes: dict[int, trio.CancelScope] = {}

    def ask(self, *numbers: int) -> None:
        for number in numbers:
            self.nursery.start_soon(self._ask, number)

    async def _ask(self, number: int) -> None:
        with trio.CancelScope() as self.scopes[number]:
            try:
                self.told[number] = (await self.lane.together.ask(enqueued(number))).queueing
            except Exception as error:
                self.told[number] = type(error)
            return
        self.told[number] = "cancelled"


async def test_one_turn_is_one_command_and_all_are_told_at_once() -> None:
    lane = Journal()
    async with trio.open_nursery() as nursery:
        asking = Asking(lane, nursery)
        asking.ask(*range(300))
        await trio.testing.wait_all_tasks_blocked()
        assert [len(one.commands) for one in lane.told] == [256, 44]
        assert len(lane.queued) == 300
        assert asking.told == {}  # nothing is durable
        asking.ask(300)  # meanwhile
        await trio.testing.wait_all_tasks_blocked()
        assert len(lane.told) == 3
        lane.gate.set()
    assert asking.told == dict.fromkeys(range(301), "queued")


async def test_some_of_a_batch_are_refused() -> None:
    """OUT-6: who finds no room is told at once; the others wait for the journal as ever."""
    lane = Journal(OutboxLimits(entries=5))
    async with trio.open_nursery() as nursery:
        asking = Asking(lane, nursery)
        asking.ask(*range(9))
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(asking.told.values()) == ["full"] * 4
        lane.gate.set()
    assert sorted(asking.told.values()) == ["full"] * 4 + ["queued"] * 5
    assert {uid(number) for number, told in asking.told.items() if told == "queued"} == set(lane.queued)


async def test_one_that_the_journal_does_not_take_spoils_nothing() -> None:
    """JRN-4e: an event that does not fit is refused; what was asked for beside it is queued."""
    lane = Journal()

    def refuses(command: Any) -> Exception | None:
        commands = getattr(command, "commands", (command,))
        bad = any(one.msg_id == uid(3) for one in commands)
        return JournalUnavailable("not this one", code="busy") if bad else None

    lane.refuses = refuses
    lane.gate.set()
    async with trio.open_nursery() as nursery:
        asking = Asking(lane, nursery)
        asking.ask(*range(6))
    assert asking.told.pop(3) is JournalUnavailable
    assert asking.told == dict.fromkeys((0, 1, 2, 4, 5), "queued")
    assert uid(3) not in lane.queued


async def test_a_lane_that_is_full_of_events_tells_everybody() -> None:
    lane = Journal()
    lane.refuses = lambda _: MailboxFullError("too many events wait")
    async with trio.open_nursery() as nursery:
        asking = Asking(lane, nursery)
        asking.ask(*range(4))
    assert asking.told == dict.fromkeys(range(4), MailboxFullError)


async def test_a_journal_that_gives_up_tells_everybody() -> None:
    lane = Journal()
    lane.fails = JournalUnavailable("closed", code="closed")
    async with trio.open_nursery() as nursery:
        asking = Asking(lane, nursery)
        asking.ask(*range(4))
        await trio.testing.wait_all_tasks_blocked()
        lane.gate.set()
    assert asking.told == dict.fromkeys(range(4), JournalUnavailable)


@pytest.mark.parametrize("number", range(64))
async def test_any_of_64_may_be_cancelled_at_any_time(number: int) -> None:
    """Cancelled before it is decided, nothing is queued of it; after, all of it. The others never notice."""
    for turns in range(4):
        lane = Journal()
        async with trio.open_nursery() as nursery:
            asking = Asking(lane, nursery)
            asking.ask(*range(64))
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            if number in asking.scopes:
                asking.scopes[number].cancel()
            await trio.testing.wait_all_tasks_blocked()
            lane.gate.set()
        others = [told for asked, told in asking.told.items() if asked != number]
        assert others == ["queued"] * 63
        expected = {uid(other) for other in range(64) if other != number}
        assert expected <= set(lane.queued) <= expected | {uid(number)}
        if asking.told[number] == "queued":
            assert uid(number) in lane.queued


async def test_all_are_cancelled_one_after_the_other() -> None:
    """Whoever leads is cancelled, and the next who leads; the last one is told all the same, and more may come."""
    lane = Journal()
    async with trio.open_nursery() as nursery:
        asking = Asking(lane, nursery)
        asking.ask(*range(8))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(7):
            asking.scopes[number].cancel()
            await trio.testing.wait_all_tasks_blocked()
        asking.ask(8)
        await trio.testing.wait_all_tasks_blocked()
        lane.gate.set()
    assert asking.told == {**dict.fromkeys(range(7), "cancelled"), 7: "queued", 8: "queued"}
    assert len(lane.queued) == 9


async def test_a_batch_of_which_nobody_is_left() -> None:
    """It was decided by then, or it never is; and nobody after them waits for it."""
    lane = Journal()
    async with trio.open_nursery() as nursery:
        asking = Asking(lane, nursery)
        asking.ask(*range(3))
        while len(asking.scopes) < 3:
            await trio.lowlevel.checkpoint()
        for scope in asking.scopes.values():
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        asking.ask(3)
        lane.gate.set()
    assert asking.told == {**dict.fromkeys(range(3), "cancelled"), 3: "queued"}
    assert sorted(lane.queued) in ([uid(3)], [uid(number) for number in range(4)])


async def test_who_looks_at_the_queue_sees_what_was_asked_for() -> None:
    """HCP-3: a purge that comes between asking and deciding finds what was asked for before it."""
    lane = Journal()
    asking = lane.together.ask(enqueued(1))
    asking.send(None)  # up to where it gives way
    assert lane.queued == []
    lane.together.flush()
    assert lane.queued == [uid(1)]
    lane.together.flush()
    assert len(lane.told) == 1
    asking.close()


async def test_what_a_look_at_the_queue_decided_is_not_decided_again() -> None:
    """OUT-6: who was told that there is no room is not queued after all, when a purge makes room in that turn."""
    lane = Journal(OutboxLimits(entries=1))
    lane.gate.set()
    lane.handle(enqueued(1))
    asking = lane.together.ask(enqueued(2))
    asking.send(None)  # up to where it gives way
    lane.together.flush()
    lane.handle(Conclude(at_ms=1, msg_ids=(uid(1),), outcome="purged", reason="revoked"))
    with pytest.raises(StopIteration) as ended:
        asking.send(outcome.Value(None))
    assert ended.value.value.queueing == "full"
    assert lane.queued == []


# --- between nodes ------------------------------------------------------------------------------------------


async def test_64_at_once_are_few_records_and_arrive_once(clock: MockClock, tmp_path: Path) -> None:
    """OUT-1, OUT-4, OUT-5: in the order of their numbers, each concluded for whoever sent it."""
    async with nodes(tmp_path, ada={"store": MemoryStore()}, bob={"store": MemoryStore()}) as (ada, bob):
        await ada.cip.established(await ada.dial(bob))
        sent: dict[str, str] = {}

        async def send(name: str) -> None:
            msg_id = await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic=name)
            conclusion = await ada.cip.concluded(BOB.fingerprint, msg_id)
            assert conclusion is not None
            sent[msg_id] = conclusion.outcome

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(send, str(number))
            await until(lambda: len(sent) == 64)
        assert set(sent.values()) == {"delivered"}
        assert ada.count("envelope_queued") == 64
        assert ada.journal is not None
        lane = ada.cip._peers[BOB.fingerprint].lane.lane  # type: ignore[attr-defined]
        records = [one.type for one in await ada.journal.read(lane)]
        assert records.count("outbox.queued_together") == 1
        assert "outbox.queued" not in records


async def test_a_secret_in_one_body_is_not_in_the_record(clock: MockClock, tmp_path: Path) -> None:
    """JRN-18f: bodies are looked through in a record of many, too."""
    of_ada = {"store": MemoryStore(), "redactor": Redactor(b"k" * 32, {"key": "hunter2hunter2"})}
    async with nodes(tmp_path, ada=of_ada) as (ada, _):

        async def send(topic: str) -> None:
            await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic=topic)

        async with trio.open_nursery() as nursery:
            for topic in ("one", "hunter2hunter2", "three"):
                nursery.start_soon(send, topic)
        assert ada.journal is not None
        lane = ada.cip._peers[BOB.fingerprint].lane.lane  # type: ignore[attr-defined]
        stored = b"".join(one.payload or b"" for one in await ada.journal.read(lane))
        assert b"hunter2" not in stored
        assert b"three" in stored


async def test_a_purge_leaves_nothing_that_was_asked_for_before(clock: MockClock, tmp_path: Path) -> None:
    """HCP-3."""
    async with nodes(tmp_path, ada={"store": MemoryStore()}) as (ada, _):
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        sent: list[str] = []

        async def send() -> None:
            sent.append(await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE))

        for turns in range(4):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(send)
                for _ in range(turns + 1):  # in the first they all ask
                    await trio.lowlevel.checkpoint()
                purged = await ada.cip.purge(BOB.fingerprint, lambda _: True, "revoked")
            assert set(sent[-5:]) <= set(purged)
            assert await ada.cip.outbox(BOB.fingerprint) == []


async def test_no_room_in_the_middle_of_64(clock: MockClock, tmp_path: Path) -> None:
    """OUT-6: `outbox_full` is raised for those that find none, and no other is lost."""
    options = {"outbox": OutboxLimits(entries=40)}
    async with nodes(tmp_path, ada={"store": MemoryStore(), "options": options}) as (ada, _):
        queued: list[str] = []
        full: list[str] = []

        async def send() -> None:
            try:
                queued.append(await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE))
            except OutboxFull as error:
                full.append(error.code)

        async with trio.open_nursery() as nursery:
            for _ in range(64):
                nursery.start_soon(send)
        assert full == ["outbox_full"] * 24
        assert sorted(one.msg_id for one in await ada.cip.outbox(BOB.fingerprint)) == sorted(queued)


async def test_a_blacklisted_peer_gets_none_of_a_batch(clock: MockClock, tmp_path: Path) -> None:
    """TRUST-8."""
    async with nodes(tmp_path, ada={"store": MemoryStore()}) as (ada, _):
        await ada.cip.trust_command(BOB.fingerprint, OperatorBlock(at_ms=1, human="ada", reason="enough"))
        refused: list[str] = []

        async def send() -> None:
            with pytest.raises(TrustViolationError) as caught:
                await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
            refused.append(caught.value.code)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(send)
        assert refused == ["gate"] * 5


@pytest.mark.parametrize("outcome", KINDS[1:])
async def test_a_commit_that_fails_between_asking_and_answering(
    clock: MockClock, tmp_path: Path, outcome: FaultKind
) -> None:
    """JRN-15a, b: the same batch is written again, or found; every sender is told once, and nothing is there twice."""
    faults = ScriptedFaults()
    async with nodes(tmp_path, ada={"store": MemoryStore(), "faults": faults}) as (ada, _):
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        faults.plan("commit", outcome, times=2)
        sent: list[str] = []

        async def send() -> None:
            sent.append(await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(send)
            await until(lambda: len(sent) == 10)
        waiting = [one.msg_id for one in await ada.cip.outbox(BOB.fingerprint)]
        assert len(waiting) == 11
        assert set(sent) < set(waiting)


async def test_a_hook_that_withholds_one_body_of_many(clock: MockClock, tmp_path: Path) -> None:
    """JRN-19c: nobody could say whose body the others are; so what came together is recorded one by one, and whole."""

    def withholds(one: EventType, event: Any) -> Any:
        name = {"outbox.queued_together": "bodies", "outbox.taken_together": "envelopes"}.get(one.name)
        return event if name is None else msgspec.structs.replace(event, **{name: getattr(event, name)[1:]})

    redacted = {"redactor": Redactor(b"k" * 32, before_persist=(withholds,))}
    of_ada, of_bob = ({"store": MemoryStore(), **redacted} for _ in range(2))
    async with nodes(tmp_path, ada=of_ada, bob=of_bob) as (ada, bob):
        sent = [await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)]  # then it has a lane

        async def send() -> None:
            sent.append(await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(send)
        entries = await ada.cip.outbox(BOB.fingerprint)
        assert sorted(one.msg_id for one in entries) == sorted(sent)
        assert all(one.body for one in entries)
        await ada.cip.established(await ada.dial(bob))
        taken = bob.cip._peers[ADA.fingerprint].lane
        await until(lambda: len(taken.state.taken.messages) == 6)
        for one in taken.state.taken.messages.values():
            assert one.msg_id in (one.envelope or "")


async def test_one_that_the_journal_does_not_take_at_first_contact(clock: MockClock, tmp_path: Path) -> None:
    """JRN-4e: who has no lane yet gets one with what can be recorded; only what cannot be fails, and it alone."""

    def refuses(one: EventType, event: Any) -> Any:
        if "unspeakable" in str(event):
            raise ValueError("not this one")
        return event

    redactor = Redactor(b"k" * 32, before_persist=(refuses,))
    async with nodes(tmp_path, ada={"store": MemoryStore(), "redactor": redactor}) as (ada, bob):
        sent: list[str] = []
        failed: list[str] = []

        async def send(topic: str) -> None:
            try:
                sent.append(await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic=topic))
            except RedactionError:
                failed.append(topic)

        async with trio.open_nursery() as nursery:
            for topic in ("one", "two", "unspeakable", "four"):
                nursery.start_soon(send, topic)
        assert (failed, len(sent)) == (["unspeakable"], 3)
        assert sorted(one.msg_id for one in await ada.cip.outbox(BOB.fingerprint)) == sorted(sent)
        assert ada.count("error") == 0
        await ada.cip.established(await ada.dial(bob))
        await until(lambda: ada.count("envelope_concluded") == 3)


async def test_a_hook_that_withholds_one_body_of_many_at_first_contact(
    clock: MockClock, tmp_path: Path
) -> None:
    """JRN-19c: as of a peer that has a lane: what came together is recorded one by one."""

    def withholds(one: EventType, event: Any) -> Any:
        changed = one.name == "outbox.queued_together"
        return msgspec.structs.replace(event, bodies=event.bodies[1:]) if changed else event

    redactor = Redactor(b"k" * 32, before_persist=(withholds,))
    async with nodes(tmp_path, ada={"store": MemoryStore(), "redactor": redactor}) as (ada, _):
        sent: list[str] = []

        async def send() -> None:
            sent.append(await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(send)
        entries = await ada.cip.outbox(BOB.fingerprint)
        assert sorted(one.msg_id for one in entries) == sorted(sent)


@pytest.mark.parametrize("met_before", [True, False])
async def test_how_an_entry_ended_that_was_asked_for_in_this_turn(
    clock: MockClock, tmp_path: Path, met_before: bool
) -> None:
    """OUT-5: whoever knows its id may ask at once, also of a peer that has no lane yet."""
    of = {"store": MemoryStore()}
    async with nodes(tmp_path, ada=of, bob={"store": MemoryStore()}) as (ada, bob):
        if met_before:
            await ada.cip.established(await ada.dial(bob))
        msg_id, told = uid(1), list[Any]()

        async def ask() -> None:
            told.append(await ada.cip.concluded(BOB.fingerprint, msg_id))

        lane = ada.cip._peers.need(BOB.fingerprint).lane
        await lane.load()
        payload = m.FactPropose(fact=FACT, dmp_trace=TRACE, causal_links=())
        sending = ada.cip.send(BOB.fingerprint, payload, msg_id=msg_id)
        sending.send(None)  # up to where it gives way to others of its turn
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            if not met_before:
                await ada.cip.established(await ada.dial(bob))
        sending.close()
        assert [one.outcome for one in told] == ["delivered"]

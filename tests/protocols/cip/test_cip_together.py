"""What comes at once is decided together, and nothing of that shows: outcomes and state are those of one by one."""

from __future__ import annotations

import json
import uuid
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocols.cip.examples import (
    ADA,
    BOB,
    EVE,
    EVERYTHING,
    FACT,
    INTENT,
    PAYLOADS,
    TRACE,
    Node,
    Pair,
    sealed,
)
from tests.protocols.cip.nodes import until
from tests.protocols.cip.test_cip_durable import OF_ADA, decided, journal_of, met, state_of
from tests.protocols.cip.test_outbox_logic import arrived, established, uid
from web4.foundation.logic import replay
from web4.journal.backends.memory import Fault, MemoryStore, ScriptedFaults
from web4.journal.journal import NewEvent
from web4.protocols.cip import peer as peer_module
from web4.protocols.cip.actions import Deliver, TakenTogether
from web4.protocols.cip.inbox import Inbox
from web4.protocols.cip.lane import decode_state, encode_state
from web4.protocols.cip.options import CipOptions
from web4.protocols.cip.outbox.commands import Settle
from web4.protocols.cip.outbox.entries import INLINE_BYTES, MessagesTaken, MessageTaken
from web4.protocols.cip.peer_state import Arrived, ArrivedTogether, IdHeard, Letter
from web4.protocols.cip.places import Places
from web4.protocols.messages import cip as m
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from web4.protocols.cip.peer_state import PeerEvent, PeerState

_ROOM = {"per_peer": 100, "total": 100, "bytes_per_peer": 1_000_000, "bytes_total": 1_000_000}


class Side:
    """Bob, with an inbox, in an established session with Ada; the same each time it is made."""

    def __init__(self, room: dict[str, int] | None = None, **options: Any) -> None:
        known: dict[str, Any] = {
            "agent_id": "bob",
            "offer": EVERYTHING,
            "faults_per_minute": 1_000,
            **options,
        }
        self.pair = Pair(options=CipOptions(**known)).start()
        self.bob: Node = self.pair.bob
        self.inbox = Inbox(**{**_ROOM, **(room or {})})
        self.bob.context.room = self.inbox.room
        self.places = Places(self.inbox)
        self.decisions = 0
        self._began = len(self.bob.events), len(self.bob.sent)

    def take(self, *batches: list[bytes], singly: bool = False) -> Side:
        """Let messages come on the knowledge channel, in batches or one by one."""
        session = self.bob.session
        for batch in batches:
            steps = session.receive_together(batch, "knowledge")
            if singly:
                steps = (session.receive(data, "knowledge") for data in batch)
            for actions in steps:
                self.decisions += 1
                self.places.hold(actions)
                for action in actions:
                    if isinstance(action, Deliver | TakenTogether):
                        assert self.places.deliver(action), "room was found for it"
                for _, letter in self.bob.do(actions):
                    self.bob.sent.append(letter)
        return self

    def outcomes(self) -> dict[str, Any]:
        """Everything that can be seen of it from outside, and what is held."""
        events, sent = self._began
        said = [json.loads(letter.data) for letter in self.bob.sent[sent:]]
        errors = {id(one): one for one in said if one["type"] == "ERROR"}.values()
        told = {one["msg_id"]: one["payload"] for one in errors}
        receipts = {one["msg_id"]: one["payload"]["msg_ids"] for one in said if one["type"] == "RECEIPT"}
        peer = self.bob.peer(ADA.fingerprint)
        return {
            "delivered": [one.delivery for one in self.bob.deliveries],
            "asked": [one.delivery for one in self.bob.asked],
            "errors": list(told.values()),
            "receipts": [msg_id for ids in receipts.values() for msg_id in ids],
            "events": [event for event in self.bob.events[events:] if event[0] != "envelope_sent"],
            "closed": self.bob.closed,
            "state": encode_state(peer.lane.state),
            "trust": self.bob.trust_of_other(),
            "recent": dict(peer.recent._held),
            "agent": peer.agent_id,
            "waiting": len(self.inbox),
        }

    def ids(self) -> list[str]:
        return [one.delivery.msg_id for one in self.bob.deliveries]

    def codes(self) -> list[str]:
        return [error["code"] for error in self.outcomes()["errors"]]


def fact(number: int, text: str = "a", **optional: Any) -> bytes:
    """A proposal under the id of that number."""
    told = m.Fact(statement=text, domain="d", confidence=0.5, sources=(), context={})
    trace = m.DmpTrace(decision_id=uid(0), steps=(), counterfactuals=(), evidence=())
    return sealed(m.FactPropose(fact=told, dmp_trace=trace, causal_links=()), msg_id=uid(number), **optional)


def vote(number: int) -> bytes:
    return sealed(PAYLOADS["FACT_CONFIRM"][0], msg_id=uid(number))


def forged(number: int) -> bytes:
    """What Ada never signed."""
    return fact(number).replace(b'"domain":"d"', b'"domain":"e"')


def test_a_batch_is_one_decision_and_one_record() -> None:
    """WEB-1: sixty messages are one event, in the order in which they came, and one receipt tells of all (OUT-3)."""
    side = Side().take([fact(number) for number in range(1, 61)])
    assert side.decisions == 1
    assert side.ids() == side.outcomes()["receipts"] == [uid(number) for number in range(1, 61)]
    (event,) = [one for one in side.bob.peer(ADA.fingerprint).lane.log if isinstance(one, MessagesTaken)]
    assert [row.msg_id for row in event.messages] == side.ids()


def test_a_replay_in_the_middle() -> None:
    """REP-3: what was heard is a duplicate: receipted once more, handled once; those around it are let in."""
    side = Side().take([fact(1), fact(2), fact(1), fact(3), fact(4)])
    assert side.ids() == [uid(1), uid(2), uid(3), uid(4)]
    assert side.outcomes()["receipts"] == [uid(1), uid(2), uid(1), uid(3), uid(4)]


def test_two_contents_under_one_id_in_one_batch() -> None:
    """REP-3: equivocation within a batch blacklists, and what follows it is not looked at."""
    side = Side().take([fact(1), fact(2), fact(1, "b"), fact(3)])
    assert (side.ids(), side.bob.closed) == ([uid(1), uid(2)], "blacklisted")
    assert side.bob.trust_of_other() == "blacklisted"


def test_a_bad_signature_in_the_middle() -> None:
    """VAL-1, VAL-4: what came before it is let in; it ends the session, and nothing after it counts."""
    side = Side().take([fact(1), fact(2), forged(3), fact(4), fact(5)])
    assert (side.ids(), side.bob.closed, side.codes()) == ([uid(1), uid(2)], "auth_failure", ["signature"])
    known = side.bob.peer(ADA.fingerprint).lane.state.known
    assert known.find(uuid.UUID(uid(4)).bytes) is None


def test_a_refusal_in_the_middle() -> None:
    """TRUST-6: a type that the gate does not let in is refused by itself; its neighbours are let in."""
    share = sealed(PAYLOADS["DECISION_SHARE"][0], msg_id=uid(3))
    side = Side().take([fact(1), fact(2), share, fact(4), fact(5)])
    assert side.ids() == [uid(1), uid(2), uid(4), uid(5)]
    assert side.codes() == ["gate"]


def test_a_rate_that_is_reached_in_the_middle() -> None:
    """LIM-2: as many as are allowed come in; the rest is dropped unread, and the peer is told once."""
    side = Side(messages_per_second=1, message_burst=6)
    side.take([fact(number) for number in range(1, 11)])
    few = len(side.ids())
    assert 0 < few < 6, "the handshake took some"
    assert side.ids() == [uid(number) for number in range(1, few + 1)]
    assert side.codes() == ["rate_limited"]


@pytest.mark.parametrize("room", [{"per_peer": 3}, {"total": 3}, {"bytes_per_peer": 1_500}])
def test_room_that_ends_in_the_middle(room: dict[str, int]) -> None:
    """LIM-1, OUT-4: what finds no room is refused as busy, and so is all that follows it until it comes again."""
    side = Side(room).take([fact(number) for number in range(1, 7)])
    few = len(side.ids())
    assert few in (2, 3)
    assert set(side.codes()) == {"busy"}
    assert side.outcomes() == Side(room).take([fact(n) for n in range(1, 7)], singly=True).outcomes()


def test_unsettled_messages_that_become_too_many_in_the_middle() -> None:
    """OUT-3: what the application does not settle is bounded, also within a batch."""
    side = Side(unsettled_per_peer=4).take([fact(number) for number in range(1, 9)])
    assert (side.ids(), set(side.codes())) == ([uid(number) for number in range(1, 5)], {"busy"})


def test_records_of_before_and_of_now_give_one_state() -> None:
    """WEB-2, JRN-9: a lane with messages recorded singly goes on with such as were recorded together."""
    lane = Side().take([fact(1)], [fact(2), fact(3)], [fact(4)]).bob.peer(ADA.fingerprint).lane
    kinds = [type(one) for one in lane.log if isinstance(one, MessageTaken | MessagesTaken)]
    assert kinds == [MessageTaken, MessagesTaken, MessageTaken]
    assert decode_state(encode_state(lane.state)) == lane.state
    assert [one.number for one in lane.state.taken.messages.values() if one.msg_id == uid(4)] == [4]


KINDS = (
    *("fact", "fact", "fact", "vote", "again", "other", "forged", "foreign", "late", "junk", "long"),
    *("intent", "reply", "share"),
)


def message(kind: str, number: int) -> bytes:
    """A message of that kind; its id is that number's."""
    made: dict[str, Any] = {
        "fact": lambda: fact(number),
        "vote": lambda: vote(number),
        "again": lambda: fact(max(1, number - 2)),
        "other": lambda: fact(max(1, number - 2), "b"),
        "forged": lambda: forged(number),
        "foreign": lambda: fact(number, sender=EVE),
        "late": lambda: fact(number, now_ms=START_MS - 600_000),
        "junk": lambda: b"{" + str(number).encode(),
        "long": lambda: fact(number, "x" * INLINE_BYTES),
        "intent": lambda: sealed(INTENT, msg_id=uid(number)),
        "reply": lambda: sealed(PAYLOADS["REPLY"][0], msg_id=uid(number)),
        "share": lambda: sealed(PAYLOADS["DECISION_SHARE"][0], msg_id=uid(number)),
    }
    data: bytes = made[kind]()
    return data


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=14),
    cuts=st.sets(st.integers(1, 13), max_size=3),
    limits=st.fixed_dictionaries({}, optional={
        "message_burst": st.integers(6, 14), "unsettled_per_peer": st.integers(1, 6),
        "replay_ids": st.integers(8, 16), "faults_per_minute": st.integers(1, 3)}),
    places=st.integers(1, 14),
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_is_as_its_messages_one_by_one(
    kinds: list[str], cuts: set[int], limits: dict[str, int], places: int
) -> None:
    """WEB-2, VAL-3, OUT-3: the same outcomes, events and end state, however messages come together."""
    messages = [message(kind, number) for number, kind in enumerate(kinds, 1)]
    edges = [0, *sorted(cut for cut in cuts if cut < len(messages)), len(messages)]
    batches = [messages[a:b] for a, b in pairwise(edges)]
    options: dict[str, Any] = {"messages_per_second": 1, **limits} if "message_burst" in limits else limits
    room = {"per_peer": places}
    together = Side(room, **options).take(*batches)
    singly = Side(room, **options).take(*batches, singly=True)
    assert together.outcomes() == singly.outcomes()


def test_the_log_in_memory_is_bounded_in_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """LIM-1: a record of many messages counts as many, and base and log still give the state."""
    monkeypatch.setattr(peer_module, "_LOG_EVENTS", 20)
    side = Side()
    lane = side.bob.peer(ADA.fingerprint).lane
    for number in range(1, 100, 6):
        side.take([fact(each) for each in range(number, number + 6)])
        taken = [one for one in lane.log if isinstance(one, MessagesTaken)]
        assert sum(len(one.messages) for one in taken) <= 20 + 2 * 6
        assert replay(lane.logic, lane.log, base=lane.base).taken == lane.state.taken


async def test_a_batch_that_never_became_durable(clock: MockClock, tmp_path: Path) -> None:
    """OUT-3, OUT-4: nothing of it was delivered or receipted; on the next session each is delivered, once, in order."""
    store, number = MemoryStore(), 40
    async with met(tmp_path, bob={"store": store}) as (ada, bob, session):
        journal = journal_of(bob)
        # Somebody else writes the lane: what is decided now is dropped, as by a crash before its commit (JRN-4f).
        heard = IdHeard(key="00", content="00", envelope="00", at_ms=START_MS, skew_ms=120_000)
        seq = (await journal.head(OF_ADA)).seq
        await journal.append(OF_ADA, [NewEvent(heard, START_MS)], expected_seq=seq)
        sent: list[str] = []

        async def propose() -> None:
            sent.append(await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE))

        async with trio.open_nursery() as nursery:
            for _ in range(number):
                nursery.start_soon(propose)
        await bob.event("error", where="journal", error="WrongExpectedSeq")
        await until(lambda: session.state == "closed")
        assert (len(bob.cip.inbox), ada.count("envelope_concluded")) == (0, 0)
        await until(lambda: not bob.cip._links)
        await ada.cip.established(await ada.dial(bob))
        order = [entry.msg_id for entry in await ada.cip.outbox(BOB.fingerprint)]
        assert sorted(order) == sorted(sent)
        assert [(await anext(bob.cip.inbox)).msg_id for _ in range(number)] == order
        await until(lambda: ada.count("envelope_concluded") == number)
        assert len(bob.cip.inbox) == 0
        records = [journal.registry.decode(one) for one in await journal.read(OF_ADA)]
        taken = [one for one in records if isinstance(one, MessagesTaken)]
        assert [row.msg_id for one in taken for row in one.messages] == order
        live = bob.cip._peers[ADA.fingerprint].lane.state
        assert encode_state(live) == await state_of(bob, ADA.fingerprint)


def together(session_id: str, letters: list[Arrived]) -> ArrivedTogether:
    return ArrivedTogether(
        session_id=session_id,
        at_ms=letters[0].at_ms,
        letters=tuple(
            Letter(one.type, one.msg_id, one.content_digest, one.digest, one.size, one.envelope or "")
            for one in letters
        ),
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 700), st.lists(st.integers(1, 40), min_size=1, max_size=9), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=150, deadline=None)
def test_places_for_ids_are_found_as_one_by_one(steps: list[tuple[int, list[int], bool]]) -> None:
    """REP-1: under small limits the index begins its parts, lets go and is full at the same messages."""
    logic, first, now = established()
    one_by_one = at_once = first

    def tell(state: PeerState, command: Any) -> tuple[Any, PeerState]:
        decision = logic.decide(state, command)
        events: list[PeerEvent] = list(decision.events)
        return decision.reply, replay(logic, events, base=state)

    for pause, numbers, settle in steps:
        now += pause
        arrivals = [arrived(number, now) for number in numbers]
        for one in arrivals:
            _, one_by_one = tell(one_by_one, one)
        while arrivals:
            reply, at_once = tell(at_once, together(arrivals[0].session_id, arrivals))
            if not reply.together:
                _, at_once = tell(at_once, arrivals[0])
            arrivals = arrivals[len(reply.together) or 1 :]
        if settle:
            done = Settle(at_ms=now, msg_ids=tuple(one_by_one.taken.messages))
            (_, one_by_one), (_, at_once) = tell(one_by_one, done), tell(at_once, done)
        assert encode_state(at_once) == encode_state(one_by_one)


async def test_what_is_delivered_again_is_durable_and_comes_once(clock: MockClock, tmp_path: Path) -> None:
    """OUT-3, OUT-4: what a session takes in while messages of before are looked for is delivered by it alone."""
    faults = ScriptedFaults()
    async with met(tmp_path, bob={"store": MemoryStore(), "faults": faults}) as (ada, bob, _):
        first, second = trio.Event(), trio.Event()
        faults.plan("commit", Fault(until=first))
        bob.nursery.start_soon(bob.cip.propose_fact, ADA.fingerprint, FACT, TRACE)
        await decided(bob, ADA.fingerprint)
        bob.nursery.start_soon(bob.cip._outboxes.deliver_again, ADA.fingerprint)
        sent: list[str] = []

        async def propose() -> None:
            sent.append(await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(propose)
        lane = bob.cip._peers[ADA.fingerprint].lane
        await until(lambda: len(lane.state.taken.messages) == 5)
        faults.plan("commit", Fault(until=second))
        attempts = faults.attempts["commit"]
        first.set()
        await until(lambda: faults.attempts["commit"] > attempts)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(bob.cip.inbox) == 0, "nothing is durable"
        bob.nursery.start_soon(bob.cip._outboxes.deliver_again, ADA.fingerprint)
        second.set()
        await until(lambda: ada.count("envelope_concluded") == 5)
        assert sorted([(await anext(bob.cip.inbox)).msg_id for _ in range(5)]) == sorted(sent)
        assert len(bob.cip.inbox) == 0
        assert bob.cip.inbox.room(ADA.fingerprint, 99), "no place is held any more"


async def test_what_was_delivered_meanwhile_is_not_delivered_once_more(
    clock: MockClock, tmp_path: Path
) -> None:
    """OUT-4: a session whose messages somebody else found on the lane first gives their places back."""
    async with met(tmp_path, bob={"store": MemoryStore(), "options": {"inbox_per_peer": 8}}) as (ada, bob, _):
        (link,) = bob.cip._links.of(ADA.fingerprint)
        peer = bob.cip._peers[ADA.fingerprint]
        await bob.cip._outboxes.deliver_again(ADA.fingerprint)
        letters = [ada_letter(ada) for _ in range(5)]
        actions = [one for some in link.session.receive_together(letters, "knowledge") for one in some]
        link._places.hold(actions)
        await peer.lane.durable()
        await bob.cip._outboxes.deliver_again(ADA.fingerprint)
        assert len(bob.cip.inbox) == 5
        await link._perform(actions)
        assert len(bob.cip.inbox) == 5
        assert bob.cip.inbox.room(ADA.fingerprint, 2), "three places are left of eight"


def ada_letter(ada: Any) -> bytes:
    (link,) = ada.cip._links.of(BOB.fingerprint)
    letter, _ = link.session.send(m.FactPropose(fact=FACT, dmp_trace=TRACE, causal_links=()))
    data: bytes = letter.data
    return data

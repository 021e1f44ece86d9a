"""The outbox as pure functions, and a state machine of it against a plain model (section 18, REP-1, ROUTE-3)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.protocols.cip.examples import ADA, SESSION, Pair
from web4.foundation.digest import blake3_hex
from web4.foundation.logic import replay
from web4.protocols.cip.lane import decode_state, encode_state
from web4.protocols.cip.outbox.commands import Conclude, Enqueue, Settle
from web4.protocols.cip.outbox.entries import (
    MAX_IDS,
    Conclusions,
    EnvelopeConcluded,
    MessageSettled,
    OutboxLimits,
)
from web4.protocols.cip.outbox.known_ids import KnownIds
from web4.protocols.cip.outbox.logic import OutboxLogic
from web4.protocols.cip.peer_logic import PeerLogic
from web4.protocols.cip.peer_state import Arrived, Caused, PeerState
from web4.protocols.cip.replay import Heard, ReplayLimits
from web4.protocols.decisions import DecisionRecord
from web4.testing import check_lane_logic
from web4.trust import MaliciousEvidence, OperatorPromote, TrustEvent, Unverifiable
from web4.trust.events import Evidence

if TYPE_CHECKING:
    from web4.protocols.cip.peer_state import PeerCommand, PeerOutcome

DAY_MS = 86_400_000
SMALL = OutboxLimits(entries=6, bytes=1_000, ttl_ms=1_000, retention_ms=4_000)
REPLAY = ReplayLimits(skew_ms=100, ids=12)


def uid(number: int) -> str:
    return str(uuid.UUID(int=number | 0x4000 << 64 | 0x8 << 60))


def enqueued(number: int, at_ms: int = 0, **more: Any) -> Enqueue:
    known: dict[str, Any] = {"type": "FACT_PROPOSE", "channel": "knowledge", "size": 10, "body": "{}", **more}
    return Enqueue(msg_id=uid(number), at_ms=at_ms, **known)


def arrived(number: int, at_ms: int, content: str = "a", **more: Any) -> Arrived:
    known: dict[str, Any] = {
        "session_id": SESSION,
        "type": "FACT_PROPOSE",
        "durable": True,
        "envelope": "{}",
        "size": 2,
        **more,
    }
    digest = blake3_hex(f"{number}{content}{at_ms}".encode())
    return Arrived(
        msg_id=uid(number),
        at_ms=at_ms,
        timestamp_ms=at_ms,
        content_digest=blake3_hex(content.encode()),
        digest=digest,
        **known,
    )


def established() -> tuple[PeerLogic, PeerState, int]:
    """The lane of a probing peer with an established session, under small limits."""
    pair = Pair().start()
    lane = pair.bob.peer(ADA.fingerprint).lane
    logic = PeerLogic(trust=lane.logic.trust, replay=REPLAY, outbox=OutboxLogic(SMALL))
    return logic, lane.state, pair.clock.wall_ms()


class Lane:
    """Decides and applies, and holds that replay and a snapshot give the same."""

    def __init__(self) -> None:
        self.logic, self.state, self.now = established()

    def tell(self, command: PeerCommand) -> PeerOutcome:
        decision = self.logic.decide(self.state, command)
        after = replay(self.logic, decision.events, base=self.state)
        assert replay(self.logic, decision.events, base=self.state) == after
        self.state = after
        return decision.reply


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="positive"):
        OutboxLimits(entries=0)
    with pytest.raises(ValueError, match="remembered"):
        OutboxLimits(ttl_ms=7 * DAY_MS)


def test_the_logic_is_pure() -> None:
    """ACT-1, WEB-2: no clock, no randomness, the same events in another process."""
    commands: list[PeerCommand] = [
        enqueued(1),
        enqueued(2, at_ms=5, blob="b3:" + "0" * 64, body=None),
        enqueued(1),
        Conclude(at_ms=6, msg_ids=(uid(2), uid(9)), outcome="delivered"),
        Conclude(at_ms=7, msg_ids=(uid(1),), outcome="expired"),
        Settle(at_ms=8, msg_ids=(uid(1),)),
        Caused(
            command=OperatorPromote(at_ms=9, human="ada", reason="she asked"), key=blake3_hex(b"cause")[:32]
        ),
    ]
    state, events = check_lane_logic(PeerLogic(outbox=OutboxLogic(SMALL)), commands)
    assert list(state.outbox.entries) == [uid(1)]
    assert len(events) == 6
    assert isinstance(events[-1], DecisionRecord)  # MEM-1


def test_outbox_full_refuses_and_drops_nothing() -> None:
    """OUT-6: at the bound in entries and in bytes the command is refused; what is queued stays."""
    lane = Lane()
    for number in range(SMALL.entries):
        assert lane.tell(enqueued(number)).queueing == "queued"
    before = lane.state
    assert lane.tell(enqueued(99)).queueing == "full"
    assert lane.state == before
    lane = Lane()
    assert lane.tell(enqueued(1, size=900)).queueing == "queued"
    assert lane.tell(enqueued(2, size=101)).queueing == "full"
    assert lane.tell(enqueued(3, size=100)).queueing == "queued"


def test_an_error_ends_the_entry_it_names_unless_it_asks_for_patience() -> None:
    """OUT-5: refused(code) without retry_after_ms; with it the entry stays, and goes again."""
    lane = Lane()
    lane.tell(enqueued(1))
    error: dict[str, Any] = {"type": "ERROR", "durable": False, "about": uid(1), "about_code": "busy"}
    outcome = lane.tell(arrived(50, lane.now, **error, about_retry_ms=300))
    assert (outcome.waits_ms, list(lane.state.outbox.entries)) == (300, [uid(1)])
    lane.tell(arrived(51, lane.now, **{**error, "about_code": "gate"}))
    ended = lane.state.outbox.concluded.get(uid(1))
    assert ended is not None
    assert (ended.outcome, ended.reason, len(lane.state.outbox.entries)) == ("refused", "gate", 0)


def test_only_what_is_old_expires() -> None:
    lane = Lane()
    lane.tell(enqueued(1, at_ms=0))
    lane.tell(enqueued(2, at_ms=500))
    ids = (uid(1), uid(2))
    lane.tell(Conclude(at_ms=999, msg_ids=ids, outcome="expired"))
    assert len(lane.state.outbox.entries) == 2
    lane.tell(Conclude(at_ms=1_000, msg_ids=ids, outcome="expired"))
    assert list(lane.state.outbox.entries) == [uid(2)]


def test_blacklisting_purges_what_is_on_its_way_and_what_is_not_settled() -> None:
    """TRUST-8: in the same decision; and a blacklisted peer gets nothing more."""
    lane = Lane()
    lane.tell(enqueued(1))
    lane.tell(enqueued(2))
    assert lane.tell(arrived(3, lane.now)).receipt
    evidence = (Evidence(blake3="0" * 64),)
    blame = MaliciousEvidence(at_ms=lane.now, reason="equivocation", evidence=evidence)
    events = lane.logic.decide(lane.state, blame).events
    assert [type(event) for event in events] == [
        TrustEvent,
        EnvelopeConcluded,
        MessageSettled,
        DecisionRecord,
    ]
    lane.tell(blame)
    ended = lane.state.outbox.concluded.get(uid(2))
    assert ended is not None
    assert (ended.outcome, ended.reason) == ("purged", "blacklisted")
    assert not lane.state.outbox.entries
    assert not lane.state.taken.messages
    refusal = lane.tell(enqueued(4)).refusal
    assert refusal is not None
    assert refusal.code == "gate"


def test_many_ids_become_several_events() -> None:
    logic = OutboxLogic()
    lane = Lane()
    lane.logic = PeerLogic(outbox=logic)
    for number in range(MAX_IDS + 1):
        lane.tell(enqueued(number))
    events = logic.purge(lane.state.outbox, lane.state.taken, "blacklisted", 0)
    assert [len(event.msg_ids) for event in events if isinstance(event, EnvelopeConcluded)] == [MAX_IDS, 1]


def test_an_intent_gets_one_first_answer() -> None:
    """LOOP-5: the REPLY is queued in one decision with what becomes of the INTENT, and never again."""
    lane = Lane()
    lane.tell(arrived(1, lane.now, type="INTENT"))
    answer: dict[str, Any] = {"type": "REPLY", "answers": uid(1)}
    assert lane.tell(enqueued(2, **answer)).queueing == "queued"
    assert lane.state.taken.messages[uid(1)].answered
    assert lane.tell(enqueued(3, **answer)).queueing == "answered"
    lane.tell(arrived(4, lane.now, type="INTENT"))
    assert lane.tell(enqueued(5, type="REPLY", answers=uid(4), settles="deferred")).queueing == "queued"
    assert list(lane.state.taken.messages) == [uid(1)]


def test_a_cause_moves_trust_once() -> None:
    """ROUTE-3: at most one trust event for a peer and a cause, after a restart, too."""
    lane = Lane()
    noted = Caused(
        command=Unverifiable(at_ms=lane.now, claim_key="0" * 64, challenger="1" * 64),
        key=blake3_hex(b"a message")[:32],
    )
    assert lane.tell(noted).status == "taken"
    seq = lane.state.trust.seq
    lane.state = decode_state(encode_state(lane.state))
    again = lane.tell(noted)
    assert (again.status, lane.state.trust.seq) == ("duplicate", seq)
    assert again.trust is not None
    assert again.trust.event is None
    other = msgspec.structs.replace(noted, key=blake3_hex(b"another")[:32])
    assert lane.tell(other).status == "taken"
    assert lane.state.trust.seq == seq + 1


def test_ids_are_known_for_days_and_the_young_are_never_forgotten() -> None:
    """REP-1: `dedup_retention` for outbox types; a flood is refused with retry_after, not by forgetting."""
    limits = ReplayLimits(skew_ms=100, ids=16)
    known, heard = KnownIds(), Heard(b"c" * 32, b"e" * 32)

    def take(number: int, at_ms: int) -> int | None:
        nonlocal known
        room = known.room(at_ms, limits, 7 * DAY_MS)
        if room.retry_after_ms is None:
            key = number.to_bytes(16, "big")
            known = known.adding(key, heard, at_ms, begins=room.begins, lets_go=room.lets_go)
        return room.retry_after_ms

    for number in range(16):
        assert take(number, 0) is None
    assert take(99, 10) == 191, "twice the skew after the oldest"
    assert len(known) == 16
    assert take(99, 201) is None, "older ones give way"
    assert known.find((15).to_bytes(16, "big")) == heard
    assert known.find((0).to_bytes(16, "big")) is None
    few = KnownIds().adding(b"k" * 16, heard, 0, begins=True, lets_go=0)
    assert few.room(7 * DAY_MS, limits, 7 * DAY_MS).lets_go == 0
    assert few.room(7 * DAY_MS + 1, limits, 7 * DAY_MS).lets_go == 1


def test_old_conclusions_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from web4.protocols.cip.outbox import entries

    monkeypatch.setattr(entries, "_TOLD", 4)
    told, one = Conclusions(), entries.Conclusion("delivered", 0)
    for number in range(20):
        told = told.adding((uid(number),), one)
        assert len(told.newer) + len(told.older) <= 8
    assert told.get(uid(19)) == one
    assert told.get(uid(15)) == one
    assert told.get(uid(0)) is None


def test_a_snapshot_of_a_full_outbox_is_quick_to_write() -> None:
    """The 10 000 entries that may wait are one pass over their bytes, and come back equal."""
    lane = Lane()
    lane.logic = PeerLogic(outbox=OutboxLogic())
    for number in range(10_000):
        lane.state = replay(
            lane.logic, lane.logic.decide(lane.state, enqueued(number)).events, base=lane.state
        )
    data = encode_state(lane.state)
    assert decode_state(data) == lane.state
    assert encode_state(decode_state(data)) == data


NUMBERS = st.integers(0, 15)


class OutboxMachine(RuleBasedStateMachine):
    """Any order of commands against lists and dicts."""

    @initialize()
    def begin(self) -> None:
        self.lane = Lane()
        self.now = self.lane.now
        self.waiting: dict[str, tuple[int, int]] = {}
        self.ended: dict[str, str] = {}
        self.here: list[str] = []
        self.heard: dict[str, str] = {}
        self.causes: set[str] = set()
        self.receipts = 0

    @rule(pause=st.integers(0, 400))
    def wait(self, pause: int) -> None:
        self.now += pause

    @rule(number=NUMBERS, size=st.integers(1, 400))
    def queue(self, number: int, size: int) -> None:
        msg_id = uid(number)
        outcome = self.lane.tell(enqueued(number, at_ms=self.now, size=size)).queueing
        if self.lane.state.trust.state == "blacklisted":
            assert outcome is None
        elif msg_id in self.waiting or msg_id in self.ended:
            assert outcome == "known"
        elif len(self.waiting) >= 6 or sum(one[1] for one in self.waiting.values()) + size > 1_000:
            assert outcome == "full"
        else:
            assert outcome == "queued"
            self.waiting[msg_id] = (self.now, size)

    @rule(numbers=st.lists(NUMBERS, max_size=4))
    def receipt(self, numbers: list[int]) -> None:
        ids = tuple(uid(number) for number in numbers)
        self.receipts += 1
        message = arrived(1_000 + self.receipts, self.now, type="RECEIPT", durable=False, receipts=ids)
        if self.lane.tell(message).refusal is None:
            self._end(ids, "delivered")

    @rule(numbers=st.lists(NUMBERS, max_size=4), outcome=st.sampled_from(["purged", "refused", "expired"]))
    def end(self, numbers: list[int], outcome: Any) -> None:
        ids = tuple(uid(number) for number in numbers)
        self.lane.tell(Conclude(at_ms=self.now, msg_ids=ids, outcome=outcome))
        old = {msg_id for msg_id, (at_ms, _) in self.waiting.items() if at_ms + SMALL.ttl_ms <= self.now}
        self._end([one for one in ids if outcome != "expired" or one in old], outcome)

    def _end(self, ids: Any, outcome: str) -> None:
        for msg_id in ids:
            if self.waiting.pop(msg_id, None) is not None:
                self.ended[msg_id] = outcome

    @rule(number=st.integers(100, 108), content=st.sampled_from(["a", "a", "a", "b"]))
    def take(self, number: int, content: str) -> None:
        msg_id, before = uid(number), self.lane.state
        if self.lane.state.trust.state == "blacklisted" or (msg_id in self.heard) != (
            self.lane.state.known.find(uuid.UUID(msg_id).bytes) is not None
        ):
            return  # its retention is over; `test_ids_are_known_for_days` has it
        outcome = self.lane.tell(arrived(number, self.now, content))
        if msg_id in self.heard and self.heard[msg_id] == content:
            assert (outcome.status, outcome.receipt, self.lane.state) == ("duplicate", True, before)
        elif msg_id in self.heard:
            assert outcome.refusal is not None
            assert outcome.refusal.code == "equivocation"
            self.here.clear()
            self._end(list(self.waiting), "purged")
        elif outcome.refusal is None:
            assert (outcome.status, outcome.receipt) == ("handled", True)
            self.here.append(msg_id)
            self.heard[msg_id] = content

    @rule(numbers=st.lists(st.integers(100, 108), max_size=3))
    def settle(self, numbers: list[int]) -> None:
        ids = tuple(uid(number) for number in numbers)
        self.lane.tell(Settle(at_ms=self.now, msg_ids=ids))
        self.here = [one for one in self.here if one not in ids]

    @rule(cause=st.sampled_from("abc"))
    def move_trust(self, cause: str) -> None:
        key, seq = blake3_hex(cause.encode())[:32], self.lane.state.trust.seq
        command = Unverifiable(at_ms=self.now, claim_key="0" * 64, challenger="1" * 64)
        self.lane.tell(Caused(command=command, key=key))
        assert self.lane.state.trust.seq == seq + (cause not in self.causes)
        self.causes.add(cause)

    @rule()
    def restart(self) -> None:
        """A snapshot brings back the same, byte for byte."""
        data = encode_state(self.lane.state)
        self.lane.state = decode_state(data)
        assert encode_state(self.lane.state) == data

    @invariant()
    def agrees(self) -> None:
        out, taken = self.lane.state.outbox, self.lane.state.taken
        entries = sorted(out.entries.values(), key=lambda one: one.number)
        assert [one.msg_id for one in entries] == list(self.waiting)
        assert out.bytes == sum(size for _, size in self.waiting.values())
        assert {one: c.outcome for one, c in out.concluded.newer.items()} == self.ended
        messages = sorted(taken.messages.values(), key=lambda one: one.number)
        assert [one.msg_id for one in messages] == self.here
        assert taken.bytes == 2 * len(self.here)
        assert len(self.lane.state.known) <= REPLAY.ids


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)

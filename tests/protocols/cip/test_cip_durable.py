"""`CipRuntime` on a journal: what it says is durable first, and a restart forgets nothing (TRUST-7, REP-2, HS-6)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from tests.protocols.cip.examples import ADA, BOB, EVE, FACT, INTENT, TRACE
from tests.protocols.cip.nodes import Node, nodes, until
from web4 import rtt
from web4.actors import lane_writer
from web4.actors.rebuilding import rebuild
from web4.journal.backends.memory import Fault, MemoryStore, ScriptedFaults
from web4.journal.errors import CorruptJournalError, JournalError
from web4.journal.journal import Journal, NewEvent
from web4.journal.lane import Lane
from web4.journal.redaction import Redactor
from web4.journal.verify import verify
from web4.protocols.cip import accept
from web4.protocols.cip.durable_lane import DurablePeerLane, peer_definition
from web4.protocols.cip.lane import encode_state
from web4.protocols.cip.peer_state import IdHeard
from web4.protocols.errors import HandshakeFailed
from web4.protocols.messages import cip as m
from web4.testing.clocks import START_MS
from web4.trust import (
    Anchored,
    HandshakeOk,
    ManualOverride,
    OperatorBlock,
    OperatorPromote,
    TrustCommandError,
    TrustLimits,
    TrustViolationError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio.testing import MockClock

    from web4.journal.event_types import EventType


def discreet(one: EventType, event: Any) -> Any:
    """A hook that rewrites where people met."""
    if one.name == "trust.recorded" and event.reason.startswith("met at"):
        return msgspec.structs.replace(event, reason="met in person")
    if one.name == "decision.made":
        reasons = tuple("met in person" if why.startswith("met at") else why for why in event.reasons)
        return msgspec.structs.replace(event, reasons=reasons)
    return event


OF_ADA = Lane("peer", ADA.fingerprint)


@asynccontextmanager
async def met(tmp_path: Path, **of: dict[str, Any]) -> AsyncIterator[tuple[Node, Node, rtt.RttSession]]:
    """Ada and Bob, with an established session that Ada dialled."""
    async with nodes(tmp_path, **of) as (ada, bob):
        session = await ada.dial(bob)
        await ada.cip.established(session)
        await bob.cip.connected(ADA.fingerprint)
        yield ada, bob, session


def journal_of(node: Node) -> Journal:
    assert node.journal is not None
    return node.journal


async def state_of(node: Node, peer: str) -> bytes:
    """A lane's state as the journal has it, rebuilt from its records alone."""
    journal = journal_of(node)
    return encode_state((await rebuild(journal, Lane("peer", peer), peer_definition())).state)


async def decided(node: Node, peer: str) -> None:
    """Wait until something was decided about a peer that the journal does not have."""

    def pending() -> bool:
        lane = node.cip._peers[peer].lane
        assert isinstance(lane, DurablePeerLane)
        return lane._writer is not None and lane._writer.pending

    await until(pending)


async def test_trust_survives(clock: MockClock, tmp_path: Path) -> None:
    """TRUST-7: restart and reconnect keep the state, and rebuilding from the lane gives the same bytes."""
    store = MemoryStore()
    async with met(tmp_path, bob={"store": store}) as (_, bob, _):
        act = OperatorPromote(at_ms=1, human="bob's person", reason="met in person")
        assert (await bob.cip.trust_command(ADA.fingerprint, act)).state == "trusted"
        peer = bob.cip._peers[ADA.fingerprint]
        live = peer.lane.state
        assert encode_state(live) == await state_of(bob, ADA.fingerprint)
        record = bob.cip.trust.record(ADA.fingerprint)
        assert record == live.trust
    (tmp_path / "again").mkdir()
    async with nodes(tmp_path / "again", bob={"store": store}) as (ada, bob):
        assert bob.cip.trust.record(ADA.fingerprint) == record, "before anybody comes"
        assert len(bob.cip.trust) == 1
        await ada.cip.established(await ada.dial(bob))
        await bob.cip.connected(ADA.fingerprint)
        after = bob.cip.trust.record(ADA.fingerprint)
        assert (after.state, after.seq, after.counts["handshake_ok"]) == ("trusted", record.seq + 1, 2)
        assert bob.count("trust_transition") == 1
        fsm = bob.cip.trust.fsm(ADA.fingerprint)
        assert fsm is not None
        assert [(event.from_, event.to) for event in fsm.log] == [("trusted", "trusted")]


async def test_the_replay_window_survives(clock: MockClock, tmp_path: Path) -> None:
    """REP-2: a message, and a HELLO's nonce, that were heard before a restart are known after it."""
    store = MemoryStore()
    async with met(tmp_path, bob={"store": store}) as (ada, bob, session):
        link = ada.cip._links.of(BOB.fingerprint)[0]
        letter, _ = link.session.send(m.FactPropose(fact=FACT, dmp_trace=TRACE, causal_links=()))
        await (await link._channels.get("knowledge")).send(letter.data)
        delivery = await anext(bob.cip.inbox)
        assert delivery.message.msg_id == letter.msg_id
        await bob.cip.settled(delivery)
        hello = link.session.state
        assert hello is not None
        assert hello.own is not None
        session.abort("enough")
    (tmp_path / "again").mkdir()
    async with met(tmp_path / "again", bob={"store": store}) as (ada, bob, _):
        link = ada.cip._links.of(BOB.fingerprint)[0]
        await (await link._channels.get("knowledge")).send(letter.data)
        seen = await bob.event("replay_detected")
        assert (seen["status"], seen["msg_id"]) == ("duplicate", letter.msg_id)
        assert len(bob.cip.inbox) == 0
        used = m.Hello(
            protocols=hello.own.offer.protocols,
            capabilities=hello.own.offer.capabilities,
            features=hello.own.offer.features,
            session_nonce=hello.own.nonce,
            challenge=hello.own.challenge,
        )
        again, _ = link.session._sealed(used), None
        await link.rtt.control.send(again.data)
        await bob.event("replay_detected", code="nonce_replayed")


async def test_nothing_leaves_before_it_is_durable(clock: MockClock, tmp_path: Path) -> None:
    """DESIGN, rules 2 and 3: while the journal cannot write, no answer, no delivery, no event of the lane."""
    gate, faults = trio.Event(), ScriptedFaults()
    async with (
        nodes(tmp_path, bob={"store": MemoryStore(), "faults": faults}) as (ada, bob),
        ada.dialled(bob.url, BOB) as session,
    ):
        faults.plan("commit", Fault(until=gate))
        ada.nursery.start_soon(ada.cip.serve, session)
        await until(lambda: faults.attempts.get("commit") == 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        lane = bob.cip._peers[ADA.fingerprint].lane
        assert [one.phase for one in lane.state.handshakes.values()] == ["established"], "decided"
        assert [bob.count(kind) for kind in ("handshake_completed", "trust_transition")] == [0, 0]
        assert bob.count("envelope_received") == 1, "the HELLO, which leaves nothing"
        assert bob.cip.trust.state(ADA.fingerprint) == "unknown"
        gate.set()
        await ada.cip.established(session)
        await bob.cip.connected(ADA.fingerprint)
        gate = trio.Event()
        faults.plan("commit", Fault(until=gate))
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await decided(bob, ADA.fingerprint)
        await trio.testing.wait_all_tasks_blocked(0.01)
        seen = [fields["type"] for kind, fields in bob.events if kind == "envelope_received"]
        assert (len(bob.cip.inbox), "FACT_PROPOSE" in seen) == (0, False)
        gate.set()
        assert (await anext(bob.cip.inbox)).peer == ADA.fingerprint


async def test_an_intent_is_asked_once_it_is_durable(clock: MockClock, tmp_path: Path) -> None:
    """The application is not even asked about what may never have been heard."""
    asked: list[str] = []

    async def gladly(delivery: Any) -> Any:
        asked.append(delivery.message.msg_id)
        return accept()

    faults = ScriptedFaults()
    of_bob = {"store": MemoryStore(), "faults": faults, "accept_intent": gladly}
    async with met(tmp_path, bob=of_bob) as (ada, bob, _):
        gate = trio.Event()
        faults.plan("commit", Fault(until=gate))
        sent = await ada.cip.send_intent(BOB.fingerprint, goal="ask", topic="?")
        await decided(bob, ADA.fingerprint)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert asked == []
        gate.set()
        assert (await anext(bob.cip.inbox)).message.msg_id == sent
        assert asked == [sent]


async def test_observers_hear_of_durable_events_only(clock: MockClock, tmp_path: Path) -> None:
    """TRUST-8: a blacklisting closes sessions once it is durable, and whoever asked is answered then."""
    faults = ScriptedFaults()
    async with met(tmp_path, bob={"store": MemoryStore(), "faults": faults}) as (_ada, bob, session):
        gate = trio.Event()
        faults.plan("commit", Fault(until=gate))
        done: list[str] = []

        async def block() -> None:
            act = OperatorBlock(at_ms=1, human="bob's person", reason="enough")
            done.append((await bob.cip.trust_command(ADA.fingerprint, act)).state)

        bob.nursery.start_soon(block)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (bob.cip.trust.state(ADA.fingerprint), done, bob.cip.peers()) == (
            "probing",
            [],
            [ADA.fingerprint],
        )
        gate.set()
        await until(lambda: session.state == "closed")
        assert (bob.cip.trust.state(ADA.fingerprint), done) == ("blacklisted", ["blacklisted"])


async def test_the_blacklisted_are_barred_after_a_restart(clock: MockClock, tmp_path: Path) -> None:
    """HS-6: remembered before the first dial; an override is remembered, too."""
    store = MemoryStore()
    async with nodes(tmp_path, bob={"store": store}) as (ada, bob):
        act = OperatorBlock(at_ms=1, human="bob's person", reason="enough")
        await bob.cip.trust_command(ADA.fingerprint, act)
    for name in ("second", "third"):
        (tmp_path / name).mkdir()
    async with nodes(tmp_path / "second", bob={"store": store}) as (ada, bob):
        with pytest.raises(rtt.HandshakeError) as refused:
            await ada.dial(bob)
        assert refused.value.code == "not_admitted"
        forgive = ManualOverride(at_ms=2, human="bob's person", reason="a mistake")
        assert (await bob.cip.trust_command(ADA.fingerprint, forgive)).state == "probing"
    async with met(tmp_path / "third", bob={"store": store}) as (_, bob, _):
        assert bob.cip.trust.state(ADA.fingerprint) == "probing"


async def test_commands_go_to_the_lane(clock: MockClock, tmp_path: Path) -> None:
    """TRUST-2, TRUST-10: refusals are raised and leave nothing; the registry takes no commands of its own."""
    limits = TrustLimits(newcomers_per_hour=1)
    store = MemoryStore()
    async with nodes(tmp_path, bob={"store": store, "trust_limits": limits}) as (_, bob):
        with pytest.raises(TrustCommandError) as refused:
            await bob.cip.trust_command(EVE.fingerprint, OperatorBlock(at_ms=1, human=" ", reason="?"))
        assert refused.value.code == "human_required"
        with pytest.raises(RuntimeError, match="trust_command"):
            bob.cip.trust.handle(ADA.fingerprint, Anchored(at_ms=1))
        with pytest.raises(RuntimeError, match="trust_command"):
            bob.cip.trust.anchor([ADA.fingerprint], at_ms=1)
        await bob.cip.anchor([ADA.fingerprint])
        now = bob.cip._context.clock.wall_ms()
        await bob.cip.trust_command("0" * 64, HandshakeOk(at_ms=now))
        with pytest.raises(TrustViolationError):
            await bob.cip.trust_command("1" * 64, HandshakeOk(at_ms=now))
        assert (await journal_of(bob).head(Lane("peer", "1" * 64))).seq == 0
        records = await journal_of(bob).read(OF_ADA)
        told = [(one.type, one.principal) for one in records]
        assert told == [("trust.recorded", None), ("decision.made", None)]
        with pytest.raises(JournalError):
            await bob.cip.trust_command("../../etc", Anchored(at_ms=1))
    (tmp_path / "again").mkdir()
    async with nodes(tmp_path / "again", bob={"store": store, "trust_limits": limits}) as (_, bob):
        assert bob.cip.trust.state(ADA.fingerprint) == "trusted"
        with pytest.raises(TrustViolationError):
            await bob.cip.trust_command("1" * 64, HandshakeOk(at_ms=now + 1))
        await bob.cip.trust_command("1" * 64, HandshakeOk(at_ms=now + 3_600_000))


async def test_an_operators_name_is_in_the_record(clock: MockClock, tmp_path: Path) -> None:
    async with nodes(tmp_path, bob={"store": MemoryStore()}) as (_, bob):
        act = OperatorPromote(at_ms=5, human="grace", reason="met in person")
        await bob.cip.trust_command(ADA.fingerprint, act)
        records = await journal_of(bob).read(OF_ADA)
        assert [(one.principal, one.at) for one in records] == [("grace", 5)] * 2


async def test_a_journal_that_fails_ends_the_session(clock: MockClock, tmp_path: Path) -> None:
    """JRN-15: nothing is delivered that is not durable; the provisional state is dropped; trust stays as it was."""
    store, faults = MemoryStore(), ScriptedFaults()
    async with met(tmp_path, bob={"store": store, "faults": faults}) as (ada, bob, session):
        before = encode_state(bob.cip._peers[ADA.fingerprint].lane.state)
        # Somebody else writes the lane: this writer was replaced (JRN-4f).
        journal = journal_of(bob)
        heard = IdHeard(key="00", content="00", envelope="00", at_ms=START_MS, skew_ms=120_000)
        await journal.append(
            OF_ADA, [NewEvent(heard, START_MS)], expected_seq=(await journal.head(OF_ADA)).seq
        )
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await bob.event("error", where="journal", error="WrongExpectedSeq")
        await until(lambda: session.state == "closed")
        assert len(bob.cip.inbox) == 0
        await until(lambda: not bob.cip._links)
        rebuilt = await state_of(bob, ADA.fingerprint)
        assert rebuilt != before
        # What is there is served on.
        await ada.cip.established(await ada.dial(bob))
        await bob.cip.connected(ADA.fingerprint)
        assert bob.cip._peers[ADA.fingerprint].lane.state.replay.find(b"\x00"), "what the other heard"
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        assert (await anext(bob.cip.inbox)).peer == ADA.fingerprint


async def test_a_halted_lane_admits_nobody(clock: MockClock, tmp_path: Path) -> None:
    """Of a peer whose lane cannot be read nobody can say that it is not blacklisted: it stays outside, others come."""
    async with (
        nodes(tmp_path, bob={"store": MemoryStore()}) as (ada, bob),
        Node(EVE, ada.nursery, tmp_path, "eve") as eve,
    ):
        await ada.cip.established(await ada.dial(bob))
        await bob.cip.connected(ADA.fingerprint)
        journal_of(bob).halt(OF_ADA, "for this test")
        with pytest.raises(rtt.HandshakeError):
            await ada.dial(bob)
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await bob.event("error", where="journal", error="LaneHalted")
        with pytest.raises(JournalError):
            await bob.cip.trust_command(ADA.fingerprint, Anchored(at_ms=1))
        # Dialled from here it ends before a word, with a reason.
        with pytest.raises(HandshakeFailed) as failed:
            await bob.cip.established(await bob.dial(ada))
        assert failed.value.code == "journal"
        await eve.cip.established(await eve.dial(bob))


async def test_handshakes_of_an_earlier_boot_are_closed(clock: MockClock, tmp_path: Path) -> None:
    """A power cut leaves sessions open in the lane; loading it closes them by events."""
    store = MemoryStore()
    async with met(tmp_path, bob={"store": store}):
        store.kill()
    (tmp_path / "again").mkdir()
    async with met(tmp_path / "again", bob={"store": store}) as (_, bob, session):
        open_ones = bob.cip._peers[ADA.fingerprint].lane.state.handshakes
        assert list(open_ones) == [session.session_id.hex()]
        records = await journal_of(bob).read(OF_ADA)
        steps = [journal_of(bob).registry.decode(one) for one in records if one.type == "cip.handshake"]
        ended = [step.session_id for step in steps if step.to is None]
        assert len(ended) == 1
        assert ended[0] == steps[0].session_id != session.session_id.hex()


async def test_evidence_is_a_blob_before_it_is_cited(clock: MockClock, tmp_path: Path) -> None:
    """JRN-8b, TRUST-7: what an event cites is stored first; it outlives the node, and so do its bounds (LIM-1)."""
    store, faults = MemoryStore(), ScriptedFaults()
    async with met(tmp_path, bob={"store": store, "faults": faults}) as (ada, bob, _):
        gate = trio.Event()
        faults.plan("put_blob", Fault("not_committed"), Fault(until=gate))
        link = ada.cip._links.of(BOB.fingerprint)[0]
        letter, _ = link.session.send(INTENT)
        forged = letter.data.replace(b"wetter", b"wotter")
        assert forged != letter.data
        await (await link._channels.get("knowledge")).send(forged)
        await bob.event("auth_failure", code="signature")
        await until(lambda: faults.attempts.get("put_blob", 0) == 2)
        before = (await journal_of(bob).head(OF_ADA)).seq
        await trio.sleep(1)
        assert (await journal_of(bob).head(OF_ADA)).seq == before, "the event waits for its evidence"
        assert bob.cip.trust.state(ADA.fingerprint) == "probing"
        gate.set()
        await until(lambda: bob.cip.trust.state(ADA.fingerprint) == "untrusted")
    (tmp_path / "again").mkdir()
    async with nodes(tmp_path / "again", bob={"store": store}) as (_, bob):
        records = await journal_of(bob).read(OF_ADA)
        blamed = [journal_of(bob).registry.decode(one) for one in records if one.type == "trust.recorded"][-1]
        (cited,) = blamed.evidence
        assert (cited.blob, cited.size) == (f"b3:{cited.blake3}", len(forged))
        assert await bob.cip.evidence(cited.blake3) == forged
        assert await bob.cip.evidence("00" * 32) is None
        evidence = bob.cip._context.evidence
        assert evidence.room(ADA.fingerprint, 1024 * 1024 - len(forged))
        assert not evidence.room(ADA.fingerprint, 1024 * 1024 - len(forged) + 1)


async def test_silent_peers_are_let_go_with_a_snapshot(clock: MockClock, tmp_path: Path) -> None:
    """ACT-6: what is held of a silent peer goes; its lane comes back from a snapshot that holds no stale id."""
    async with nodes(tmp_path, bob={"store": MemoryStore()}) as (ada, bob):
        async with ada.dialled(bob.url, BOB) as session:
            ada.nursery.start_soon(ada.cip.serve, session)
            await ada.cip.established(session)
            await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
            await bob.cip.settled(await anext(bob.cip.inbox))
        await until(lambda: not bob.cip.peers())
        assert ADA.fingerprint in bob.cip._peers
        await trio.sleep(300)
        async with Node(EVE, ada.nursery, tmp_path, "eve") as eve:
            await eve.cip.established(await eve.dial(bob))
            await until(lambda: ADA.fingerprint not in bob.cip._peers)
        assert bob.cip.trust.state(ADA.fingerprint) == "probing"
        fsm = bob.cip.trust.fsm(ADA.fingerprint)
        assert fsm is not None
        assert fsm.log == ()
        (snapshot,) = await journal_of(bob).snapshots(OF_ADA)
        assert snapshot.seq == (await journal_of(bob).head(OF_ADA)).seq
        assert b'"buckets":[]' in snapshot.state
        assert len(snapshot.state) < 600
        await ada.cip.established(await ada.dial(bob))
        assert (await bob.cip.connected(ADA.fingerprint)).protocols == ("cip/1.0",)


async def test_a_session_ends_while_the_journal_is_suspended(clock: MockClock, tmp_path: Path) -> None:
    """JRN-15c: whoever is let go meanwhile waits for the journal; the session that began it ends all the same."""
    faults = ScriptedFaults()
    async with (
        nodes(tmp_path, bob={"store": MemoryStore(), "faults": faults}) as (ada, bob),
        Node(EVE, ada.nursery, tmp_path, "eve") as eve,
    ):
        async with ada.dialled(bob.url, BOB) as session:
            ada.nursery.start_soon(ada.cip.serve, session)
            await ada.cip.established(session)
        await until(lambda: not bob.cip.peers())
        await trio.sleep(300)
        gate = trio.Event()
        faults.plan("commit", "no_space", Fault("no_space", until=gate))
        async with eve.dialled(bob.url, BOB):
            await until(lambda: journal_of(bob).state == "suspended")
        await until(lambda: not bob.cip._links)
        assert journal_of(bob).state == "suspended"
        assert ADA.fingerprint in bob.cip._peers
        gate.set()


async def test_room_is_held_while_the_journal_writes(clock: MockClock, tmp_path: Path) -> None:
    """LOOP-1: two peers find the last place; one has it, the other is told, and what was let in is delivered."""
    faults = ScriptedFaults()
    of_bob = {"store": MemoryStore(), "faults": faults, "options": {"inbox_total": 1}}
    async with (
        met(tmp_path, bob=of_bob) as (ada, bob, _),
        Node(EVE, ada.nursery, tmp_path, "eve") as eve,
    ):
        await eve.cip.established(await eve.dial(bob))
        await bob.cip.connected(EVE.fingerprint)
        gate = trio.Event()
        faults.plan("commit", Fault(until=gate))
        first = await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await decided(bob, ADA.fingerprint)
        await eve.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await bob.event("envelope_rejected", code="busy")
        assert len(bob.cip.inbox) == 0
        gate.set()
        told = (await anext(eve.cip.inbox)).message
        assert isinstance(told, m.ErrorEnvelope)
        assert told.payload.code == "busy"
        assert (await anext(bob.cip.inbox)).message.msg_id == first
        assert bob.cip.inbox.room(EVE.fingerprint)


async def test_live_state_is_what_was_persisted(clock: MockClock, tmp_path: Path) -> None:
    """JRN-19b: a redaction hook that rewrites an event rewrites it for the live state, too."""

    redactor = Redactor(bytes(32), before_persist=[discreet])
    async with met(tmp_path, bob={"store": MemoryStore(), "redactor": redactor}) as (_, bob, _):
        act = OperatorPromote(at_ms=1, human="grace", reason="met at 12 Long Lane")
        await bob.cip.trust_command(ADA.fingerprint, act)
        fsm = bob.cip.trust.fsm(ADA.fingerprint)
        assert fsm is not None
        assert fsm.log[-1].reason == "met in person"
        live = bob.cip._peers[ADA.fingerprint].lane.state
        assert encode_state(live) == await state_of(bob, ADA.fingerprint)
        assert b"Long Lane" not in b"".join(one.payload or b"" for one in await journal_of(bob).read(OF_ADA))


async def test_a_thousand_messages_leave_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JRN-7a: by and by a lane that grows is snapshot; rebuilding from it, from all records, and live agree."""
    monkeypatch.setattr(lane_writer, "_SNAPSHOT_EVENTS", 250)
    number = 1_200  # On a real clock: one that jumps takes longer, as it waits before each jump.
    options = {"messages_per_second": 1e6, "message_burst": 1e6, "inbox_per_peer": 4_000}
    async with met(tmp_path, bob={"store": MemoryStore(), "options": options}) as (ada, bob, _):
        for _ in range(number):
            await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        sent = [(await anext(bob.cip.inbox)).message.msg_id for _ in range(number)]
        assert len(set(sent)) == number
        journal = journal_of(bob)
        lane = bob.cip._peers[ADA.fingerprint].lane
        await lane.durable()
        while not await journal.snapshots(OF_ADA):  # noqa: ASYNC110 - what is waited for is another task
            await trio.sleep(0.1)
        assert journal.backend.store.commits < number  # type: ignore[attr-defined]
        from_snapshot = await state_of(bob, ADA.fingerprint)
        journal.backend.store.snapshots.clear()  # type: ignore[attr-defined]
        assert encode_state(lane.state) == from_snapshot == await state_of(bob, ADA.fingerprint)


async def test_a_lane_that_grows_is_compacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIM-1, JRN-17: a peer cannot fill the disk by talking; what is held of it is the same, and holds after it."""
    monkeypatch.setattr(lane_writer, "_SNAPSHOT_EVENTS", 250)
    number = 1_200
    rates = {"messages_per_second": 1e6, "message_burst": 1e6, "inbox_per_peer": 4_000}
    of_bob = {"store": MemoryStore(), "options": {**rates, "lane_records": 10}}
    async with met(tmp_path, bob=of_bob) as (ada, bob, _):
        for _ in range(number):
            await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        assert len([await anext(bob.cip.inbox) for _ in range(number)]) == number
        while (await journal_of(bob).head(OF_ADA)).base_seq == 0:  # noqa: ASYNC110 - another task sees to it
            await trio.sleep(0.1)
        peer = bob.cip._peers[ADA.fingerprint]
        await peer.lane.durable()
        assert encode_state(peer.lane.state) == await state_of(bob, ADA.fingerprint)
        assert len(peer.lane.state.known) == number
        findings = (await verify(journal_of(bob).backend, journal_of(bob).registry)).findings
        assert findings == []


async def test_a_suspended_journal_holds_everything(clock: MockClock, tmp_path: Path) -> None:
    """JRN-15a: no space: nothing is answered or delivered, nothing is lost; with space it goes on where it was."""
    faults = ScriptedFaults()
    async with met(tmp_path, bob={"store": MemoryStore(), "faults": faults}) as (ada, bob, session):
        gate = trio.Event()
        faults.plan("commit", "no_space", "not_committed", Fault("no_space", until=gate))
        sent = await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await until(lambda: journal_of(bob).state == "suspended")
        assert len(bob.cip.inbox) == 0
        gate.set()
        assert (await anext(bob.cip.inbox)).message.msg_id == sent
        assert (journal_of(bob).state, session.state) == ("ready", "open")


async def test_a_journal_that_has_failed(
    clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JRN-15b, g: nobody knows whether it is there, and the store cannot be read: sessions end, trust stays as it was,
    and nobody comes in any more."""
    faults = ScriptedFaults()
    async with met(tmp_path, bob={"store": MemoryStore(), "faults": faults}) as (ada, bob, session):

        async def unreadable(_commit: object) -> None:
            raise CorruptJournalError("not what was written")

        monkeypatch.setattr(journal_of(bob).backend, "recover", unreadable)
        faults.plan("commit", "unknown")
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await bob.event("error", where="journal")
        await until(lambda: session.state == "closed")
        assert len(bob.cip.inbox) == 0
        assert journal_of(bob).state == "failed"
        assert bob.cip.trust.state(ADA.fingerprint) == "probing"
        act = OperatorBlock(at_ms=1, human="bob's person", reason="enough")
        with pytest.raises(JournalError):
            await bob.cip.trust_command(ADA.fingerprint, act)
        assert bob.cip.trust.state(ADA.fingerprint) == "probing"
        with pytest.raises(HandshakeFailed):
            await ada.cip.established(await ada.dial(bob))


async def test_who_is_cancelled_leaves_what_was_decided(clock: MockClock, tmp_path: Path) -> None:
    """A session is cancelled while the journal writes: what was decided of it becomes durable with what follows."""
    faults = ScriptedFaults()
    async with nodes(tmp_path, bob={"store": MemoryStore(), "faults": faults}) as (ada, bob):
        gate = trio.Event()
        serving = trio.CancelScope()

        async def serve(session: rtt.RttSession) -> None:
            with serving:
                await bob.cip.serve(session)

        async with bob.dialled(ada.url, ADA) as session:
            faults.plan("commit", Fault(until=gate))
            bob.nursery.start_soon(serve, session)
            await until(lambda: faults.attempts.get("commit", 0) == 1)
            serving.cancel()
            await until(lambda: session.state == "closed")
            gate.set()
            with pytest.raises(HandshakeFailed):
                await bob.cip.established(session)
        await ada.cip.established(await ada.dial(bob))
        await bob.cip.connected(ADA.fingerprint)
        live = bob.cip._peers[ADA.fingerprint].lane.state
        assert encode_state(live) == await state_of(bob, ADA.fingerprint)
        assert len(live.handshakes) == 1


async def test_a_stranger_leaves_nothing(clock: MockClock, tmp_path: Path) -> None:
    """TRUST-1, TRUST-10: a key costs nothing, so one that is put off or falls silent has no lane and no record."""
    store = MemoryStore()
    of_bob = {"store": store, "trust_limits": TrustLimits(newcomers_per_hour=1)}
    async with (
        met(tmp_path, bob=of_bob) as (_, bob, _),
        Node(EVE, bob.nursery, tmp_path, "eve") as eve,
    ):
        told = [
            kind for kind, fields in bob.events if fields.get("peer") == ADA.fingerprint and "shake" in kind
        ]
        assert told == ["handshake_started", *["handshake_step"] * 2, "handshake_completed"], "each once"
        before = await journal_of(bob).head(OF_ADA)
        with trio.move_on_after(3):
            await eve.cip.established(await eve.dial(bob))
        await bob.event("handshake_deferred", peer=EVE.fingerprint)
        async with eve.dialled(bob.url, BOB):  # says nothing
            await bob.event("handshake_failed", peer=EVE.fingerprint)
        assert [lane for lane, _ in await journal_of(bob).heads("peer")] == [OF_ADA]
        assert (await journal_of(bob).head(OF_ADA)) == before
        assert Lane("peer", EVE.fingerprint) not in store.owners
        act = OperatorPromote(at_ms=1, human="bob's person", reason="known since")
        assert (await bob.cip.trust_command(EVE.fingerprint, act)).state == "probing"
        assert await state_of(bob, EVE.fingerprint) == encode_state(
            bob.cip._peers[EVE.fingerprint].lane.state
        )


async def test_what_cannot_even_be_settled_ends_the_session(clock: MockClock, tmp_path: Path) -> None:
    """ACT-2: what comes while a lane takes no decision ends its session, and nothing else of the node."""
    async with met(tmp_path, bob={"store": MemoryStore()}) as (ada, bob, session):
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        delivery = await anext(bob.cip.inbox)
        lane = bob.cip._peers[ADA.fingerprint].lane
        assert isinstance(lane, DurablePeerLane)
        assert lane._writer is not None
        bounds = lane._writer._bounds
        lane._writer._bounds = bounds._replace(pending=0)
        await bob.cip.settled(delivery)
        await ada.cip.propose_fact(BOB.fingerprint, FACT, TRACE)
        await bob.event("error", where="journal", error="MailboxFullError")
        await until(lambda: session.state == "closed")
        lane._writer._bounds = bounds
        await until(lambda: not bob.cip._links)
        await ada.cip.established(await ada.dial(bob))
        assert (await anext(bob.cip.inbox)).msg_id != delivery.msg_id
        await until(lambda: not ada.cip._peers[BOB.fingerprint].lane.state.outbox.entries)

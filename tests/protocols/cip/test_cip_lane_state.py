"""A peer's lane in a journal: rebuilt in whatever way, its state is the same bytes (TRUST-7, REP-2, JRN-7, JRN-17)."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from immutables import Map

from tests.protocols.cip.examples import ADA, BOB
from tests.protocols.cip.test_cip_lane import busy_life
from web4.actors.lane_writer import open_lane_writer
from web4.actors.rebuilding import rebuild
from web4.foundation.logic import replay
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.errors import CorruptJournalError
from web4.journal.event_types import EventRegistry
from web4.journal.lane import Lane
from web4.journal.opening import open_journal
from web4.journal.record import Snapshot
from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.cip.handshake import HandshakeStep
from web4.protocols.cip.lane import LOGIC_VERSION, PEER_EVENTS, decode_state, encode_state
from web4.protocols.cip.outbox.entries import MessageSettled, MessageTaken
from web4.protocols.cip.peer_logic import PeerLogic
from web4.protocols.cip.peer_state import IdHeard, PeerState, Rest, Rested
from web4.protocols.cip.replay import Heard, ReplayLimits, ReplayWindow
from web4.protocols.decisions import DecisionRecord
from web4.trust import Anchored, ManualOverride, TrustEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.journal.journal import Journal
    from web4.protocols.cip.peer_state import PeerCommand, PeerEvent

LANE = Lane("peer", ADA.fingerprint)


@asynccontextmanager
async def opened(store: MemoryStore) -> AsyncIterator[Journal]:
    async with (
        open_memory(store) as backend,
        open_journal(backend, registry=EventRegistry(PEER_EVENTS)) as journal,
    ):
        yield journal


def commands_of(recorded: list[tuple[str, PeerCommand]]) -> list[PeerCommand]:
    """What Bob's lane of Ada is told in a busy life, and what comes of it later."""
    busy_life()
    commands = [command for of, command in recorded if of == ADA.fingerprint]
    later = max(command.at_ms for command in commands) + 300_000
    return [
        *commands,
        Anchored(at_ms=1),
        ManualOverride(at_ms=2, human="ada", reason="a mistake"),
        Rest(at_ms=later),
    ]


async def test_rebuilt_byte_for_byte(recorded: list[tuple[str, PeerCommand]]) -> None:
    """TRUST-7: live, replayed, from every snapshot and after a restart: equal bytes after every append."""
    store, logic = MemoryStore(), peer_definition()
    async with opened(store) as journal:
        writer = await open_lane_writer(journal, LANE, logic)
        kinds = set()
        for command in commands_of(recorded):
            decision = writer.decide(command)
            kinds |= {type(event) for event in decision.events}
            await writer.durable()
            live = encode_state(writer.state)
            assert live == encode_state(writer.durable_state)
            assert live == encode_state((await rebuild(journal, LANE, logic)).state)
            assert decode_state(live) == writer.state
            if writer.snapshot_useful and len(kinds) % 2:
                await writer.snapshot()
        assert kinds == {
            TrustEvent,
            IdHeard,
            Rested,
            HandshakeStep,
            MessageTaken,
            MessageSettled,
            DecisionRecord,
        }
    async with opened(store) as journal:
        snapshot = (await journal.snapshots(LANE))[0]
        assert snapshot.logic_version == LOGIC_VERSION
        assert encode_state((await rebuild(journal, LANE, logic)).state) == live
        store.snapshots.clear()
        assert encode_state((await rebuild(journal, LANE, logic)).state) == live


async def test_compaction_changes_nothing(recorded: list[tuple[str, PeerCommand]]) -> None:
    """JRN-17b: with the lane's beginning taken away, at any record, the state is the same; so is what follows."""
    commands, logic = commands_of(recorded), peer_definition()
    chance = random.Random(7)
    async with opened(MemoryStore()) as journal:
        writer = await open_lane_writer(journal, LANE, logic)
        for command in commands:
            writer.decide(command)
        await writer.durable()
        live, whole = encode_state(writer.state), await journal.read(LANE)
    for at in sorted(chance.sample(range(1, len(whole)), 12)):
        async with opened(MemoryStore()) as journal:
            writer = await open_lane_writer(journal, LANE, logic)
            for command in commands:
                writer.decide(command)
            await writer.durable()
            records = await journal.read(LANE, limit=at)
            state = replay(logic.logic, [journal.registry.decode(one) for one in records])
            base = Snapshot.of(LANE, at, records[-1].hash, encode_state(state), LOGIC_VERSION)
            await journal.change(bases=[base])
            assert (await journal.head(LANE)).base_seq == at
            assert encode_state((await rebuild(journal, LANE, logic)).state) == live


async def test_bad_snapshot(recorded: list[tuple[str, PeerCommand]]) -> None:
    """JRN-7b: a damaged snapshot, or one of another logic, is passed over; a damaged base halts."""
    logic = peer_definition()
    store = MemoryStore()
    async with opened(store) as journal:
        writer = await open_lane_writer(journal, LANE, logic)
        for command in commands_of(recorded):
            writer.decide(command)
        await writer.durable()
        live = encode_state(writer.state)
        await writer.snapshot()
        (good,) = await journal.snapshots(LANE)
        for bad in (
            Snapshot.of(LANE, good.seq, good.record_hash, live, LOGIC_VERSION + 1),
            Snapshot.of(LANE, good.seq, good.record_hash, b'{"no":"state"}', LOGIC_VERSION),
            Snapshot.of(LANE, good.seq, bytes(32), live, LOGIC_VERSION),
        ):
            store.snapshots[LANE] = {good.seq: bad}
            assert encode_state((await rebuild(journal, LANE, logic)).state) == live
        await journal.change(bases=[Snapshot.of(LANE, good.seq, good.record_hash, b"{}", LOGIC_VERSION)])
        with pytest.raises(CorruptJournalError):
            await rebuild(journal, LANE, logic)


async def test_replay_needs_no_limits(recorded: list[tuple[str, PeerCommand]]) -> None:
    """An operator may change the clock skew: the same events still give the same state."""
    events: list[PeerEvent] = []
    first = PeerLogic()
    state = first.initial
    for command in commands_of(recorded):
        for event in first.decide(state, command).events:
            events.append(event)
            state = first.apply(state, event)
    for skew_ms in (1_000, 3_600_000):
        other = PeerLogic(replay=ReplayLimits(skew_ms=skew_ms, ids=10))
        assert encode_state(replay(other, events)) == encode_state(state)


def test_every_event_is_read_as_it_was_written(recorded: list[tuple[str, PeerCommand]]) -> None:
    """JRN-9a: registered whole, with a data class for every field, and one spelling."""
    registry = EventRegistry(PEER_EVENTS)
    logic = PeerLogic()
    state = logic.initial
    for command in commands_of(recorded):
        for event in logic.decide(state, command).events:
            one = registry.type_of(event)
            payload = registry.encode(event)
            read = registry.read(one.name, one.v, payload, where=None)  # type: ignore[arg-type]  # no error names it
            assert read == event
            assert registry.encode(read) == payload
            state = logic.apply(state, event)


keys = st.binary(min_size=16, max_size=32)
digests = st.binary(min_size=1, max_size=32)
arrivals = st.lists(st.tuples(keys, digests, digests, st.integers(0, 900_000)), max_size=60)


@given(arrivals, st.sampled_from([1_000, 120_000]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_window_has_one_spelling(heard: list[tuple[bytes, bytes, bytes, int]], skew_ms: int) -> None:
    """Whatever was heard, in whatever order of time: written, read and written again it is the same."""
    limits, window = ReplayLimits(skew_ms=skew_ms), ReplayWindow()
    for key, content, envelope, at_ms in heard:
        window = window.remembering(key, Heard(content, envelope), at_ms=at_ms, limits=limits)
    state = PeerState(replay=window)
    written = encode_state(state)
    assert decode_state(written) == state
    assert encode_state(decode_state(written)) == written
    rested = window.without_stale(2_000_000, limits)
    assert (len(rested), rested.forgot_ms) == (
        0,
        window.buckets[-1].ends_ms if window.buckets else rested.forgot_ms,
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"trust":{},"handshakes":{},"buckets":[{"ends_ms":0,"heard":{"16.32.32":"#"}}]}',
     b'{"trust":{},"handshakes":{},"buckets":[{"ends_ms":0,"heard":{"1.1.2":"AAAA"}}]}',
     b'{"trust":{},"handshakes":{},"buckets":[{"ends_ms":0,"heard":{"16.32":""}}]}',
     b'{"trust":{},"handshakes":{},"buckets":[],"more":1}'],
)  # fmt: skip
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_state(data)


def test_an_empty_lane_has_a_state() -> None:
    assert decode_state(encode_state(PeerState())) == PeerState()
    assert PeerState().handshakes == Map()
    assert BOB.fingerprint != ADA.fingerprint

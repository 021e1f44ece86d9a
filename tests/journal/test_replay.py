"""Replay: the same bytes come to the same states, in any process (JRN-22)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest

import web4
from tests.journal.ledger import (
    DEFINITION,
    DEFINITIONS,
    LANE,
    Charged,
    LedgerDefinition,
    LedgerLogic,
    Noted,
    Writer,
    opened,
    sequence,
    types,
)
from web4.foundation.digest import blake3_hex
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.bundle import BundleSource, Selector, export_bundle
from web4.journal.compaction import compact
from web4.journal.draft import NewEvent
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.lane import Lane
from web4.journal.own_events import OWN_EVENTS
from web4.journal.replay import Divergence, Outcome, replay, state_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.journal.journal import Journal

ORDERS = ("place a", "start a", "charge a e1", "conclude e1", "finish a", "place b", "charge b e2", "note")


def registry() -> EventRegistry:
    return EventRegistry([*types(), *OWN_EVENTS])


async def filled(journal: Journal) -> Writer:
    writer = Writer(journal)
    for command in sequence(*ORDERS):
        await writer.handle(command)
    return writer


OFFLINE = """
import sys, socket, time, random, os

def gone(*_, **__):
    raise AssertionError("replay reached for the world")

import trio
from tests.journal.ledger import DEFINITIONS
from tests.journal.test_replay import registry
from web4.journal.bundle import BundleSource
from web4.journal.replay import replay

source = BundleSource(sys.argv[1])
run = replay(source, DEFINITIONS, registry())
# Replay of a bundle awaits nothing that is not there: it is driven without a loop, a clock or a socket.
socket.socket = os.urandom = time.time = time.monotonic = time.time_ns = time.monotonic_ns = gone
random.random = random.Random = gone
try:
    run.send(None)
except StopIteration as end:
    print(end.value.digest, end.value.lanes[0].outcomes_digest)
"""


def offline(bundle: Path, seed: str) -> str:
    """The digests of a bundle, in a process of its own with network, clock and randomness removed."""
    package = Path(web4.__file__).parent.parent
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(bundle)],
        env={**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{root}", "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("compacted", [False, True])
async def test_replay_twice(tmp_path: Path, compacted: bool) -> None:
    """Scenario 25: in process, read-only, and of a bundle elsewhere: the same digests."""
    store = MemoryStore()
    async with opened(store) as journal:
        writer = await filled(journal)
        if compacted:
            await compact(journal, LANE, seq=5, definition=DEFINITION)
        first = await replay(journal.backend, DEFINITIONS, journal.registry)
        assert await replay(journal.backend, DEFINITIONS, journal.registry) == first
        (lane,) = first.lanes
        assert (lane.lane, lane.seq, lane.stopped) == (LANE, 8, None)
        assert lane.begun_at == (5 if compacted else 0)
        assert lane.digest == blake3_hex(DEFINITION.encode(writer.state))
        assert lane.outcomes == (() if compacted else (Outcome(5, "order.done", "a"),))
        assert lane.versions["noted"] == lane.versions["logic"] == 1
        await export_bundle(journal, Selector(), tmp_path / "b")
    async with open_memory(store, read_only=True) as reader:
        assert await replay(reader, DEFINITIONS, registry()) == first
    bundled = await replay(BundleSource(tmp_path / "b"), DEFINITIONS, registry())
    assert bundled == first
    told = offline(tmp_path / "b", "1" if compacted else "2")
    assert told == f"{first.digest} {lane.outcomes_digest}"


async def test_until_and_lane() -> None:
    async with opened() as journal:
        await filled(journal)
        other = Lane("session", "other")
        await journal.append(other, [NewEvent(Noted("x"), 1)], expected_seq=0)
        both = await replay(journal.backend, DEFINITIONS, journal.registry)
        assert [one.lane for one in both.lanes] == [LANE, other]
        early = await replay(journal.backend, DEFINITIONS, journal.registry, lane=LANE, until=4)
        (lane,) = early.lanes
        assert (lane.seq, lane.outcomes_count) == (4, 0)
        state = await state_at(journal.backend, DEFINITION, journal.registry, LANE, 4)
        assert state.state_hash.hex() == lane.digest
        empty = await replay(journal.backend, DEFINITIONS, journal.registry, lane=Lane("session", "none"))
        assert empty.lanes[0].digest == blake3_hex(DEFINITION.encode(DEFINITION.logic.initial))
        nothing = await replay(journal.backend, {}, journal.registry)
        assert nothing.lanes == ()


async def test_snapshots_that_say_otherwise_are_divergences() -> None:
    """A logic that was changed without a new version is found by the snapshots that it took before."""

    class Changed(LedgerLogic):
        def apply(self, state: Any, event: Any) -> Any:
            after = super().apply(state, event)
            if isinstance(event, Charged):
                return msgspec.structs.replace(after, epoch=after.epoch + 7)
            return after

    class ChangedDefinition(LedgerDefinition):
        logic = Changed()

    class Renumbered(ChangedDefinition):
        version = 2

    async with opened() as journal:
        writer = await filled(journal)
        await writer.snapshot()
        sound = await replay(journal.backend, DEFINITIONS, journal.registry)
        assert (sound.divergences, sound.divergences_count) == ((), 0)
        found = await replay(journal.backend, {"session": ChangedDefinition()}, journal.registry)
        assert found.divergences == (Divergence(LANE, 8, "the snapshot there has another state"),)
        newer = await replay(journal.backend, {"session": Renumbered()}, journal.registry)
        assert newer.divergences == ()


async def test_decisions_are_compared_by_who_knows_the_commands() -> None:
    """JRN-22a: the door for recomputing `decide`; here the check knows that notes are always `t`."""
    seen = []

    def check(lane: Lane, state: Any, record: Any, event: Any) -> str | None:
        seen.append((lane, state.version, record.seq))
        return "it says something else" if event == Noted("u") else None

    async with opened() as journal:
        writer = await filled(journal)
        await writer.handle(sequence("note", text="u")[0])
        found = await replay(journal.backend, DEFINITIONS, journal.registry, check=check)
        assert found.divergences == (Divergence(LANE, 9, "it says something else"),)
        assert seen == [(LANE, seq - 1, seq) for seq in range(1, 10)]


async def test_a_lane_that_cannot_be_replayed_says_where() -> None:
    store = MemoryStore()

    class Alien(msgspec.Struct, frozen=True):
        x: int

    alien = EventType(name="alien", struct=Alien, classes={"x": "retainable"})
    async with opened(store) as journal:
        await filled(journal)
        journal.registry.register(alien)
        bad = Lane("session", "bad")
        await journal.append(bad, [NewEvent(Noted("x"), 1), NewEvent(Alien(1), 2)], expected_seq=0)
        wrong = Lane("session", "wrong")
        await journal.append(wrong, [NewEvent(Charged("e9", "ok"), 1)], expected_seq=0)
        result = await replay(journal.backend, DEFINITIONS, journal.registry)
        told = {str(one.lane): (one.seq, one.digest is None, one.stopped) for one in result.lanes}
        assert told[str(LANE)] == (8, False, None)
        assert told["session:bad"][:2] == (1, True)
        assert "future_event" in str(told["session:bad"][2])
        assert told["session:wrong"][:2] == (0, True)
        assert "KeyError" in str(told["session:wrong"][2])
    rows = store.lanes[LANE].rows
    rows[3] = rows[3]._replace(payload=(rows[3].payload or b"") + b" ")
    async with open_memory(store, read_only=True) as reader:
        (lane,) = (await replay(reader, DEFINITIONS, registry(), lane=LANE)).lanes
        assert (lane.seq, lane.digest) == (0, None)
        assert f"{LANE} 4" in str(lane.stopped)


async def test_a_redacted_bundle_is_not_replayed_as_if_it_were_whole(tmp_path: Path) -> None:
    async with opened() as journal:
        await filled(journal)
        await export_bundle(journal, Selector(command="a"), tmp_path / "b")
    (lane,) = (await replay(BundleSource(tmp_path / "b"), DEFINITIONS, registry())).lanes
    assert (lane.seq, lane.digest) == (3, None)
    assert "payload" in str(lane.stopped)


async def test_a_base_of_an_older_logic_is_carried_along() -> None:
    """JRN-7c, JRN-9d: by its upcasters; without a way the lane cannot be replayed."""

    class Second(LedgerDefinition):
        version = 2
        upcasters: ClassVar[Mapping[int, Any]] = {1: lambda state: {**state, "epoch": 100}}

    class Third(LedgerDefinition):
        version = 3
        upcasters: ClassVar[Mapping[int, Any]] = {1: Second.upcasters[1]}

    async with opened() as journal:
        writer = await filled(journal)
        await compact(journal, LANE, seq=5, definition=DEFINITION)
        (lane,) = (await replay(journal.backend, {"session": Second()}, journal.registry)).lanes
        expected = msgspec.structs.replace(writer.state, epoch=101)
        assert lane.digest == blake3_hex(DEFINITION.encode(expected))
        (lane,) = (await replay(journal.backend, {"session": Third()}, journal.registry)).lanes
        assert "base snapshot" in str(lane.stopped)


async def test_a_bundle_of_many_records_is_read_in_pieces(tmp_path: Path) -> None:
    async with opened() as journal:
        writer = Writer(journal)
        await writer.notes(2_500)
        await journal.append(Lane("human", "ann"), [NewEvent(Noted("x"), 1)], expected_seq=0)
        await export_bundle(journal, Selector(), tmp_path / "b")
        source = BundleSource(tmp_path / "b")
        for after, limit in ((0, 10), (999, 1), (1_000, 5), (1_990, 100), (2_499, 10), (2_500, 10)):
            expected = [one.seq for one in await journal.read(LANE, after=after, limit=limit)]
            assert [one.seq for one in await source.read(LANE, after=after, limit=limit)] == expected
        result = await replay(source, DEFINITIONS, registry())
        assert result.lanes[0].digest == blake3_hex(DEFINITION.encode(writer.state))
        assert json.loads(msgspec.json.encode(result))["lanes"][0]["seq"] == 2_500


async def test_a_snapshot_beyond_erased_payloads_follows_the_logic() -> None:
    """JRN-16a: it stands for what was erased; nothing else can be built there any more."""

    class Second(LedgerDefinition):
        version = 2
        upcasters: ClassVar[Mapping[int, Any]] = {1: lambda state: {**state, "epoch": 100}}

    async with opened() as journal:
        writer = await filled(journal)
        await writer.snapshot()
        await writer.handle(sequence("note")[0])
        await journal.change(erasures=[(LANE, 8)])
        (lane,) = (await replay(journal.backend, {"session": Second()}, journal.registry)).lanes
        assert (lane.begun_at, lane.stopped) == (8, None)
        expected = msgspec.structs.replace(writer.state, epoch=101)
        assert lane.digest == blake3_hex(DEFINITION.encode(expected))

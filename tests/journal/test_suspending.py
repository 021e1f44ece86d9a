"""What a journal says and does while its store fails: it stays truthful, and comes back by itself (JRN-15)."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.journal.arrange import NOTED, ONE, THREE, TWO, Bench, note, texts, types
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import Fault, MemoryStore, RandomFaults, open_memory
from web4.journal.errors import CorruptJournalError, JournalUnavailable, NotWriterError, WrongExpectedSeq
from web4.journal.event_types import EventRegistry
from web4.journal.journal import Append
from web4.journal.lane import SERVER, Lane
from web4.journal.opening import open_journal
from web4.journal.record import Snapshot

if TYPE_CHECKING:
    from web4.journal.backends.memory import FaultKind
    from web4.journal.journal import Journal


@pytest.mark.parametrize("kind", ["not_committed", "no_space"])
async def test_suspended_and_back(kind: FaultKind, autojump_clock: trio.testing.MockClock) -> None:
    """JRN-15a, c, f: appends wait on, attempts come ever more slowly, reading goes on, and `server` is told."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(0)], expected_seq=0)
        bench.faults.plan("commit", kind, times=8)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(journal.append, ONE, [note(1)], expected_seq=1))
            nursery.start_soon(partial(journal.append, TWO, [note(1)], expected_seq=0))
            await trio.sleep(1)
            assert journal.health()["state"] == "suspended"
            assert await texts(journal, ONE) == ["0"]
            nursery.start_soon(partial(journal.append, THREE, [note(1)], expected_seq=0))
        waited = 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 5 + 5
        assert trio.current_time() - began == pytest.approx(waited)
        assert journal.state == "ready"
        assert [await texts(journal, lane) for lane in (ONE, TWO, THREE)] == [["0", "1"], ["1"], ["1"]]
        record = await journal.follow(SERVER).__anext__()
        event = journal.registry.decode(record)
        assert (event.suspended_ms, event.retries) == (round(waited * 1000), 8)
        assert [name for name, _ in bench.emitted.seen] == [
            "journal_opened",
            "journal_suspended",
            "journal_resumed",
        ]
        # The next time it begins with a short pause again.
        began = trio.current_time()
        bench.faults.plan("commit", kind)
        await journal.append(ONE, [note(2)], expected_seq=2)
        assert trio.current_time() - began == pytest.approx(0.1)


@pytest.mark.parametrize("kind", ["reply_lost", "unknown", "torn"])
@pytest.mark.parametrize("again", [0, 3])
async def test_an_unknown_outcome_is_read_back(
    kind: FaultKind, again: int, autojump_clock: trio.testing.MockClock
) -> None:
    """JRN-15b, d, JRN-4b: the caller is answered when the truth is known; nothing is there twice or by half."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(0)], expected_seq=0)
        bench.faults.plan("commit", kind)
        bench.faults.plan("recover", "not_committed", times=again)
        batch = [Append(ONE, [note(1), note(2)], 1), Append(TWO, [note(3)], 0)]
        one, two = await journal.append_batch(batch)
        assert (one[:2], two[:2]) == ((2, 3), (1, 1))
        assert bench.faults.attempts["recover"] == 1 + again
        assert bench.faults.attempts["commit"] == 2 + (kind != "reply_lost")
        assert await texts(journal, ONE) == ["0", "1", "2"]
        await trio.testing.wait_all_tasks_blocked()
        assert await types(journal, SERVER) == ["journal.resumed"]
        assert journal.state == "ready"
    async with bench.journal() as journal:
        assert await texts(journal, TWO) == ["3"]
        assert bench.store.torn == (kind == "torn")


async def test_a_lane_that_cannot_be_owned_yet(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-15a: the connection is lost before the first write."""
    bench = Bench()
    async with bench.journal() as journal:
        bench.faults.plan("own", "not_committed", times=2)
        await journal.append(ONE, [note(0)], expected_seq=0)
        await trio.testing.wait_all_tasks_blocked()
        assert await types(journal, SERVER) == ["journal.resumed"]


async def test_suspended_with_nothing_left_to_write(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-15f: what waited was refused for good; the journal is ready all the same, or nothing would be admitted."""
    bench = Bench()
    async with bench.journal() as journal:
        bench.faults.plan("own", "not_committed", times=2)
        with pytest.raises(WrongExpectedSeq):
            await journal.append(ONE, [note(0)], expected_seq=7)
        await trio.testing.wait_all_tasks_blocked()
        assert journal.state == "ready"
        assert await types(journal, SERVER) == ["journal.resumed"]


async def test_a_lane_lost_while_suspended(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-15a, JRN-24b: another node takes the lane meanwhile; its caller is told, and the others are written."""
    store = MemoryStore(ids=SeededIds("shared"), shared=True)
    bench = Bench(store=store)
    async with open_memory(store) as rival, bench.journal() as journal:
        await journal.append(ONE, [note(0)], expected_seq=0)
        await journal.append(TWO, [note(0)], expected_seq=0)
        bench.faults.plan("commit", "not_committed", times=3)
        refused: list[Exception] = []

        async def lose() -> None:
            try:
                await journal.append(ONE, [note(1)], expected_seq=1)
            except NotWriterError as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            nursery.start_soon(partial(journal.append, TWO, [note(1)], expected_seq=1))
            await trio.sleep(0.05)
            store.owners[ONE] = rival.boot
        assert [getattr(error, "lane", None) for error in refused] == [ONE]
        assert await texts(journal, ONE) == ["0"]
        assert await texts(journal, TWO) == ["0", "1"]
        await trio.testing.wait_all_tasks_blocked()
        assert journal.state == "ready"


async def test_closing_while_suspended(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-15d: what certainly was not written is said so at once; nothing of it is there."""
    bench, told = Bench(), []

    async def append(journal: Journal, lane: Lane) -> None:
        try:
            await journal.append(lane, [note(1)], expected_seq=0)
        except JournalUnavailable as error:
            told.append(error.code)

    async with trio.open_nursery() as nursery:
        async with bench.journal() as journal:
            bench.faults.plan("commit", "not_committed", times=1_000)
            for lane in (ONE, TWO):
                nursery.start_soon(append, journal, lane)
                await trio.sleep(10)
            began = trio.current_time()
        assert trio.current_time() == began
    assert told == ["closed"] * 2
    bench.faults.clear()
    async with bench.journal() as journal:
        assert await texts(journal, ONE) == await texts(journal, TWO) == []


async def test_everybody_is_told_by_an_error_of_their_own(autojump_clock: trio.testing.MockClock) -> None:
    """DESIGN: one error that many raise would collect all their tracebacks, and keep their tasks alive."""
    bench = Bench()
    errors: list[JournalUnavailable] = []

    async def append(journal: Journal, number: int) -> None:
        with pytest.raises(JournalUnavailable) as caught:
            await journal.append(Lane("session", f"s{number}"), [note(1)], expected_seq=0)
        errors.append(caught.value)

    async with trio.open_nursery() as nursery, bench.journal() as journal:
        bench.faults.plan("commit", "not_committed", times=1_000)
        for number in range(50):
            nursery.start_soon(append, journal, number)
        await trio.sleep(10)
    assert {one.code for one in errors} == {"closed"}
    assert len({id(one) for one in errors}) == 50


async def test_closing_beside_a_repetition(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-4d, JRN-15d: what is there already is told, though what came with it cannot be written."""
    bench = Bench()
    told: list[int | str] = []

    async def append(journal: Journal, lane: Lane) -> None:
        try:
            told.append((await journal.append(lane, [note(1)], expected_seq=0)).last_seq)
        except JournalUnavailable as error:
            told.append(error.code)

    async with trio.open_nursery() as nursery, bench.journal() as journal:
        await append(journal, ONE)
        bench.faults.plan("commit", Fault("not_committed", delay=1))
        nursery.start_soon(append, journal, THREE)
        await trio.sleep(0.5)
        nursery.start_soon(append, journal, ONE)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(append, journal, TWO)
        bench.faults.plan("own", "not_committed", times=1_000)
        await trio.sleep(10)
    assert sorted(told, key=str) == [1, 1, 1, "closed"]


@pytest.mark.parametrize("kind", ["reply_lost", "unknown"])
async def test_closing_while_the_outcome_is_unknown(
    kind: FaultKind, autojump_clock: trio.testing.MockClock
) -> None:
    """JRN-5e, JRN-15b, d: nobody is told that it failed, nobody that it succeeded."""
    bench, told = Bench(), []

    async def append(journal: Journal) -> None:
        try:
            await journal.append(ONE, [note(1)], expected_seq=0)
        except JournalUnavailable as error:
            told.append(error.code)

    async with trio.open_nursery() as nursery, bench.journal() as journal:
        bench.faults.plan("commit", kind)
        bench.faults.plan("recover", "not_committed", times=1_000)
        nursery.start_soon(append, journal)
        await trio.sleep(10)
    assert told == ["outcome_unknown"]
    bench.faults.clear()
    async with bench.journal() as journal:
        assert await texts(journal, ONE) == (["1"] if kind == "reply_lost" else [])


async def test_a_store_found_damaged_when_it_is_read_back(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-15b, d, g: the journal has failed; the caller is told that nobody knows, for its batch may be there."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(0)], expected_seq=0)
        bench.faults.plan("commit", "reply_lost")

        async def damaged(_: object) -> int | None:
            raise CorruptJournalError("damaged", code="chain_broken")

        journal.backend.recover = damaged  # type: ignore[assignment]
        with pytest.raises(JournalUnavailable) as caught:
            await journal.append(ONE, [note(1)], expected_seq=1)
        assert caught.value.code == "outcome_unknown"
        assert journal.health()["state"] == "failed"
        assert await texts(journal, ONE) == ["0", "1"]
        with pytest.raises(JournalUnavailable) as caught:
            await journal.append(ONE, [note(2)], expected_seq=2)
        assert caught.value.code == "failed"
        assert len(bench.emitted.named("journal_failed")) == 1


async def test_closing_while_a_commit_hangs(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-5e: closing waits `close_seconds`; whoever waits outside is told that nobody knows."""
    told: list[str] = []

    async def append(journal: Journal, lane: Lane) -> None:
        try:
            await journal.append(lane, [note(1)], expected_seq=0)
        except JournalUnavailable as error:
            told.append(error.code)

    class Hangs:
        """A backend whose commit hangs until it is cancelled, as a connection may."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def commit(self, commit: object) -> int:
            await trio.sleep_forever()
            raise AssertionError

    async with trio.open_nursery() as nursery, open_memory() as backend:
        began = trio.current_time()
        async with open_journal(Hangs(backend), registry=EventRegistry([NOTED])) as journal:
            nursery.start_soon(append, journal, ONE)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(append, journal, TWO)
            await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() - began == pytest.approx(5)
    assert sorted(told) == ["closed", "outcome_unknown"]


async def test_a_backend_that_breaks_its_contract() -> None:
    """DESIGN: an error that no backend may raise ends the journal, and nobody waits for ever."""
    bench, told = Bench(), []

    async def append(journal: Journal) -> None:
        try:
            await journal.append(ONE, [note(1)], expected_seq=0)
        except JournalUnavailable as error:
            told.append(error.code)

    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery, bench.journal() as journal:

            async def broken(_: object) -> int:
                raise RuntimeError("no backend raises this")

            journal.backend.commit = broken  # type: ignore[assignment]
            nursery.start_soon(append, journal)
            await trio.sleep_forever()
    assert told == ["outcome_unknown"]


async def test_snapshots_and_blobs_that_cannot_be_stored() -> None:
    """JRN-7b, JRN-8b: a snapshot is a convenience; a blob has to be durable before its event, so that is told."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(0)], expected_seq=0)
        head = await journal.head(ONE)
        bench.faults.plan("put_snapshot", "no_space")
        await journal.put_snapshot(Snapshot.of(ONE, 1, head.hash, b"{}", 1))
        assert await journal.snapshots(ONE) == []
        assert [one["lane"] for one in bench.emitted.named("snapshot_failed")] == ["session:one"]
        bench.faults.plan("put_blob", "no_space")
        with pytest.raises(JournalUnavailable) as caught:
            await journal.put_blob(b"x")
        assert caught.value.code == "suspended"
        assert await journal.get_blob(await journal.put_blob(b"x")) == b"x"


@pytest.mark.parametrize("seed", range(2))
async def test_failed_write_no_gap(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    """Scenario 4, JRN-1d: 100 random write failures among 1 000 appends; numbers 1 to n, every reply true."""
    print("seed", seed)
    bench, draw = Bench(), random.Random(seed)
    lanes = [ONE, TWO, THREE]
    faults = RandomFaults(seed, rate=0.2, longest_delay=0.01)
    said: dict[Lane, dict[int, str]] = {lane: {} for lane in lanes}

    async def write(journal: Journal, lane: Lane, count: int) -> None:
        for number in range(count):
            text = f"{lane} {number}"
            appended = await journal.append(lane, [note(text)], expected_seq=number)
            assert appended[:2] == (number + 1, number + 1)
            said[lane][number + 1] = text
            if draw.random() < 0.2:
                await trio.sleep(draw.random() * 0.1)

    async with bench.journal(faults=faults) as journal, trio.open_nursery() as nursery:
        for lane in lanes:
            nursery.start_soon(write, journal, lane, 334)
    assert sum(faults.met.values()) >= 100, faults.met
    async with bench.journal() as journal:
        assert not journal.halted
        for lane in lanes:
            assert dict(enumerate(await texts(journal, lane), 1)) == said[lane]
            assert len(said[lane]) == 334


async def test_a_delayed_commit_holds_up_no_reader(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-6d: records are seen when they are committed, and reading goes on meanwhile."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(0)], expected_seq=0)
        bench.faults.plan("commit", Fault(delay=3_600))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(journal.append, ONE, [note(1)], expected_seq=1))
            await trio.sleep(1_000)
            assert await texts(journal, ONE) == ["0"]
            assert journal.state == "ready"
        assert await texts(journal, ONE) == ["0", "1"]

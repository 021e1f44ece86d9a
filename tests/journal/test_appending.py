"""Appending: expected heads, batches, repetition, group commit, bounds (JRN-1, JRN-2, JRN-4, JRN-5)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from tests.journal.arrange import ONE, THREE, TWO, Bench, note, texts, types
from web4.foundation.identity import Identity
from web4.journal.backends.memory import Fault
from web4.journal.errors import (
    InvalidEventError,
    JournalUnavailable,
    LaneHalted,
    NotWriterError,
    WrongExpectedSeq,
)
from web4.journal.journal import Append, NewEvent
from web4.journal.lane import SERVER, Lane
from web4.journal.record import Appended, Snapshot
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from web4.journal.journal import Journal


async def test_expected_sequence_race() -> None:
    """Scenario 3, JRN-4a: of 64 callers with one expected number one succeeds, 63 learn the same actual head."""
    bench, won, actual = Bench(), [], []

    async def call(journal: Journal, caller: int) -> None:
        try:
            won.append(await journal.append(ONE, [note(caller), note(caller)], expected_seq=1))
        except WrongExpectedSeq as error:
            actual.append((error.lane, error.expected, error.actual))

    async with bench.journal() as journal:
        await journal.append(ONE, [note("first")], expected_seq=0)
        async with trio.open_nursery() as nursery:
            for caller in range(64):
                nursery.start_soon(call, journal, caller)
        assert [one[:2] for one in won] == [(2, 3)]
        assert actual == [(ONE, 1, 3)] * 63
        assert len(await texts(journal, ONE)) == 3


async def test_a_commit_gathers_what_waits() -> None:
    """JRN-5a: while one commit is under way requests gather; the next takes all of them."""
    bench, gate = Bench(), trio.Event()
    bench.faults.plan("commit", Fault(until=gate))
    async with bench.journal() as journal:
        async with trio.open_nursery() as nursery:
            for number in range(200):
                lane = Lane("session", f"s{number}")
                nursery.start_soon(partial(journal.append, lane, [note(number)], expected_seq=0))
            await trio.testing.wait_all_tasks_blocked()
            assert bench.faults.attempts["commit"] == 1
            gate.set()
        # The first took what was there when it began, the second all of the rest.
        assert bench.faults.attempts["commit"] <= 2
        stats = await journal.stats()
        assert stats["records_written"] == 200
        assert stats["store"]["records"] == 200


@pytest.mark.parametrize(
    ("limits", "largest"), [({"commit_records": 10}, 10), ({"commit_bytes": 100}, 7), ({}, 99)]
)
async def test_a_commit_has_bounds(limits: dict[str, Any], largest: int) -> None:
    """JRN-5a: at most so many records or bytes; what is left goes into the next."""
    bench, gate = Bench(), trio.Event()
    bench.faults.plan("commit", Fault(until=gate))
    async with bench.journal(**limits) as journal, trio.open_nursery() as nursery:
        nursery.start_soon(partial(journal.append, TWO, [note("x")], expected_seq=0))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(99):
            nursery.start_soon(
                partial(journal.append, Lane("session", f"s{number}"), [note("xx")], expected_seq=0)
            )
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        sizes: dict[int, int] = {}
        for record in await journal.backend.scan():
            sizes[record.commit] = sizes.get(record.commit, 0) + 1
        assert sum(sizes.values()) == 100
        assert max(sizes.values()) == largest == (await journal.stats())["largest_commit"]


async def test_a_large_batch_goes_alone() -> None:
    """JRN-4b, JRN-5a: a batch beyond the bounds of a commit is not cut."""
    bench = Bench()
    async with bench.journal(commit_records=4, batch_records=50) as journal:
        await journal.append(ONE, [note(n) for n in range(50)], expected_seq=0)
        assert {one.commit for one in await journal.read(ONE)} == {1}
        with pytest.raises(InvalidEventError, match="51 records"):
            await journal.append(ONE, [note(n) for n in range(51)], expected_seq=50)


async def test_two_appends_of_one_lane_in_one_commit() -> None:
    """JRN-4a: a caller may decide on what is not durable yet, as long as it becomes so first."""
    bench, gate = Bench(), trio.Event()
    bench.faults.plan("commit", Fault(until=gate))
    async with bench.journal() as journal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(journal.append, TWO, [note("before")], expected_seq=0))
            await trio.testing.wait_all_tasks_blocked()
            for number in range(5):
                nursery.start_soon(partial(journal.append, ONE, [note(number)], expected_seq=number))
                await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert await texts(journal, ONE) == list("01234")
        assert {one.commit for one in await journal.read(ONE)} == {2}


async def test_a_batch_over_lanes() -> None:
    """JRN-4c: all lanes grow, or none; each lane is named once."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(TWO, [note(0)], expected_seq=0)
        with pytest.raises(WrongExpectedSeq) as caught:
            await journal.append_batch([Append(ONE, [note(1)], 0), Append(TWO, [note(1)], 0)])
        assert (caught.value.lane, caught.value.actual) == (TWO, 1)
        assert await texts(journal, ONE) == []
        done = await journal.append_batch([Append(TWO, [note(1), note(2)], 1), Append(ONE, [note(1)], 0)])
        assert [one[:2] for one in done] == [(2, 3), (1, 1)]
        assert len({one.commit for lane in (ONE, TWO) for one in (await journal.read(lane))[-1:]}) == 1
        for bad in ([], [Append(ONE, [note(1)], 1), Append(ONE, [note(2)], 2)], [Append(ONE, [], 1)]):
            with pytest.raises(InvalidEventError):
                await journal.append_batch(bad)


async def test_a_repeated_append() -> None:
    """JRN-4d: it reports the original success, also while the first one is still under way."""
    bench, gate = Bench(), trio.Event()
    bench.faults.plan("commit", Fault(until=gate))
    answers: list[Appended] = []
    events = [note("a", cause=(SERVER, 3), principal="me", refs=(("command", "c"),)), note("b", START_MS - 9)]

    async def append(journal: Journal) -> None:
        answers.append(await journal.append(ONE, events, expected_seq=0))

    async with bench.journal() as journal:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(append, journal)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(append, journal)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []
            gate.set()
        assert len(set(answers)) == 1
        assert await texts(journal, ONE) == ["a", "b"]
        others = [
            [note("a"), events[1]],
            [events[0], note("b", START_MS + 9)],
            [events[0], note("b", principal="you")],
        ]
        for other in others:
            with pytest.raises(WrongExpectedSeq):
                await journal.append(ONE, other, expected_seq=0)
        assert len(await journal.read(ONE)) == 2


async def test_a_repeated_append_behind_a_base() -> None:
    """JRN-4d, JRN-17b: the time that the record was raised to may come from one that was compacted away."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note("a", START_MS + 50)], expected_seq=0)
        once = await journal.append(ONE, [note("b", START_MS)], expected_seq=1)
        (first,) = await journal.read(ONE, limit=1)
        await journal.change(bases=[Snapshot.of(ONE, 1, first.hash, b"{}", 1)])
        assert await journal.append(ONE, [note("b", START_MS)], expected_seq=1) == once
        with pytest.raises(WrongExpectedSeq):
            await journal.append(ONE, [note("b", START_MS + 51)], expected_seq=1)


async def test_a_repeated_append_to_server() -> None:
    """JRN-4d: what the journal itself said on `server`, before and after, makes no repetition fail."""
    bench, identity = Bench(), Identity.from_seed(bytes(32))
    async with bench.journal(identity=identity) as journal:
        await journal.append(SERVER, [note("a")], expected_seq=0)
    async with bench.journal(identity=identity) as journal:
        once = await journal.append(SERVER, [note("b"), note("c")], expected_seq=1)
        assert once[:2] == (3, 4)
    async with bench.journal(identity=identity) as journal:
        assert await types(journal, SERVER) == [
            "test.noted",
            "journal.anchored",
            "test.noted",
            "test.noted",
            "journal.anchored",
        ]
        for expected in (1, 2):
            assert await journal.append(SERVER, [note("b"), note("c")], expected_seq=expected) == once
        for events, expected in (
            ([note("b"), note("x")], 1),
            ([note("c")], 1),
            ([note("b"), note("c")], 0),
            ([note("b"), note("c")], 3),
        ):
            with pytest.raises(WrongExpectedSeq):
                await journal.append(SERVER, events, expected_seq=expected)
        assert len(await journal.read(SERVER)) == 5


async def test_own_records_on_server_are_transparent() -> None:
    """JRN-3f, JRN-4a: the writer of `server` and the journal share the lane; nobody else's record is passed over."""
    bench, identity = Bench(), Identity.from_seed(bytes(32))
    for expected in (0, 1, 3):
        async with bench.journal(identity=identity) as journal:
            await journal.append(SERVER, [note(expected)], expected_seq=expected)
            with pytest.raises(WrongExpectedSeq):
                await journal.append(SERVER, [note("late")], expected_seq=expected)
    async with bench.journal(identity=identity) as journal:
        # Its expected number may be that of its own last record, or of any record of the journal's own behind it.
        assert (await journal.head(SERVER)).seq == 6
        with pytest.raises(WrongExpectedSeq):
            await journal.append(SERVER, [note("too old")], expected_seq=4)
        await journal.append(SERVER, [note("on the journal's own")], expected_seq=6)
        assert await texts(journal, SERVER) == ["0", "1", "3", "on the journal's own"]


async def test_time_never_goes_back() -> None:
    """JRN-2: `at` is raised to that of the record before, within a batch, between batches, and over restarts."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(1, 50), note(2, 40), note(3, 60)], expected_seq=0)
    async with bench.journal() as journal:
        await journal.append(ONE, [note(4, 10), note(5, 70)], expected_seq=3)
        assert [one.at for one in await journal.read(ONE)] == [50, 50, 60, 60, 70]
        assert (await journal.head(ONE)).at == 70
        await journal.append(TWO, [note(1, -5)], expected_seq=0)
        assert (await journal.read(TWO))[0].at == -5


class Unknown(msgspec.Struct, frozen=True):
    text: str


async def test_what_is_refused_before_anything_is_queued() -> None:
    """JRN-4e, JRN-2: unregistered types, large payloads, headers that do not fit; nothing of the batch is written."""
    bench = Bench()
    bad: list[tuple[NewEvent, str]] = [
        (NewEvent(Unknown("x"), 0), "unregistered"),
        (note("x" * 300_000), "payload_too_large"),
        (note("\ud800"), "not_canonical"),
        (note("x", 2**53), "event"),
        (note("x", principal=""), "event"),
        (note("x", principal="p" * 257), "event"),
        (note("x", principal="\ud800"), "event"),
        (note("x", refs=tuple((f"k{n}", "v") for n in range(9))), "event"),
        (note("x", refs=(("k", ""),)), "event"),
    ]
    async with bench.journal() as journal:
        for event, code in bad:
            with pytest.raises(InvalidEventError) as caught:
                await journal.append(ONE, [note("fine"), event], expected_seq=0)
            assert caught.value.code == code
        assert await texts(journal, ONE) == []
        assert "commit" not in bench.faults.attempts
        await journal.append(ONE, [note("fine")], expected_seq=0)


async def test_what_waits_is_bounded() -> None:
    """JRN-15e, DESIGN: beyond the bound an append is refused at once as busy, and nothing of it is written."""
    bench, gate = Bench(), trio.Event()
    bench.faults.plan("commit", Fault(until=gate))
    async with bench.journal(waiting_records=5, waiting_bytes=1_000) as journal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(journal.append, ONE, [note(0)], expected_seq=0))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(partial(journal.append, TWO, [note(n) for n in range(4)], expected_seq=0))
            await trio.testing.wait_all_tasks_blocked()
            for lane, events in ((ONE, [note(1), note(2)]), (THREE, [note("x" * 970)])):
                with pytest.raises(JournalUnavailable) as caught:
                    await journal.append(lane, events, expected_seq=0)
                assert caught.value.code == "busy"
                assert caught.value.retry_after_ms
            assert journal.health()["waiting"] == 1
            gate.set()
        assert len(await texts(journal, TWO)) == 4
        await journal.append(THREE, [note("there is room again")], expected_seq=0)


async def test_cancelling_does_not_undo() -> None:
    """JRN-5e: the caller that was cancelled reads the lane, or repeats; the append happens all the same."""
    bench, gate = Bench(), trio.Event()
    bench.faults.plan("commit", Fault(until=gate))
    async with bench.journal() as journal:
        async with trio.open_nursery() as nursery:
            for lane in (ONE, TWO):
                nursery.start_soon(partial(journal.append, lane, [note("kept")], expected_seq=0))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        gate.set()
        for lane in (ONE, TWO):
            assert (await journal.append(lane, [note("kept")], expected_seq=0))[:2] == (1, 1)
            assert await texts(journal, lane) == ["kept"]
        # Cancelled before it began, it does not begin.
        with trio.CancelScope() as scope:
            scope.cancel()
            await journal.append(ONE, [note("never")], expected_seq=1)
        await journal.append(ONE, [note("after")], expected_seq=1)
        assert await texts(journal, ONE) == ["kept", "after"]


async def test_a_cancelled_body_is_written() -> None:
    """JRN-5e: leaving the journal by cancellation, what was appended is written first."""
    bench, gate = Bench(), trio.Event()
    bench.faults.plan("commit", Fault(until=gate))
    with trio.CancelScope() as scope:
        async with bench.journal() as journal, trio.open_nursery() as nursery:
            nursery.start_soon(partial(journal.append, ONE, [note("one")], expected_seq=0))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(partial(journal.append, TWO, [note("two")], expected_seq=0))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            gate.set()
    async with bench.journal() as journal:
        assert await texts(journal, ONE) == ["one"]
        assert await texts(journal, TWO) == ["two"]


async def test_a_halted_lane_is_readable_and_takes_nothing() -> None:
    """JRN-9c, JRN-15g: only that lane; a batch with it is refused as a whole; a restart brings it back."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(1)], expected_seq=0)
        journal.halt(ONE, "for a reason", seq=1)
        journal.halt(ONE, "for another")
        assert dict(journal.halted) == {ONE: "for a reason"}
        assert journal.health()["halted"] == {"session:one": "for a reason"}
        assert bench.emitted.named("lane_halted") == [
            {"severity": "error", "lane": "session:one", "lane_seq": 1, "reason": "for a reason"}
        ]
        for appends in ([Append(ONE, [note(2)], 1)], [Append(TWO, [note(2)], 0), Append(ONE, [note(2)], 1)]):
            with pytest.raises(LaneHalted):
                await journal.append_batch(appends)
        # What is damaged is evidence: nothing of it goes.
        hashed = (await journal.head(ONE)).hash
        with pytest.raises(LaneHalted):
            await journal.change(bases=[Snapshot.of(ONE, 1, hashed, b"{}", 1)])
        with pytest.raises(LaneHalted):
            await journal.change(events=[note("erased")], erasures=[(ONE, 1)])
        assert await texts(journal, ONE) == ["1"]
        assert await texts(journal, TWO) == []
        await journal.append(TWO, [note(2)], expected_seq=0)
        journal.halt(SERVER, "damaged")
    async with bench.journal() as journal:
        await journal.append(ONE, [note(2)], expected_seq=1)


async def test_an_append_out_of_an_emitter_or_a_reader() -> None:
    """Whoever is woken may append at once, from inside whatever woke them."""
    bench = Bench()
    async with bench.journal() as journal:

        async def echo() -> None:
            async for record in journal.follow(ONE):
                await journal.append(TWO, [note(record.seq)], expected_seq=record.seq - 1)
                if record.seq == 20:
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            for number in range(20):
                await journal.append(ONE, [note(number)], expected_seq=number)
        assert await texts(journal, TWO) == [str(n) for n in range(1, 21)]


async def test_a_journal_for_reading() -> None:
    """JRN-11b, JRN-6d: it takes nothing, and follows what the writer beside it writes."""
    bench = Bench()
    async with bench.journal() as writer, bench.journal(read_only=True) as reader:
        for call in (
            reader.append(ONE, [note(1)], expected_seq=0),
            reader.append_batch([Append(ONE, [note(1)], 0)]),
            reader.put_blob(b"x"),
            reader.change(erasures=[(ONE, 1)]),
        ):
            with pytest.raises(NotWriterError) as caught:
                await call
            assert caught.value.code == "read_only"
        seen: list[int] = []

        async def follow() -> None:
            async for record in reader.follow(ONE):
                seen.append(record.seq)
                if record.seq == 30:
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for number in range(30):
                await writer.append(ONE, [note(number)], expected_seq=number)
        assert seen == list(range(1, 31))


async def test_a_closed_journal() -> None:
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(1)], expected_seq=0)
    assert journal.state == "closed"
    with pytest.raises(JournalUnavailable) as caught:
        await journal.append(ONE, [note(2)], expected_seq=1)
    assert caught.value.code == "closed"

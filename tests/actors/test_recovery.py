"""Recovery: the classes of unfinished work, what follows, and the summary (JRN-13, JRN-14)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from tests.actors.jobs import (
    LANE,
    START,
    Begin,
    Begun,
    JobLane,
    JobState,
    Note,
    Noted,
    Requested,
    Started,
    opened,
)
from web4.actors import ActorOptions, ActorStoppedError, open_lane_actors
from web4.journal.backends.memory import MemoryStore
from web4.journal.journal import NewEvent
from web4.journal.lane import SERVER, Lane
from web4.journal.record import OpenWork, Snapshot
from web4.journal.recovery import RecoverySummary, classify

if TYPE_CHECKING:
    from web4.actors import Effect
    from web4.journal.journal import Journal
    from web4.journal.record import Record

DAMAGED = Lane("session", "damaged")


def command(seq: int, subject: str, *, started: bool = True) -> OpenWork:
    return OpenWork(LANE, seq, "command", subject, started, None, False)


def effect(seq: int, subject: str, of: str | None, *, idempotent: bool = False) -> OpenWork:
    return OpenWork(LANE, seq, "effect", subject, False, of, idempotent)


ROWS: list[tuple[list[OpenWork], dict[str, Any], tuple[str, str]]] = [
    ([command(1, "a", started=False)], {"halted": True, "erased": {1}}, ("failed", "lane_halted")),
    ([command(1, "a", started=False)], {"erased": {1}}, ("failed", "payload_unavailable")),
    (
        [command(1, "a"), effect(2, "x", "a", idempotent=True)],
        {"erased": {2}},
        ("failed", "payload_unavailable"),
    ),
    ([command(1, "a", started=False)], {}, ("recoverable", "not_started")),
    (
        [command(1, "a", started=False), effect(2, "x", "a", idempotent=True)],
        {},
        ("recoverable", "effect_idempotent"),
    ),
    (
        [command(1, "a"), effect(2, "x", "a", idempotent=True), effect(3, "y", "a", idempotent=True)],
        {},
        ("recoverable", "effect_idempotent"),
    ),
    (
        [command(1, "a"), effect(2, "x", "a", idempotent=True), effect(3, "y", "a")],
        {},
        ("failed", "effect_not_idempotent"),
    ),
    ([command(1, "a")], {}, ("failed", "effect_not_idempotent")),
    ([effect(1, "x", None, idempotent=True)], {}, ("recoverable", "effect_idempotent")),
    ([effect(1, "x", "gone", idempotent=True)], {}, ("recoverable", "effect_idempotent")),
    ([effect(1, "x", None)], {}, ("failed", "effect_not_idempotent")),
    ([effect(1, "x", None, idempotent=True)], {"gone": {"x"}}, ("failed", "requester_gone")),
    ([effect(1, "x", None)], {"gone": {"x"}, "erased": {1}}, ("failed", "payload_unavailable")),
]


@pytest.mark.parametrize(("work", "known", "expected"), ROWS)
def test_first_row_that_fits_decides(
    work: list[OpenWork], known: dict[str, Any], expected: tuple[str, str]
) -> None:
    """JRN-13, each row of the table, and what comes before what."""
    (verdict,) = classify(work, **known)
    assert (verdict.class_, verdict.reason) == expected
    assert verdict.work == work[0]
    assert list(verdict.requests) == [one for one in work if one.kind == "effect"]


def test_commands_do_not_touch_each_other() -> None:
    """JRN-13: each command is classified by its own requests only, in the order of the lane."""
    work = [
        command(1, "a"),
        effect(2, "x", "a"),
        command(3, "b", started=False),
        effect(4, "y", None),
        command(5, "c"),
        effect(6, "z", "c", idempotent=True),
    ]
    assert [(one.work.subject, one.reason) for one in classify(work)] == [
        ("a", "effect_not_idempotent"),
        ("b", "not_started"),
        ("y", "effect_not_idempotent"),
        ("c", "effect_idempotent"),
    ]


async def unfinished_store() -> MemoryStore:
    """A journal with one unfinished command per row of JRN-13, and two effects of no command."""
    store = MemoryStore()
    async with opened(store) as journal:

        async def put(lane: Lane, *events: Any) -> None:
            head = await journal.head(lane)
            new = [NewEvent(event, START) for event in events]
            await journal.append(lane, new, expected_seq=head.seq)

        await put(LANE, Noted(1), Begun("erased"), Noted(2))
        await journal.change(erasures=[(LANE, 2)])
        await put(LANE, Begun("new"), Begun("again"), Started("again"), Requested("r1", "again", True, "t1"))
        await put(LANE, Begun("once"), Started("once"), Requested("o1", "once", True, "t2"))
        await put(LANE, Requested("o2", "once", False, "t3"))
        await put(LANE, Requested("free", None, True, "t4"), Requested("asked", None, True, "question"))
        await put(LANE, Requested("lost", None, False, "t5"))
        await put(DAMAGED, Begun("stuck"), Started("stuck"), Requested("s1", "stuck", True, "t6"))
    return store


class Recovering(JobLane):
    """Whose questions nobody waits for any more; what was erased is not needed for its state."""

    def requester_gone(self, state: JobState, effect: Effect) -> bool:
        return effect.request is not None and effect.request.text == "question"


async def lane_of(journal: Journal, lane: Lane) -> list[tuple[str, Any]]:
    return [
        (record.type, None if record.payload is None else msgspec.json.decode(record.payload))
        for record in await journal.read(lane)
    ]


EXPECTED = {
    "erased": ("failed", "payload_unavailable"),
    "new": ("recoverable", "not_started"),
    "again": ("recoverable", "effect_idempotent"),
    "once": ("failed", "effect_not_idempotent"),
    "free": ("recoverable", "effect_idempotent"),
    "asked": ("failed", "requester_gone"),
    "lost": ("failed", "effect_not_idempotent"),
    "stuck": ("failed", "lane_halted"),
}


async def boot(store: MemoryStore) -> tuple[RecoverySummary, JobState, list[str], dict[str, list[Any]]]:
    """Open, recover, let it come to rest; what was found, the state, what was performed, and the lanes."""
    lane = Recovering()
    async with opened(store) as journal:
        journal.halt(DAMAGED, "for the test")
        async with open_lane_actors(journal, {"session": lane, "server": JobLane()}) as actors:
            await trio.testing.wait_all_tasks_blocked()
            state = await actors.lane(LANE).state()
            summary = actors.summary
        lanes = {str(one): await lane_of(journal, one) for one in (LANE, SERVER, DAMAGED)}
    return summary, state, lane.asked, lanes


async def snapshotted(store: MemoryStore) -> None:
    """A base snapshot below which payloads may be erased: an erased payload must not be needed for the state."""
    async with opened(store) as journal:
        record = (await journal.read(LANE, after=2, limit=1))[0]
        state = JobLane().encode(JobState(3, 2, {"erased": "begun"}))
        await journal.put_snapshot(Snapshot.of(LANE, 3, record.hash, state, 1))


async def test_classes_on_boot() -> None:
    """JRN-13: class, reason and outcome of the table; boots on copies agree; the boot after recovery appends none."""
    store = await unfinished_store()
    await snapshotted(store)
    copies = [copy.deepcopy(store) for _ in range(3)]
    results = [await boot(one) for one in copies]
    summary, state, asked, lanes = results[0]
    assert {item.subject: (item.class_, item.reason) for item in summary.items} == EXPECTED
    assert summary.unfinished == {"recoverable": 3, "failed": 5}
    assert sorted(asked) == ["free", "of new", "r1"]
    assert state.jobs == {
        "erased": "payload_unavailable",
        "new": "ok",
        "again": "ok",
        "once": "effect_not_idempotent",
    }
    concluded = {
        one["effect_id"]: one["outcome"] for type_, one in lanes[str(LANE)] if type_ == "job.concluded"
    }
    assert concluded == {
        "o1": "abandoned",
        "o2": "abandoned",
        "lost": "abandoned",
        "asked": "cancelled",
        "r1": "ok",
        "free": "ok",
        "of new": "ok",
    }
    (stuck,) = [one for type_, one in lanes["server"] if type_ == "recovery.classified"]
    assert stuck["lane"] == "session:damaged"
    assert len(lanes[str(DAMAGED)]) == 3  # nothing was added to the halted lane
    for other in results[1:]:
        assert msgspec.json.encode(other[0]) == msgspec.json.encode(summary)
        assert (other[1], sorted(other[2]), other[3]["server"]) == (state, sorted(asked), lanes["server"])
    said = [sum(type_ == "recovery.classified" for type_, _ in one) for one in lanes.values()]
    assert said == [7, 1, 0]
    again = await boot(copies[0])
    assert [sum(type_ == "recovery.classified" for type_, _ in one) for one in again[3].values()] == said
    assert again[1] == state


async def test_classification_comes_with_what_follows() -> None:
    """JRN-13c: `recovery.classified`, outcome and conclusions are one batch; its refs let history find it."""
    store = MemoryStore()
    async with opened(store) as journal:
        events: list[Any] = [Begun("a"), Started("a"), Requested("x", "a", False, "t")]
        await journal.append(LANE, [NewEvent(event, START) for event in events], expected_seq=0)
    async with opened(store) as journal:
        async with open_lane_actors(journal, {"session": JobLane()}):
            pass
        records: list[Record] = (await journal.read(LANE))[3:]
    assert [record.type for record in records] == ["recovery.classified", "job.ended", "job.concluded"]
    assert len({record.commit for record in records}) == 1
    assert {record.at for record in records} == {START}
    assert records[0].refs == (("command", "a"),)
    assert msgspec.json.decode(records[0].payload or b"") == {
        "boot": 2,
        "class": "failed",
        "kind": "command",
        "reason": "effect_not_idempotent",
        "subject": "a",
    }


async def test_crash_in_the_middle_of_recovery_changes_no_class(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """JRN-13d: cut off after every number of commits, recovery comes to the same verdicts in the end."""
    store = await unfinished_store()
    await snapshotted(store)
    whole = await boot(copy.deepcopy(store))
    for commits in range(4):
        twin = copy.deepcopy(store)
        with trio.CancelScope() as scope:
            async with opened(twin) as journal:
                journal.halt(DAMAGED, "for the test")
                commit, count = journal.backend.commit, 0

                async def counted(*arguments: Any) -> Any:
                    nonlocal count
                    if count == commits:  # noqa: B023
                        scope.cancel()
                        await trio.sleep_forever()
                    count += 1
                    return await commit(*arguments)  # noqa: B023

                journal.backend.commit = counted  # type: ignore[assignment, method-assign]
                async with open_lane_actors(journal, {"session": Recovering(), "server": JobLane()}):
                    await trio.sleep(1)
        _, state, _, lanes = await boot(twin)
        assert state == whole[1]
        classified: dict[str, tuple[str, str]] = {}
        for lane in lanes.values():
            for type_, one in lane:
                if type_ == "recovery.classified":  # the first; what was queued again may have gone on since
                    classified.setdefault(one["subject"], (one["class"], one["reason"]))
        assert classified == EXPECTED


async def test_requeued_command_goes_first() -> None:
    """JRN-13: what was accepted and not started is decided before anything new."""
    store = MemoryStore()
    async with opened(store) as journal:
        await journal.append(LANE, [NewEvent(Begun(name), START) for name in ("a", "b", "c")], expected_seq=0)
    async with opened(store) as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        await actors.lane(LANE).ask(Note(1))
        started = [
            one for type_, one in await lane_of(journal, LANE) if type_ in {"job.started", "job.noted"}
        ]
        assert [one.get("job") for one in started] == ["a", "b", "c", None]


async def test_recovery_summary() -> None:
    """JRN-14: counts are exact beyond 100 items, lists are cut and say so; halted lanes and bad records are counted."""

    class Told(JobLane):
        def outcomes(self, state: JobState) -> Any:
            return [job for job, phase in state.jobs.items() if phase not in {"begun", "started"}]

    store = MemoryStore()
    async with opened(store) as journal:
        events: list[Any] = [Begun(f"c{number}") for number in range(120)]
        events += [Requested(f"e{number}", None, True, "t") for number in range(30)]
        await journal.append(LANE, [NewEvent(event, START) for event in events], expected_seq=0)
        await journal.append(
            DAMAGED, [NewEvent(Begun("b"), START), NewEvent(Noted(-1), START)], expected_seq=0
        )
    async with opened(store) as journal, open_lane_actors(journal, {"session": Told()}) as actors:
        summary = actors.summary
        assert (summary.state, summary.error, summary.profile) == ("ready", None, "none")
        assert summary.unfinished == {"recoverable": 150, "failed": 1}
        assert (len(summary.items), summary.items_truncated) == (100, True)
        assert (summary.lanes_halted, summary.malformed_records) == (1, 1)
        assert summary.records_scanned == 150
        document = msgspec.json.decode(msgspec.json.encode(summary))
        assert [item["lane"] for item in document["items"]] == ["session:damaged"] + ["session:one"] * 99
        assert document["items"][1] == {
            "subject": "c0",
            "type": "job.begun",
            "lane": "session:one",
            "phase": "begin",
            "class": "recoverable",
            "reason": "not_started",
        }
        assert (document["outcomes_restored"], document["outcomes_truncated"]) == (0, False)


async def test_node_whose_recovery_fails_takes_no_commands(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-14: recovery that takes too long says so, and nothing is decided upon half of it."""
    store = MemoryStore()
    async with opened(store) as journal:
        await journal.append(LANE, [NewEvent(Begun("a"), START)], expected_seq=0)
    options = ActorOptions(recovery_seconds=2)
    async with opened(store) as journal:
        journal.backend.own = trio.sleep_forever  # type: ignore[assignment, method-assign]
        journal.open_work = slow(journal.open_work)  # type: ignore[method-assign]
        async with open_lane_actors(journal, {"session": JobLane()}, options=options) as actors:
            assert actors.summary.state == "timed_out"
            with pytest.raises(ActorStoppedError) as caught:
                await actors.lane(LANE).ask(Note(1))
            assert caught.value.code == "not_recovered"


def slow(call: Any) -> Any:
    async def later(*arguments: Any, **keywords: Any) -> Any:
        await trio.sleep(10)
        return await call(*arguments, **keywords)

    return later


async def test_lane_of_another_node_is_left_to_it() -> None:
    """JRN-24b: recovery of one node passes over lanes that another one writes."""
    store = MemoryStore(shared=True)
    mine = Lane("session", "mine")
    async with opened(store) as theirs, open_lane_actors(theirs, {"session": JobLane()}) as elsewhere:
        await elsewhere.lane(LANE).ask(Begin("a"))
        async with opened(store) as ours:
            await ours.append(mine, [NewEvent(Begun("b"), START)], expected_seq=0)
            async with open_lane_actors(ours, {"session": JobLane()}) as actors:
                assert (actors.summary.state, actors.summary.unfinished["recoverable"]) == ("ready", 1)
                await actors.lane(mine).ask(Note(1))
        assert [record.type for record in await theirs.read(LANE)] == ["job.begun"]


async def test_unfinished_command_keeps_its_actor(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-6: an actor with an unfinished command is not passivated, or its return would look like a restart."""
    async with opened() as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        await actors.lane(LANE).ask(Begin("a"))
        await trio.sleep(3_000)
        assert actors.running() == [LANE]
        assert [record.type for record in await journal.read(LANE)] == ["job.begun"]


def test_summaries_of_lanes_add_up() -> None:
    """JRN-14: counts are exact, lists are cut at 100, whatever the number of lanes."""
    whole = RecoverySummary(profile="none")
    for lane in range(5):
        part = RecoverySummary(profile="none", records_scanned=10, malformed_records=1)
        for number in range(30):
            part.add(classify([command(number + 1, f"{lane}.{number}")])[0], "t")
        part.restore(f"o{lane}.{number}" for number in range(90))
        whole.merge(part)
    assert (whole.records_scanned, whole.malformed_records) == (50, 5)
    assert whole.unfinished == {"recoverable": 0, "failed": 150}
    assert (len(whole.items), whole.items_truncated, whole.items[30].subject) == (100, True, "1.0")
    assert (whole.outcomes_restored, len(whole.outcomes), whole.outcomes_truncated) == (450, 100, True)

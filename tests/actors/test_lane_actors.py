"""Lane actors: rounds, life cycle, what happens when the journal cannot write (ACT-2, ACT-4, ACT-6, JRN-15)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.actors.jobs import (
    LANE,
    START,
    Begin,
    Cancel,
    JobLane,
    JobState,
    Look,
    Note,
    Noted,
    Request,
    Said,
    opened,
)
from web4.actors import (
    ActorOptions,
    ActorStoppedError,
    MailboxFullError,
    open_lane_actors,
)
from web4.journal.backends.memory import Fault, MemoryStore, ScriptedFaults
from web4.journal.errors import (
    InvalidEventError,
    JournalUnavailable,
    LaneHalted,
    NotWriterError,
    WrongExpectedSeq,
)
from web4.journal.journal import NewEvent
from web4.journal.lane import SERVER, Lane


async def gather(*calls: Any) -> list[Any]:
    """What each call returns or raises, started in this order."""
    results: list[Any] = [None] * len(calls)

    async def call(index: int) -> None:
        try:
            results[index] = await calls[index]
        except Exception as error:
            results[index] = error

    async with trio.open_nursery() as nursery:
        for index in range(len(calls)):
            nursery.start_soon(call, index)
            await trio.testing.wait_all_tasks_blocked()
    return results


async def test_replies_come_in_order_and_after_durability() -> None:
    """ACT-2a, c: a round takes what waits, its events are one append, replies follow."""
    faults = ScriptedFaults({"commit": [Fault(delay=0.001)] * 9})
    async with opened(faults=faults) as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        order: list[int] = []

        async def ask(amount: int) -> None:
            reply = await actors.lane(LANE).ask(Note(amount))
            order.append(reply)
            assert len(await journal.read(LANE)) >= amount

        async with trio.open_nursery() as nursery:
            for amount in range(1, 10):
                nursery.start_soon(ask, amount)
        assert len(set(order)) == 9
        assert (await actors.lane(LANE).state()).total == 45
        assert actors.metrics.batch.total == 9
        assert len({record.commit for record in await journal.read(LANE)}) == actors.metrics.batch.count


async def test_reads_see_durable_state_only() -> None:
    """ACT-2d: `state` is as it is durable; a command without events is answered after what it was decided upon."""
    release = trio.Event()
    faults = ScriptedFaults({"commit": [Fault(until=release)]})
    async with opened(faults=faults) as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        ref = actors.lane(LANE)
        replies: list[int] = []

        async def ask(command: Any) -> None:
            replies.append(await ref.ask(command))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, Note(5))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, Look())
            await trio.testing.wait_all_tasks_blocked()
            assert await ref.state() == JobState()
            assert replies == []
            release.set()
        assert replies == [5, 5]
        assert (await ref.state()).total == 5


async def test_queue_full() -> None:
    """ACT-4b: `E_BUSY` at once, control is still served, everything accepted is concluded."""
    release = trio.Event()
    faults = ScriptedFaults({"commit": [Fault(until=release)]})
    options = ActorOptions(work=20, control=5)
    async with (
        opened(faults=faults) as journal,
        open_lane_actors(journal, {"session": JobLane()}, options=options) as actors,
    ):
        ref = actors.lane(LANE)
        ref.tell(Note(1))
        await trio.testing.wait_all_tasks_blocked()  # its append is under way
        for _ in range(20):
            ref.tell(Note(1))
        with pytest.raises(MailboxFullError) as caught:
            ref.tell(Note(1))
        assert caught.value.code == "busy"
        with pytest.raises(MailboxFullError):
            await ref.ask(Note(1))
        ref.tell(Note(100), control=True)
        assert actors.depths()[LANE] == (0, 1, 20)
        release.set()
        assert await ref.ask(Note(0), control=True) >= 100
        await trio.testing.wait_all_tasks_blocked()
        assert (await ref.state()).total == 121
        assert actors.metrics.refused == 2
        assert len(await journal.read(LANE)) == 23  # a refusal leaves no record


async def test_refused_event_is_answered_and_nothing_else_suffers() -> None:
    """JRN-4e: a command whose event the journal does not take is refused; the rest of its round is decided."""
    async with opened() as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        ref = actors.lane(LANE)
        good, bad, last = await gather(
            ref.ask(Note(1)), ref.ask(Note(1, START, "x" * 300_000)), ref.ask(Note(2))
        )
        assert (good, last) == (1, 3)
        assert isinstance(bad, InvalidEventError)
        assert actors.metrics.crashes == 0


async def test_one_actor_per_lane_started_on_the_first_command() -> None:
    """ACT-6: handles start nothing; two handles of a lane reach the same actor; unknown kinds are refused."""
    async with opened() as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        handles = [actors.lane(LANE) for _ in range(5)]
        assert len(actors) == 0
        assert await gather(*(ref.ask(Note(1)) for ref in handles)) == [1, 2, 3, 4, 5]
        assert (actors.running(), actors.metrics.started) == ([LANE], 1)
        with pytest.raises(InvalidEventError):
            await actors.lane(Lane("human", "ada")).ask(Note(1))


async def test_idle_actor_is_passivated_unnoticed(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-6: after ten idle minutes it is gone, with a snapshot; the next command finds the state as it was."""
    async with opened() as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        ref = actors.lane(LANE)
        other = actors.lane(Lane("session", "followed"))
        await ref.ask(Note(3))
        with other.held():
            await other.ask(Note(1))
            await trio.sleep(500)
            assert len(actors) == 2
            await trio.sleep(300)
            assert actors.running() == [other.lane]
            (snapshot,) = await journal.snapshots(LANE)
            assert snapshot.seq == 1
            assert await ref.ask(Note(4)) == 7
        await trio.sleep(1_500)
        assert (len(actors), actors.metrics.passivated) == (0, 3)
        assert (await ref.state()).total == 7


async def test_effects_keep_an_actor_awake(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-6: an actor with an effect is not idle."""

    async def work(request: Any) -> Any:
        await trio.sleep(3_000)
        return Note(1)  # concludes nothing: the actor does it

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        await actors.lane(LANE).ask(Request("x"))
        await trio.sleep(2_900)
        assert actors.running() == [LANE]
        await trio.sleep(1_000)
        assert actors.running() == []
        assert (await actors.lane(LANE).state()) == JobState(1, 1, {}, {})


async def test_suspended_journal_refuses_work_serves_reads_and_aborts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """JRN-15c, d: no work is admitted, what waits is not answered, an abort takes effect at once, reads are served."""
    faults = ScriptedFaults()
    ended: list[str] = []

    async def work(request: Any) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(request.effect_id)

    async with (
        opened(faults=faults) as journal,
        open_lane_actors(journal, {"session": JobLane(work=work)}) as actors,
    ):
        ref = actors.lane(LANE)
        await ref.ask(Request("x"))
        faults.plan("commit", "no_space", times=50)
        waiting: list[int] = []

        async def ask() -> None:
            waiting.append(await ref.ask(Note(1)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            assert journal.state == "suspended"
            with pytest.raises(JournalUnavailable) as caught:
                await ref.ask(Note(1))
            assert caught.value.code == "suspended"
            with pytest.raises(JournalUnavailable):
                ref.tell(Note(1), control=True)
            assert (await ref.state()).total == 0
            ref.tell(Cancel("x"), control=True)
            await trio.sleep(1)
            assert (ended, waiting) == (["x"], [])
            faults.clear()
        assert (journal.state, waiting) == ("ready", [1])
        await trio.testing.wait_all_tasks_blocked()
        types = [record.type for record in await journal.read(LANE)]
        assert sorted(types) == ["job.concluded", "job.cut_off", "job.noted", "job.requested"]


async def test_unknown_result_is_answered_truly(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-15b, d: whatever became of the writes, every reply is true and nothing is there twice."""
    kinds = ["reply_lost", "none", "unknown", "torn", "not_committed", "none"]
    faults = ScriptedFaults({"commit": kinds * 5})  # type: ignore[dict-item]
    async with opened(faults=faults) as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        replies: list[int] = []
        while len(replies) < 20:
            try:
                replies.append(await actors.lane(LANE).ask(Note(1)))
            except JournalUnavailable:  # `suspended`: it was not taken
                await trio.sleep(1)
        assert replies == list(range(1, 21))
        assert [record.seq for record in await journal.read(LANE)] == replies


async def test_expected_sequence_race() -> None:
    """JRN-4f: another writer takes the lane: the actor stops, callers are told, nobody overwrites anything."""
    said = Said()
    async with (
        opened(emit=said) as journal,
        open_lane_actors(journal, {"session": JobLane()}) as actors,
    ):
        ref = actors.lane(LANE)
        assert await ref.ask(Note(1)) == 1
        await journal.append(LANE, [NewEvent(Noted(10), START)], expected_seq=1)
        results = await gather(*(ref.ask(Note(1)) for _ in range(8)))
        assert isinstance(results[0], WrongExpectedSeq)
        assert results[0].actual == 2
        assert said.of("actor_replaced") == [
            {"severity": "error", "lane": "session:one", "reason": "wrong_expected_seq"}
        ]
        # Who asks again reaches a new actor, which knows what the other writer wrote.
        assert [one for one in results if isinstance(one, int)] == list(range(12, 12 + 7))


async def test_lane_of_another_node_is_refused() -> None:
    """JRN-24b: a lane that another node owns is not decided upon here."""
    store = MemoryStore(shared=True)
    async with opened(store) as theirs, open_lane_actors(theirs, {"session": JobLane()}) as elsewhere:
        await elsewhere.lane(LANE).ask(Note(1))
        async with opened(store) as ours, open_lane_actors(ours, {"session": JobLane()}) as actors:
            with pytest.raises(NotWriterError):
                await actors.lane(LANE).ask(Note(1))
            with pytest.raises(NotWriterError):
                await actors.lane(LANE).state()
            assert await actors.lane(Lane("session", "ours")).ask(Note(1)) == 1


async def test_server_lane_is_shared_with_the_journal(autojump_clock: trio.testing.MockClock) -> None:
    """The journal's own records on `server` neither disturb its actor nor reach its logic."""
    faults = ScriptedFaults()
    store = MemoryStore()
    async with (
        opened(store, faults=faults) as journal,
        open_lane_actors(journal, {"server": JobLane()}) as actors,
    ):
        assert await actors.lane(SERVER).ask(Note(1)) == 1
        faults.plan("commit", "not_committed")
        assert await actors.lane(SERVER).ask(Note(1)) == 2  # `journal.resumed` follows it
        assert await actors.lane(SERVER).ask(Note(1)) == 3
        types = [record.type for record in await journal.read(SERVER)]
        assert sorted(types) == ["job.noted"] * 3 + ["journal.resumed"]
    async with opened(store) as journal, open_lane_actors(journal, {"server": JobLane()}) as actors:
        assert (await actors.lane(SERVER).state()).total == 3


async def test_stop_drains_concludes_and_snapshots(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-5f: what was accepted is decided, effects conclude, the state is in a snapshot; nothing new is taken."""
    store = MemoryStore()

    async def work(request: Any) -> Any:
        await trio.sleep(2)
        return Note(100)

    async with opened(store) as journal:
        async with open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
            ref = actors.lane(LANE)
            await ref.ask(Request("x"))
            for _ in range(100):
                ref.tell(Note(1))
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(2)
        with pytest.raises(ActorStoppedError):
            ref.tell(Note(1))
        (snapshot,) = await journal.snapshots(LANE)
        assert snapshot.seq == (await journal.head(LANE)).seq
        assert JobLane().decode(snapshot.state) == JobState(200, 101, {}, {})


async def test_stop_leaves_to_the_next_boot_what_may_be_repeated(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """ACT-5f: beyond half the deadline, idempotent effects stay open; the others are cancelled and concluded."""
    store = MemoryStore()

    async def work(request: Any) -> Any:
        await trio.sleep_forever()

    lane = JobLane(work=work)
    async with opened(store) as journal:
        async with open_lane_actors(journal, {"session": lane}) as actors:
            await actors.lane(LANE).ask(Request("again", idempotent=True))
            await actors.lane(LANE).ask(Request("once"))
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(15)
        assert [work.subject for work in await journal.open_work()] == ["again"]
    lane = JobLane()
    async with opened(store) as journal, open_lane_actors(journal, {"session": lane}) as actors:
        await trio.testing.wait_all_tasks_blocked()
        assert lane.asked == ["again"]
        assert await journal.open_work() == []
        assert actors.summary.unfinished == {"recoverable": 1, "failed": 0}


async def test_kill_tells_that_nobody_knows() -> None:
    """Stopped at once, whoever waits learns that the outcome is not known; the lane tells."""
    release = trio.Event()
    faults = ScriptedFaults({"commit": [Fault(until=release)]})
    store = MemoryStore()
    codes: list[str] = []
    async with opened(store, faults=faults) as journal, trio.open_nursery() as nursery:

        async def ask(ref: Any) -> None:
            with pytest.raises(ActorStoppedError) as caught:
                await ref.ask(Note(1))
            codes.append(caught.value.code)

        with trio.CancelScope() as scope:
            async with open_lane_actors(journal, {"session": JobLane()}) as actors:
                for _ in range(2):
                    nursery.start_soon(ask, actors.lane(LANE))
                    await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.sleep_forever()
        release.set()
    assert sorted(codes) == ["stopped", "unknown_outcome"]
    async with opened(store) as journal:
        assert len(await journal.read(LANE)) == 1


async def test_halted_lane_refuses_and_stays_readable() -> None:
    """ACT-5c: its commands get `lane_halted`; its records can be read; other lanes go on."""
    async with opened() as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        ref = actors.lane(LANE)
        await ref.ask(Note(1))
        journal.halt(LANE, "for the test")
        for _ in range(2):
            with pytest.raises(LaneHalted):
                await ref.ask(Note(1))
        with pytest.raises(LaneHalted):
            await ref.state()
        assert len(await journal.read(LANE)) == 1
        assert await actors.lane(Lane("session", "two")).ask(Begin("a")) is None

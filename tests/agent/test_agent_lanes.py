"""LOOP-3, LOOP-4: work of one lane never touches another's; cancelling is cooperative, then final."""

from __future__ import annotations

import signal
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from tests.agent.loops import CONVERSATIONS, loop
from tests.protocols.router.hosts import ADA, BOB, EXAMPLES, delivery
from web4.agent import Result, Task
from web4.agent.options import AgentOptions
from web4.journal.errors import JournalUnavailable
from web4.protocols.errors import TryAgainLater
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


async def test_loop_supersede_same_lane(clock: MockClock) -> None:
    """New input cancels only its own conversation: not another's of the lane, not the same one's of another peer."""
    done: list[str] = []

    async def handler(task: Task) -> Result:
        await trio.sleep(10)
        done.append(task.content["topic"].text)
        return Result()

    async with loop(handler) as one:
        await one.ask("old", corr_id=CONVERSATIONS[0])
        await one.ask("waiting", corr_id=CONVERSATIONS[1])
        await one.ask("old of bob", peer=BOB, corr_id=CONVERSATIONS[0])
        await trio.sleep(1)
        await one.ask("new", corr_id=CONVERSATIONS[0])
        await one.ask("waits less", corr_id=CONVERSATIONS[1])
        await one.settled(5)
        assert sorted(done) == ["new", "old of bob", "waits less"]
        assert sorted(one.replies()) == [
            ("done", ""),
            ("done", ""),
            ("failed", "superseded"),
            ("failed", "superseded"),
        ]
        assert one.replies(BOB) == [("done", "")]
        assert [event["reason"] for event in one.events("task_cancelled")] == ["superseded"] * 2


async def test_loop_what_does_not_allow_it_is_not_superseded(clock: MockClock) -> None:
    async def handler(task: Task) -> Result:
        await trio.sleep(10)
        return Result()

    async with loop(handler, supersedes=lambda old, new: False) as one:
        for _ in range(2):
            await one.ask("again", corr_id=CONVERSATIONS[0])
            await trio.sleep(1)
        await one.settled(2)
        assert one.replies() == [("done", ""), ("done", "")]


async def test_loop_another_peer_cannot_supersede_on_a_humans_lane(clock: MockClock) -> None:
    """LOOP-3: on a human's lane, too, a conversation belongs to the peer that began it."""

    async def handler(task: Task) -> Result:
        await trio.sleep(10)
        return Result()

    async with loop(handler) as one:
        for peer in (ADA, BOB):
            one.host.inbox.put(delivery(EXAMPLES["HCP_INTENT"], peer=peer, corr_id=CONVERSATIONS[0]))
            await trio.sleep(1)
        await one.settled(2)
        assert one.replies(ADA) == one.replies(BOB) == [("done", "")]
        assert one.states("human:bo") == ["listening", "thinking", "responding", "idle"] * 2


async def test_loop_cancelling_leads_to_idle(clock: MockClock) -> None:
    """LOOP-2, LOOP-4: a cancelled task ends within its grace, its conclusion is sent, its lane is idle."""
    cleaned: list[float] = []

    async def handler(task: Task) -> Result:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
            cleaned.append(trio.current_time())
        raise AssertionError

    async with loop(handler) as one:
        await one.ask("weather")
        await trio.sleep(1)
        (task,) = one.adapter.tasks()
        assert one.adapter.cancel(task.task_id, "operator")
        assert not one.adapter.cancel(task.task_id)
        assert not one.adapter.cancel("nobody")
        await one.settled(1)
        assert [round(when, 1) for when in cleaned] == [1.5]
        assert one.replies() == [("failed", "operator")]
        assert one.states(f"peer:{ADA}") == ["listening", "thinking", "idle"]
        assert not one.events("error")


async def test_loop_deadline(clock: MockClock) -> None:
    """A task is given up at its deadline, whether it is worked on or waits."""

    async def handler(task: Task) -> Result:
        await trio.sleep_forever()
        raise AssertionError

    async with loop(handler, options=AgentOptions(task_ms=10_000)) as one:
        await one.ask("a")
        await one.ask("b")
        await one.settled(2)
        assert trio.current_time() < 15
        assert one.replies() == [("failed", "timeout")] * 2


async def test_loop_a_hanging_handler_holds_up_nobody(clock: MockClock) -> None:
    """LOOP-3, LOOP-4: one that shields itself is left behind after its grace; its lane goes on, others never waited."""

    async def handler(task: Task) -> Result:
        if task.content["topic"].text == "hang":
            with trio.CancelScope(shield=True):
                await trio.sleep(1_000)
        return Result(content={})

    async with loop(handler) as one:
        await one.ask("hang")
        await one.ask("next")
        await one.ask("other", peer=BOB)
        await trio.sleep(1)
        assert one.replies(BOB) == [("done", "")]
        one.adapter.cancel(next(task.task_id for task in one.adapter.tasks() if task.peer == ADA))
        await trio.sleep(3)
        assert one.replies() == [("failed", "cancelled"), ("done", "")]
        assert [event["code"] for event in one.events("error")] == ["handler_abandoned"]
        await trio.sleep(2_000)
        assert len(one.replies()) == 2, "what it gives so late is not heard"


async def test_loop_revocation_ends_the_handlers_scope(clock: MockClock) -> None:
    """HCP-3: when consent is revoked, work for that human ends within a second, and other work goes on."""
    scopes: dict[str, trio.CancelScope] = {}

    @asynccontextmanager
    async def consent(task: Task) -> AsyncIterator[trio.CancelScope]:
        with trio.CancelScope() as scope:
            scopes[task.lane] = scope
            yield scope

    ended: list[float] = []

    async def handler(task: Task) -> Result:
        try:
            await trio.sleep(30)
        finally:
            ended.append(trio.current_time())
        return Result()

    async with loop(handler, consent=consent) as one:
        one.host.inbox.put(delivery(EXAMPLES["HCP_INTENT"]))
        await one.ask("weather")
        await trio.sleep(5)
        scopes["human:bo"].cancel()
        await one.settled(1)
        assert ended[0] - 5 < 1
        assert one.replies() == [("failed", "consent_revoked")]
        await one.settled(2)
        assert one.replies()[1:] == [("done", "")]


async def test_loop_without_consent_nothing_begins(clock: MockClock) -> None:
    """HCP-9: where consent says no, or cannot be asked, the handler never sees the task."""

    def refused(task: Task) -> AbstractAsyncContextManager[trio.CancelScope]:
        raise TryAgainLater("no", code="cooldown")

    def broken(task: Task) -> AbstractAsyncContextManager[trio.CancelScope]:
        raise OSError

    async def handler(task: Task) -> Result:
        raise AssertionError

    for consent, reason in ((refused, "cooldown"), (broken, "no_consent")):
        async with loop(handler, consent=consent) as one:
            one.host.inbox.put(delivery(EXAMPLES["HCP_INTENT"]))
            await one.settled(1)
            assert one.replies() == [("failed", reason)]


async def test_loop_takes_what_waited_for_a_human(clock: MockClock) -> None:
    """HCP-5: what a human let pass is worked on, however long it waited, over a restart too: it was not begun."""
    async with loop() as one:
        waited = delivery(EXAMPLES["HCP_INTENT"], corr_id=CONVERSATIONS[3])
        one.adapter._began_ms = START_MS + 1
        await trio.sleep(10_000)
        await one.adapter.take(waited)
        while not one.host.sent:  # noqa: ASYNC110 - written by the loop
            await trio.sleep(1)
        assert one.replies() == [("done", "")]
        assert one.host.sent[0][2] == CONVERSATIONS[3]


async def test_loop_what_waited_and_cannot_be_answered_ends_nothing(clock: MockClock) -> None:
    """ROUTE-5: the failure is an event; router and loop go on."""
    async with loop() as one:
        one.host.refuses = TryAgainLater("full", code="busy")
        await one.adapter.take(delivery(EXAMPLES["HCP_INTENT"]))
        await trio.sleep(1)
        assert [event["where"] for event in one.events("error")] == ["answer"]
        one.host.refuses = None
        await one.ask("weather")
        await one.settled(1)
        assert one.replies() == [("done", "")]


async def test_loop_an_answer_that_is_not_durable_leaves_the_task_open(clock: MockClock) -> None:
    """LOOP-4: a conclusion that the journal does not take is none: the message comes again after a restart."""
    async with loop() as one:
        one.host.refuses = JournalUnavailable("full", code="no_space")
        await one.ask("weather")
        await trio.sleep(1)
        assert not one.host.settlements
        assert not one.adapter.router.dead_letters
        assert [event["where"] for event in one.events("error")] == ["journal"]
        assert one.states(f"peer:{ADA}")[-1] == "idle"


async def test_loop_hcp_answers_carry_no_content_outside_hcp(clock: MockClock) -> None:
    """HCP-11: a REPLY says that the message is dealt with; contents go by HCP, through its gate."""

    async def handler(task: Task) -> Result:
        return Result(content={"mood": "tense"})

    async with loop(handler) as one:
        one.host.inbox.put(delivery(EXAMPLES["HCP_INTENT"]))
        await one.settled(1)
        assert one.replies() == [("done", "")]
        assert "tense" not in repr(one.host.sent)


async def test_loop_kill() -> None:
    """LOOP-4: a worker that ignores its cancellation is killed after the grace, with real processes."""
    started = trio.Event()
    processes: dict[str, trio.Process] = {}

    async def handler(task: Task) -> Result:
        with trio.CancelScope(shield=True):
            process = processes[task.task_id] = await trio.lowlevel.open_process(
                ["sh", "-c", "trap '' TERM INT; while :; do sleep 1; done"]
            )
            started.set()
            await process.wait()
        await trio.lowlevel.checkpoint()
        return Result()

    def kill(task: Task) -> None:
        processes[task.task_id].kill()

    async with loop(handler, kill=kill, options=AgentOptions(cancel_grace_ms=100)) as one:
        await one.ask("weather")
        await started.wait()
        (task,) = one.adapter.tasks()
        one.adapter.cancel(task.task_id)
        await one.settled(1)
        assert processes[task.task_id].returncode == -signal.SIGKILL
        assert one.replies() == [("failed", "cancelled")]
        assert not one.events("error"), "it was killed, not left behind"

"""Whatever is asked, cancelled, vetoed or fails, in any order: each task is concluded once, and every lane is idle."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.agent.loops import CONVERSATIONS, loop
from tests.protocols.router.hosts import ADA, BOB
from web4.agent import Result, Task
from web4.agent.options import AgentOptions
from web4.ext.hooks import LOOP_POINTS, Veto

asks = st.tuples(
    st.just("ask"),
    st.sampled_from([ADA, BOB]),
    st.sampled_from(CONVERSATIONS[:3]),
    st.sampled_from(["quick", "slow", "fails", "stubborn", "vetoed"]),
    st.sampled_from(["low", "normal", "high"]),
)
steps = st.lists(
    st.one_of(
        asks,
        asks,
        asks,
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.floats(0, 4)),
    ),
    max_size=25,
)


_SUPERSEDED = ("ask", ADA, CONVERSATIONS[0], "slow", "low")


async def handler(task: Task) -> Result:
    match task.content["topic"].text:
        case "slow":
            await trio.sleep(3)
        case "fails":
            raise ValueError
        case "stubborn":
            with trio.CancelScope(shield=True):
                await trio.sleep(20)
    return Result(content={})


async def vetoes(task: Task, known: Any) -> Veto | None:
    return Veto() if task.content["topic"].text == "vetoed" else None


async def _play(steps: list[Any], point: str) -> None:
    accepted: list[str] = []
    async with loop(handler, options=AgentOptions(waiting_per_lane=3, task_ms=8_000)) as one:
        one.adapter.hooks.add(point, vetoes)
        for step in steps:
            match step:
                case ("ask", peer, corr_id, topic, priority):
                    asked = await one.ask(topic, peer=peer, corr_id=corr_id, priority=priority)
                    if one.answer.status == "accepted":
                        accepted.append(asked.msg_id)
                case ("cancel", number):
                    tasks = one.adapter.tasks()
                    if number < len(tasks):
                        one.adapter.cancel(tasks[number].task_id)
                case ("wait", seconds):
                    await trio.sleep(seconds)
        with trio.fail_after(1_000):
            await one.settled(len(accepted))
        await trio.sleep(100)  # what was left behind ends, and changes nothing
        concluded = Counter(reply.in_reply_to for _, reply, _ in one.host.sent)
        assert concluded == Counter(accepted)
        assert Counter(msg_id for msg_id, _ in one.host.settlements) == Counter(accepted)
        assert not one.adapter.tasks()
        for lane in {fields["lane"] for fields in one.events("loop_state")}:
            states = one.states(lane)
            assert states[-1] == "idle"
            allowed = {
                "idle": {"listening"},
                "listening": {"thinking", "responding", "idle"},
                "thinking": {"responding", "idle"},
                "responding": {"idle"},
            }
            for before, after in zip(["idle", *states], states, strict=False):
                assert after in allowed[before], states


@settings(max_examples=25, deadline=None)
@example([_SUPERSEDED, _SUPERSEDED, _SUPERSEDED, ("cancel", 2), ("cancel", 1)], "before_perceive")
@given(steps, st.sampled_from(LOOP_POINTS))
def test_loop_random(steps: list[Any], point: str) -> None:
    """LOOP-2 to LOOP-6."""
    trio.run(_play, steps, point, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("point", LOOP_POINTS)
def test_loop_everything_at_once(point: str) -> None:
    """One fixed story of all that can happen, at every point."""
    asked = [
        ("ask", peer, CONVERSATIONS[0], topic, "low")
        for peer in (ADA, BOB)
        for topic in ("stubborn", "slow", "vetoed")
    ]
    story = [*asked, ("cancel", 0), ("wait", 0.1), ("cancel", 1), ("wait", 5), *asked]
    trio.run(_play, story, point, clock=MockClock(autojump_threshold=0))

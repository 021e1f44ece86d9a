"""LOOP-6, LOOP-7: the cycle, its hooks, and how the work stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.loops import echo, loop
from tests.extensions.hook_workers import Workers, at, extension
from tests.protocols.router.hosts import ADA
from web4.agent import Result, Task
from web4.agent.working import PHASES, THRESHOLDS, Working, WorkingPresence, following
from web4.ext.hooks import LOOP_POINTS, Annotate, Veto
from web4.extensions.hooks.hooks import HookChain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from web4.agent.hooks import LoopHook


async def test_loop_hooks_order_and_veto(clock: MockClock) -> None:
    """The points come in their order, the hooks of a point in that of their registration."""
    seen: list[str] = []

    def hook(point: str, name: str) -> LoopHook:
        async def ask(task: Task, known: Any) -> Annotate | None:
            seen.append(f"{point} {name}")
            assert (known is None) == (LOOP_POINTS.index(point) < LOOP_POINTS.index("after_decide"))
            return Annotate({"seen": name}) if name == "b" else None

        return ask

    async with loop() as one:
        for name in ("b", "a"):
            for point in reversed(LOOP_POINTS):
                one.adapter.hooks.add(point, hook(point, name))
        await one.ask("weather")
        await one.settled(1)
        assert seen == [f"{point} {name}" for point in LOOP_POINTS for name in ("b", "a")]
        annotated = [event["point"] for event in one.events("phase") if event.get("annotation")]
        assert annotated == list(LOOP_POINTS)
        assert one.replies() == [("done", "")]
        with pytest.raises(ValueError, match="no point"):
            one.adapter.hooks.add("before_breakfast", hook("before_perceive", "x"))


@pytest.mark.parametrize("point", LOOP_POINTS)
async def test_loop_a_veto_is_recorded(point: str, clock: MockClock) -> None:
    """A veto before the exchange keeps the answer back; after it, it is only recorded. The asker is always told."""
    decided: list[str] = []

    async def handler(task: Task) -> Result:
        decided.append("decided")
        return Result(content={"secret": 1})

    async def no(task: Task, known: Any) -> Veto:
        return Veto("because")

    async with loop(handler) as one:
        one.adapter.hooks.add(point, no)
        await one.ask("weather")
        await one.settled(1)
        (veto,) = one.events("hook_veto")
        assert (veto["point"], veto["reason"]) == (point, "because")
        late = LOOP_POINTS.index(point) > LOOP_POINTS.index("before_exchange")
        assert [status for status, _ in one.replies()] == ["done" if late else "failed"]
        assert ("secret" in repr(one.host.sent)) == late
        assert bool(decided) == (LOOP_POINTS.index(point) > LOOP_POINTS.index("before_decide"))
        assert one.adapter.tasks() == []


async def test_loop_a_hook_is_called_what_it_was_named(clock: MockClock) -> None:
    """An asker is told of a hook by its name, not by where it stands in the program."""

    async def no(task: Task, known: Any) -> Veto:
        return Veto("private")

    async with loop() as one:
        one.adapter.hooks.add("before_decide", no, name="office hours")
        await one.ask("weather")
        await one.settled(1)
        assert one.replies() == [("failed", "hook_veto: office hours")]
        (veto,) = one.events("hook_veto")
        assert (veto["hook"], veto["reason"]) == ("office hours", "private")


async def _raises(task: Task, known: Any) -> None:
    raise RuntimeError("x")


async def _hangs(task: Task, known: Any) -> None:
    await trio.sleep_forever()


async def _nonsense(task: Task, known: Any) -> Any:
    return "no"


@pytest.mark.parametrize("hook", [_raises, _hangs, _nonsense])
@pytest.mark.parametrize("point", LOOP_POINTS)
async def test_loop_a_failing_or_slow_hook(
    point: str, hook: Callable[..., Awaitable[Any]], clock: MockClock
) -> None:
    """Before a step it vetoes; after one it is an error event, and the cycle goes on. A second is all it gets."""
    async with loop() as one:
        one.adapter.hooks.add(point, hook)
        await one.ask("weather")
        await one.settled(1)
        vetoed = point.startswith("before_")
        assert [status for status, _ in one.replies()] == ["failed" if vetoed else "done"]
        assert bool(one.events("hook_veto")) == vetoed
        assert [event["where"] for event in one.events("error")] == ["hook"]
        assert trio.current_time() < 1.5


async def test_loop_hooks_of_extensions(clock: MockClock) -> None:
    """EXT-10: extensions are asked in their turn; one that fails before a step vetoes."""
    for answer, told in (
        ({"action": "annotate", "annotation": 7}, "done"),
        ({"action": "veto", "reason": "no"}, "failed"),
        ("nonsense", "failed"),
    ):
        workers = Workers(notes=answer)
        chain = HookChain([extension("notes", at("before_decide"), at("after_memory"))], workers)
        async with loop() as one:
            one.adapter.hooks.add_extensions(chain)
            await one.ask("weather")
            await one.settled(1)
            assert [status for status, _ in one.replies()] == [told]
            assert workers.asked[0][1]["task"]["peer"] == ADA
            assert workers.names == ["notes"] * 2, "before it was decided, and after it was remembered"


async def test_loop_thresholds_progress(clock: MockClock) -> None:
    """LOOP-7: every threshold is passed, none is stuck in, and idle resets it all."""
    stood: list[Working] = []

    async def handler(task: Task) -> Result:
        task.presence.say(goal="know the weather", confidence=0.5)
        task.presence.reach("act", focus="the sky")
        stood.append(task.presence.now)
        return Result(confidence=0.9)

    async with loop(handler) as one:
        await one.ask("weather")
        await trio.lowlevel.checkpoint()
        await one.settled(1)
        phases = [event["phase"] for event in one.events("phase")]
        assert phases == [*PHASES[1:], "perceive"]
        assert [(now.phase, now.focus, now.goal) for now in stood] == [("act", "the sky", "know the weather")]


@pytest.mark.parametrize("point", LOOP_POINTS)
async def test_loop_presence_is_reset_however_a_task_ends(point: str, clock: MockClock) -> None:
    seen: list[Task] = []

    async def handler(task: Task) -> Result:
        seen.append(task)
        return await echo(task)

    async def no(task: Task, known: Any) -> Veto:
        seen.append(task)
        return Veto()

    async with loop(handler) as one:
        one.adapter.hooks.add(point, no)
        await one.ask("weather")
        await one.settled(1)
        assert {task.presence.now for task in seen} == {Working()}


@given(st.sampled_from(PHASES), st.integers(1, 30))
def test_the_next_signal_leaves_a_threshold(start: Any, signals: int) -> None:
    """LOOP-7: one signal is one step; from anywhere every phase is reached, and no threshold keeps it."""
    presence = WorkingPresence("t")
    presence.reach(start)
    passed = [presence.progress() for _ in range(signals)]
    assert passed[0] == following(start)
    for here, there in zip([start, *passed], passed, strict=False):
        if here in THRESHOLDS:
            assert there not in THRESHOLDS
    presence.reset()
    assert presence.now == Working()


def test_a_presence_says_what_it_may() -> None:
    presence = WorkingPresence()
    with pytest.raises(ValueError, match="phase"):
        presence.reach("sleep")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="confidence"):
        presence.say(confidence=1.1)
    with pytest.raises(TypeError):
        presence.say(mood="calm")

"""Plain actors: handles, asks, deadlocks; supervisors and their strategies (ACT-4, ACT-5)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from tests.actors.jobs import Said
from web4.actors import (
    Actor,
    ActorCrashError,
    ActorRef,
    ActorStoppedError,
    DeadlockError,
    Mailbox,
    MailboxFullError,
    RestartLimitError,
    RestartPolicy,
    Strategy,
    open_supervisor,
)


class Adder(Actor[Any, Any]):
    """Adds numbers; `fail` crashes it, `get` tells the sum."""

    def __init__(self, log: list[str] | None = None, name: str = "") -> None:
        self.total = 0
        self.log = [] if log is None else log
        self.name = name

    async def started(self) -> None:
        self.log.append(f"{self.name} up")

    async def stopped(self) -> None:
        self.log.append(f"{self.name} stopped")

    async def receive(self, message: Any) -> Any:
        if message == "fail":
            raise ZeroDivisionError
        if isinstance(message, int):
            self.total += message
        return self.total

    async def noticed(self, key: Any, value: Any) -> None:
        self.log.append(f"{key}={value}")


async def test_tell_and_ask() -> None:
    """What was told before is handled before; on leaving, the actor is stopped in order."""
    log: list[str] = []
    async with open_supervisor() as supervisor:
        ref = supervisor.start("adder", lambda: Adder(log, "adder"))
        for number in range(10):
            ref.tell(number)
        assert await ref.ask(5) == 50
        ref.control(1)
        ref.report("load", 1)
        ref.report("load", 2)
        assert await ref.ask("get") == 51
    assert log == ["adder up", "load=2", "adder stopped"]
    with pytest.raises(ActorStoppedError):
        ref.tell(1)
    with pytest.raises(ActorStoppedError):
        await ref.ask(1)
    assert not ref.report("load", 3)


async def test_full_queue_refuses_tell_and_ask() -> None:
    """ACT-4b: at once, `busy`; what was accepted is handled."""
    async with open_supervisor() as supervisor:
        ref = supervisor.start("adder", Adder, mailbox=Mailbox(work=2))
        ref.tell(1)
        ref.tell(2)
        with pytest.raises(MailboxFullError):
            ref.tell(3)
        with pytest.raises(MailboxFullError):
            await ref.ask(4)
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.ask("get") == 3


class Chain(Actor[Any, Any]):
    """Asks the next one what it was asked."""

    def __init__(self, refs: dict[str, ActorRef[Any, Any]], *, child: bool = False) -> None:
        self.refs = refs
        self.child = child
        self.replies: list[Any] = []

    async def receive(self, message: Any) -> Any:
        if not message:
            return "end"
        if self.child:
            self.start_soon(self._later, message)
            return "later"
        return await self.refs[message[0]].ask(message[1:])

    async def _later(self, message: Any) -> None:
        self.replies.append(await self.refs[message[0]].ask(message[1:]))


@pytest.mark.parametrize("path", ["a", "ba", "bca", "bcb"])
async def test_deadlocked_asks_raise_at_once(path: str) -> None:
    """A asks itself, A asks B asks A, and longer ways around: a typed error instead of a hang."""
    refs: dict[str, ActorRef[Any, Any]] = {}
    policy = RestartPolicy(first_seconds=0.001)
    async with open_supervisor(policy=policy) as supervisor:
        for name in "abc":
            refs[name] = supervisor.start(name, lambda: Chain(refs))
        assert await refs["a"].ask("bc") == "end"
        with pytest.raises(ActorCrashError) as caught:  # nobody on the way caught it
            await refs["a"].ask(path)
        assert caught.value.code == "actor_crash"


async def test_deadlock_is_told_to_who_asks() -> None:
    """The actor that would close the circle gets `deadlock`, and may handle it."""

    class Careful(Chain):
        async def receive(self, message: Any) -> Any:
            try:
                return await super().receive(message)
            except DeadlockError as error:
                return error.code

    refs: dict[str, ActorRef[Any, Any]] = {}
    async with open_supervisor() as supervisor:
        for name in "ab":
            refs[name] = supervisor.start(name, lambda: Careful(refs))
        assert await refs["a"].ask("ba") == "deadlock"
        assert await refs["a"].ask("a") == "deadlock"
        assert await refs["a"].ask("b") == "end"


async def test_asks_that_cross_are_a_deadlock_too() -> None:
    """A asks B while B asks A, neither because of the other: one of them is told."""
    refs: dict[str, ActorRef[Any, Any]] = {}
    outcomes: list[str] = []

    class Crossing(Actor[str, str]):
        async def receive(self, message: str) -> str:
            if message == "end":
                return "end"
            await trio.testing.wait_all_tasks_blocked()
            try:
                outcomes.append(await refs[message].ask("end"))
            except DeadlockError:
                outcomes.append("deadlock")
            return "crossed"

    async with open_supervisor() as supervisor:
        for name in "ab":
            refs[name] = supervisor.start(name, Crossing)
        refs["a"].tell("b")
        refs["b"].tell("a")
        await refs["a"].ask("end")
        await refs["b"].ask("end")
    assert sorted(outcomes) == ["deadlock", "end"]


async def test_child_task_may_ask_its_own_actor() -> None:
    """A child task does not keep its actor waiting: no deadlock, and none is reported."""
    refs: dict[str, ActorRef[Any, Any]] = {}
    actor = Chain(refs, child=True)
    async with open_supervisor() as supervisor:
        refs["a"] = supervisor.start("a", lambda: actor)
        assert await refs["a"].ask("a") == "later"
        await trio.testing.wait_all_tasks_blocked()
        assert actor.replies == ["end"]


async def test_crash_restarts_with_back_off_and_keeps_the_mailbox(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """ACT-5: what waited is handled by the next instance; the message it died of is not handled again."""
    said = Said()
    async with open_supervisor(emit=said) as supervisor:
        ref = supervisor.start("adder", Adder)
        assert await ref.ask(1) == 1
        began = trio.current_time()
        ref.tell("fail")
        assert await ref.ask(7) == 7
        assert 0.1 <= trio.current_time() - began <= 0.125
    assert said.of("actor_crashed") == [
        {"severity": "error", "actor": "adder", "reason": "ZeroDivisionError"}
    ]


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [
        ("one_for_one", ["b up"]),
        ("one_for_all", ["a up", "b up", "c up"]),
        ("rest_for_one", ["b up", "c up"]),
    ],
)
async def test_strategies(
    strategy: Strategy, restarted: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    """ACT-5: who starts anew when the second of three crashed, and in which order."""
    log: list[str] = []
    async with open_supervisor(strategy) as supervisor:
        refs = {}
        for name in "abc":
            refs[name] = supervisor.start(name, lambda name=name: Adder(log, name))  # type: ignore[misc]
            await refs[name].ask(1)
        assert log == ["a up", "b up", "c up"]
        log.clear()
        with pytest.raises(ActorCrashError):
            await refs["b"].ask("fail")
        await trio.sleep(1)
        assert log == restarted
        fresh = {entry[0] for entry in restarted}
        for name, ref in refs.items():
            assert await ref.ask("get") == (0 if name in fresh else 1)


async def test_too_many_restarts_escalate(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-5c: five restarts in a minute are allowed, the sixth crash ends the supervisor; pauses double."""
    pauses: list[float] = []

    class Hopeless(Adder):
        async def started(self) -> None:
            pauses.append(trio.current_time())
            raise ZeroDivisionError

    async def supervise() -> None:
        async with open_supervisor(seed=7) as supervisor:
            ref = supervisor.start("hopeless", Hopeless)
            with pytest.raises(ActorStoppedError):
                await ref.ask(1)
            await trio.sleep_forever()

    with pytest.raises(RestartLimitError) as caught:
        await supervise()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    gaps = [late - early for early, late in pairwise(pauses)]
    assert len(gaps) == 5
    for number, gap in enumerate(gaps):
        assert 0.1 * 2**number <= gap <= 0.125 * 2**number


async def test_crashes_far_apart_do_not_escalate(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-5c: only crashes within the window count."""
    async with open_supervisor() as supervisor:
        ref = supervisor.start("adder", Adder)
        for _ in range(20):
            with pytest.raises(ActorCrashError):
                await ref.ask("fail")
            await trio.sleep(15)
        assert await ref.ask(1) == 1


async def test_stop_has_a_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """Graceful stop within a deadline, then kill: who still waits is told that nobody knows."""

    class Slow(Actor[float, str]):
        async def receive(self, message: float) -> str:
            await trio.sleep(message)
            return "done"

    replies: list[str] = []

    async def ask(ref: ActorRef[float, str], seconds: float) -> None:
        try:
            replies.append(await ref.ask(seconds))
        except ActorStoppedError as error:
            replies.append(error.code)

    async with trio.open_nursery() as nursery:
        async with open_supervisor(stop_seconds=10) as supervisor:
            ref = supervisor.start("slow", Slow)
            for seconds in (4, 100, 1):
                nursery.start_soon(ask, ref, seconds)
                await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(10)
    assert sorted(replies) == ["done", "stopped", "unknown_outcome"]


async def test_cancelled_asker_leaves_its_message() -> None:
    """Cancelling an ask does not take the message back."""
    async with open_supervisor() as supervisor:
        ref = supervisor.start("adder", Adder)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.ask, 5)
                await trio.lowlevel.checkpoint()
                scope.cancel()
        assert await ref.ask("get") in {0, 5}


async def test_crash_of_a_child_task_is_the_actors(autojump_clock: trio.testing.MockClock) -> None:
    """A child task's exception restarts the actor; its other children are cancelled."""
    log: list[str] = []

    class Parent(Adder):
        async def receive(self, message: Any) -> Any:
            if message == "child":
                self.start_soon(self._die)
            return await super().receive(message)

        async def _die(self) -> None:
            await trio.sleep(1)
            raise ZeroDivisionError

    async with open_supervisor() as supervisor:
        ref = supervisor.start("parent", lambda: Parent(log, "p"))
        await ref.ask("child")
        await trio.sleep(2)
        assert await ref.ask("get") == 0
        assert log == ["p up", "p up"]
    with pytest.raises(RuntimeError):
        Parent().start_soon(trio.sleep, 1)

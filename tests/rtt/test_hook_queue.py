"""The queue of a session's hooks by itself, in virtual time and with every schedule of events (RTT-54 to RTT-57)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rtt.arrange import Events
from tests.rtt.hook_order import AFTER, disorder
from web4.rtt.hooks import MAX_WAITING, NAMES, EndpointHooks, SessionHooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.rtt import HookHandle, Hooks, SessionEvent


@dataclass
class Subject:
    """The session as its hooks see it; closing it posts what a session posts."""

    hooks: SessionHooks = field(init=False)
    session_id: bytes = b"s"
    peer: str = "p"
    epoch: int = 0
    reconnects: int = 0
    state: str = "open"
    reasons: list[str] = field(default_factory=list)

    def abort(self, reason: str) -> None:
        self.reasons.append(reason)
        if self.state != "closed":
            self.state = "closed"
            self.hooks.post("on_lost", reason="local")
            self.hooks.post("on_close", reason="local")


@dataclass
class Arranged:
    """One session's queue, in the nursery of an endpoint."""

    nursery: trio.Nursery
    timeout: float = 5.0
    events: Events = field(default_factory=Events)

    def __post_init__(self) -> None:
        self.subject = Subject()
        self.endpoint = EndpointHooks(
            self.nursery, timeout=self.timeout, emit=self.events, sessions=lambda: [self.subject.hooks]
        )
        self.subject.hooks = SessionHooks(self.subject, self.endpoint)

    async def settle(self) -> None:
        """Let everything that waits be delivered, however long it takes."""
        if self.endpoint._deliveries:
            self.endpoint._idle = trio.Event()
            await self.endpoint._idle.wait()


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> None:
    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_hook_that_hangs_costs_its_five_seconds(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-56: cancelled and reported after 5 s, for each event; a function that blocks is reported as well."""
    async with trio.open_nursery() as nursery:
        arranged = Arranged(nursery)
        hooks, at = arranged.subject.hooks, []

        async def hanging(_: SessionEvent) -> None:
            await trio.sleep_forever()

        async def stubborn(_: SessionEvent) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(7)

        hooks.register("on_open", hanging)
        hooks.register("on_open", stubborn)
        hooks.register("on_open", lambda _: autojump_clock.jump(6))
        hooks.register("on_open", lambda _: at.append(trio.current_time()))
        began = trio.current_time()
        hooks.post("on_open")
        await arranged.settle()
        assert [round(moment - began) for moment in at] == [5 + 7 + 6]
        assert [entry["error"] for entry in arranged.events.fields("error")] == ["hook_timeout"] * 3


async def test_leaving_bounds_all_hooks_together(autojump_clock: trio.testing.MockClock) -> None:
    """However many hooks hang and events wait, leaving takes its grace and no more; every hook is still called, in
    order, and `on_close` is the last."""
    told: list[str] = []
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        arranged = Arranged(nursery)

        async def hanging(event: SessionEvent) -> None:
            told.append(event.name)
            await trio.sleep_forever()

        for name in NAMES:
            arranged.subject.hooks.register(name, hanging)
            arranged.endpoint.register(name, hanging)
        arranged.subject.hooks.post("on_open")
        for _ in range(50):
            arranged.subject.hooks.post("on_suspend")
            arranged.subject.hooks.post("on_resume", resumed=True)
        await trio.sleep(2)
        arranged.subject.abort("left")
        arranged.endpoint.leave(1.0)
        nursery.cancel_scope.cancel()
    assert 2.9 < trio.current_time() - began < 3.1
    assert disorder(told[::2]) is None
    assert told[::2] == told[1::2]
    assert len(told) == 2 * (1 + 100 + 2)
    assert told[-1] == "on_close"


async def test_finishing_waits_for_what_is_due(autojump_clock: trio.testing.MockClock) -> None:
    """An endpoint that is left normally waits for its hooks, for as long as one may take; cancelled, it does not."""
    for patience in (10.0, 1.0):
        async with trio.open_nursery() as nursery:
            arranged = Arranged(nursery)
            told: list[str] = []

            async def slow(event: SessionEvent, told: list[str] = told) -> None:
                await trio.sleep(4)
                told.append(event.name)

            arranged.subject.hooks.register("on_close", slow)
            arranged.subject.abort("left")
            with trio.move_on_after(patience) as scope:
                await arranged.endpoint.finish()
            assert scope.cancelled_caught == (patience < 4)
            assert bool(told) == (patience > 4)


async def test_hooks_that_fall_behind_end_their_session() -> None:
    """The queue is bounded and drops nothing: at its bound the session is ended, once, which is reported; everything
    posted before is delivered, and the end after it."""
    async with trio.open_nursery() as nursery:
        arranged = Arranged(nursery)
        told: list[str] = []
        for name in NAMES:
            arranged.subject.hooks.register(name, lambda event: told.append(event.name))
        arranged.subject.hooks.post("on_open")
        for channel in range(2 * MAX_WAITING):
            arranged.subject.hooks.post("on_channel", channel=channel)
        await arranged.settle()
    assert told == ["on_open"] + ["on_channel"] * (MAX_WAITING - 1) + ["on_lost", "on_close"]
    assert arranged.subject.reasons == ["the hooks are behind"]
    assert [entry["error"] for entry in arranged.events.fields("error")] == ["hooks_behind"]
    assert arranged.endpoint.overflows == 1


async def slowly(event: SessionEvent) -> None:
    await trio.sleep(event.channel or 1)


async def raises(event: SessionEvent) -> None:
    await trio.lowlevel.checkpoint()
    raise OSError


KINDS: list[Callable[[SessionEvent], object]] = [lambda _: None, slowly, raises]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("post"), st.integers(0, 7)),
        st.tuples(st.just("register"), st.integers(0, len(NAMES) - 1), st.integers(0, 2), st.booleans()),
        st.tuples(st.just("unregister"), st.integers(0, 20)),
        st.tuples(st.just("clear"), st.booleans()),
        st.tuples(st.just("settle")),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_hooks_against_a_reference(steps: list[tuple[object, ...]]) -> None:
    """RTT-54, RTT-55, RTT-57: whatever is posted, registered and removed, each hook is told exactly what happened
    while it was registered and had not begun when it was removed, in order, once."""

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            reference = Reference(Arranged(nursery))
            for what, *arguments in steps:
                await getattr(reference, str(what))(*arguments)
            await reference.settle()
            assert disorder(reference.happened) is None

    in_virtual_time(run)


@dataclass
class Expected:
    """One hook as the reference sees it, and what it was told."""

    name: str
    kind: Callable[[SessionEvent], object]
    own: bool
    due: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    active: bool = True
    handle: HookHandle | None = None

    def __call__(self, event: SessionEvent) -> object:
        self.told.append(int(event.reason))
        return self.kind(event)

    def remove(self) -> None:
        """Nothing has begun since everything settled: what is due and not told is not told any more."""
        self.active = False
        self.due = list(self.told)


class Reference:
    """Does what a step says to the real queue, and writes down what must come of it."""

    def __init__(self, arranged: Arranged) -> None:
        self.arranged = arranged
        self.state, self.opened = "new", -1
        self.happened: list[str] = []
        self.hooks: list[Expected] = []

    def _list(self, own: bool) -> Hooks:
        return self.arranged.subject.hooks if own else self.arranged.endpoint

    async def post(self, choice: int) -> None:
        possible = list(AFTER[self.state])
        if not possible:
            return
        name = possible[choice % len(possible)]
        number, self.state = len(self.happened), AFTER[self.state][name]
        self.happened.append(name)
        if name == "on_open":
            self.opened = number
        self.arranged.subject.state = "closed" if self.state in ("lost", "closed") else "open"
        for expected in self.hooks:
            if expected.active and expected.name == name:
                expected.due.append(number)
        self.arranged.subject.hooks.post(name, reason=str(number))  # type: ignore[arg-type]

    async def register(self, which: int, kind: int, own: bool) -> None:
        expected = Expected(NAMES[which], KINDS[kind], own)
        if expected.name == "on_open" and self.opened >= 0 and self.arranged.subject.state == "open":
            expected.due.append(self.opened)
        expected.handle = self._list(own).register(NAMES[which], expected)
        self.hooks.append(expected)

    async def unregister(self, which: int) -> None:
        if self.hooks:
            expected = self.hooks[which % len(self.hooks)]
            assert expected.handle is not None
            self._list(expected.own).unregister(expected.handle)
            expected.remove()

    async def clear(self, own: bool) -> None:
        self._list(own).clear()
        for expected in self.hooks:
            if expected.own == own:
                expected.remove()

    async def settle(self) -> None:
        await self.arranged.settle()
        assert all(expected.told == expected.due for expected in self.hooks)


def test_the_order_of_the_rule() -> None:
    """The automaton itself refuses what RTT-54 forbids."""
    good = [
        "on_open",
        "on_channel",
        "on_heartbeat_timeout",
        "on_suspend",
        "on_resume",
        "on_suspend",
        "on_lost",
        "on_close",
    ]
    assert disorder(good) is None
    for bad in (
        ["on_close"],
        ["on_open", "on_open"],
        ["on_open", "on_resume"],
        ["on_open", "on_suspend", "on_suspend"],
        ["on_open", "on_heartbeat_timeout", "on_channel"],
        ["on_open", "on_close", "on_lost"],
        ["on_open", "on_close", "on_close"],
    ):
        assert disorder(bad) is not None

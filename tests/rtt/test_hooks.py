"""Lifecycle hooks: order, isolation, registration, and the end of an endpoint (RTT-11, RTT-54 to RTT-57)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.rtt.arrange import ALICE, BOB, LOOPBACK, SAFETY, anybody, next_session, paired, until
from tests.rtt.hook_order import disorder
from tests.rtt.processes import peer_process
from tests.rtt.test_resume import cut
from web4 import rtt
from web4.rtt.hooks import NAMES

if TYPE_CHECKING:
    from tests.rtt.arrange import Pair


class Seen:
    """A hook for every event, which keeps what it is told."""

    def __init__(self, hooks: rtt.Hooks) -> None:
        self.events: list[rtt.SessionEvent] = []
        self.handles = {name: hooks.register(name, self.events.append) for name in NAMES}

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    async def wait(self, name: str, count: int = 1) -> rtt.SessionEvent:
        await until(lambda: self.names.count(name) >= count)
        return next(event for event in self.events if event.name == name)


@pytest.mark.parametrize("resume_window", [0.0, 0.3])
async def test_hook_order_timeout_then_suspend(resume_window: float) -> None:
    """RTT-54, RTT-11: a peer that is stopped: the timeout directly precedes the suspension, or with resume off the
    end, that it causes; what was lost is told before `on_close`, and the session shows its state to the hook."""
    options = rtt.Options(heartbeat=0.4, resume_window=resume_window)
    states: list[str] = []
    async with peer_process("bob", heartbeat=0.4) as bob, rtt.open_endpoint(ALICE, options=options) as alice:
        seen = Seen(alice.hooks)
        address = (await bob.ask("listen", url=LOOPBACK))["addresses"][0]
        with pytest.raises(rtt.SessionLost):  # noqa: PT012 - leaving the block raises
            async with alice.dial(address, expect=BOB.fingerprint) as session:
                session.hooks.register("on_lost", lambda _: states.append(session.state))
                session.hooks.register("on_close", lambda _: states.append(session.state))
                channel = await session.open_channel("knowledge")
                bob.process.send_signal(signal.SIGSTOP)
                await channel.send(b"into the void")
                with trio.fail_after(SAFETY), pytest.raises(rtt.SessionLost):
                    await channel.receive()
                await seen.wait("on_close")
        causes = ["on_open", "on_heartbeat_timeout", "on_lost", "on_close"]
        reasons = ["heartbeat_timeout"] * 3
        if resume_window:
            causes.insert(2, "on_suspend")
            reasons[1:] = ["heartbeat_timeout", "expired", "lost"]
        assert seen.names == causes
        assert disorder(seen.names) is None
        assert states == ["closed", "closed"]
        assert [event.reason for event in seen.events[1:]] == reasons
        lost = seen.events[-2]
        assert lost.lost is not None
        assert b"into the void" in lost.lost.payloads()
        for event in seen.events:
            assert (event.session_id, event.peer) == (session.session_id, BOB.fingerprint)
            assert (event.epoch, event.reconnects) == (0, 0)
        times = [event.at for event in seen.events]
        assert times == sorted(times)


async def test_hooks_of_a_session_that_resumes() -> None:
    """RTT-54: `on_suspend` and `on_resume` alternate on both sides, with the epoch and the count of reconnects; the
    metrics count the same, and what the other side granted."""
    async with paired() as pair:
        seen = [Seen(pair.here.hooks), Seen(pair.there.hooks)]
        for times in (1, 2):
            cut(pair.here)
            for one in seen:
                await one.wait("on_resume", times)
        pair.here.abort("enough")
        for one in seen:
            await one.wait("on_close")
            assert disorder(one.names) is None
            resumes = [event for event in one.events if event.name == "on_resume"]
            assert [event.reconnects for event in resumes] == [1, 2]
            epochs = [event.epoch for event in resumes]
            assert epochs == sorted(set(epochs))
            assert all(event.resumed for event in resumes)
            assert one.names.count("on_suspend") == 2
        here, there = pair.alice.metrics().total, pair.bob.metrics().total
        assert here.reconnects == there.reconnects == there.resumes_granted == 2
        assert here.carriers_opened == there.carriers_opened == 3
        assert here.resumes_asked >= 2
        assert here.resumes_refused == there.resumes_refused == {}


async def test_hooks_of_a_session_that_ends_in_peace() -> None:
    """RTT-54: one `on_open`, one `on_channel` for each channel of the peer, one `on_close` with the reason; nothing
    is lost, so no `on_lost`."""
    async with paired() as pair:
        here, there = Seen(pair.alice.hooks), Seen(pair.bob.hooks)
        ours, theirs = await pair.channel()
        answer = await pair.there.open_channel("state")
        await pair.here.accept_channel()
        with trio.fail_after(SAFETY):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.here.aclose)
                nursery.start_soon(pair.there.aclose)
        await here.wait("on_close")
        await there.wait("on_close")
        assert here.names == there.names == ["on_open", "on_channel", "on_close"]
        assert here.events[1].channel == answer.id
        assert there.events[1].channel == ours.id == theirs.id
        assert {here.events[2].reason, there.events[2].reason} <= {"local", "peer"}
        assert here.events[0].resumed is False


async def test_hook_open_immediate(pair: Pair) -> None:
    """RTT-57: late registration of `on_open` delivers the open event of each open session once, at once, and to that
    hook only."""
    early, late, shared = [], [], []  # type: ignore[var-annotated]
    pair.here.hooks.register("on_open", early.append)
    await until(lambda: bool(early))
    pair.here.hooks.register("on_open", late.append)
    pair.alice.hooks.register("on_open", shared.append)
    await until(lambda: bool(late and shared))
    assert len(early) == len(late) == len(shared) == 1
    assert early == late == shared
    assert early[0].session_id == pair.here.session_id
    # Between the event and its delivery: still once.
    async with pair.alice.dial(
        (await pair.bob.listen(LOOPBACK, admit=anybody)).addresses[0], expect=rtt.ANY
    ) as other:
        mine: list[rtt.SessionEvent] = []
        other.hooks.register("on_open", mine.append)
        await until(lambda: len(shared) == 2 and bool(mine))
        assert [event.session_id for event in mine] == [other.session_id]
        (await next_session(pair.bob)).abort("enough")
        other.abort("enough")
    pair.here.abort("enough")
    closed: list[rtt.SessionEvent] = []
    pair.here.hooks.register("on_open", closed.append)
    pair.alice.hooks.register("on_open", closed.append)
    await trio.testing.wait_all_tasks_blocked()
    assert not closed


async def test_hook_unregister_and_clear(pair: Pair) -> None:
    """RTT-57: a hook that was removed sees nothing that had not begun, not even what waits already."""
    told: list[str] = []
    removed = pair.there.hooks.register("on_channel", lambda _: told.append("removed"))

    def removing(_: rtt.SessionEvent) -> None:
        told.append("remover")
        pair.there.hooks.unregister(victim)

    remover = pair.there.hooks.register("on_channel", removing)
    victim = pair.there.hooks.register("on_channel", lambda _: told.append("victim"))
    pair.bob.hooks.register("on_channel", lambda _: told.append("endpoint"))
    pair.there.hooks.unregister(removed)
    pair.there.hooks.unregister(removed)
    await pair.channel()
    await until(lambda: "endpoint" in told)
    # Endpoint and session share one order, that of registration.
    assert told == ["remover", "endpoint"]
    pair.alice.hooks.unregister(remover)  # Of another list: nothing.
    pair.there.hooks.clear()
    await pair.channel()
    await until(lambda: told.count("endpoint") == 2)
    assert told == ["remover", "endpoint", "endpoint"]
    pair.there.hooks.register("on_close", lambda _: told.append("closed"))
    pair.there.abort("now")
    # It waits already, and has not begun.
    pair.there.hooks.clear()
    await trio.testing.wait_all_tasks_blocked()
    assert "closed" not in told
    with pytest.raises(ValueError, match="on_closed"):
        pair.there.hooks.register("on_closed", told.append)  # type: ignore[arg-type]


async def test_hook_exception_isolated() -> None:
    """RTT-56: hooks that raise, hang, or wait on what Trio does not know: the others run, `on_close` still comes, each
    failure is reported once, and the session's data flows meanwhile."""
    told: list[str] = []

    def raising(_: rtt.SessionEvent) -> None:
        raise ValueError("secret")

    async def raising_later(_: rtt.SessionEvent) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.lowlevel.checkpoint()
            raise KeyError("secret")

    async def hanging(_: rtt.SessionEvent) -> None:
        told.append("hanging")
        await trio.sleep_forever()

    async with paired(options=rtt.Options(hook_timeout=0.2)) as pair:
        for hook in (raising, raising_later, hanging, lambda _: 7, lambda event: told.append(event.name)):
            pair.there.hooks.register("on_channel", hook)
        pair.there.hooks.register("on_close", lambda event: told.append(event.name))
        ours, theirs = await pair.channel()
        await until(lambda: told == ["hanging"])
        # The hanging hook holds back the hooks behind it, and nothing else.
        await ours.send(b"data")
        assert await theirs.receive() == b"data"
        assert told == ["hanging"]
        await until(lambda: told == ["hanging", "on_channel"])
        failures = pair.bob_events.fields("error")
        assert [(entry["hook"], entry["error"]) for entry in failures] == [
            ("on_channel", "ValueError"),
            ("on_channel", "ExceptionGroup"),
            ("on_channel", "hook_timeout"),
        ]
        assert "secret" not in repr(failures)
        assert pair.bob.hooks.failures == 3
        assert pair.there.state == "open"
        pair.there.abort("enough")
        await until(lambda: told[-1] == "on_close")


async def test_events_that_hooks_cause_come_after() -> None:
    """RTT-55: never recursively, and in order."""
    told: list[str] = []
    async with paired() as pair:

        async def end_it(event: rtt.SessionEvent) -> None:
            told.append("begins")
            pair.there.abort("seen enough")
            await trio.lowlevel.checkpoint()
            told.append("ends")

        pair.there.hooks.register("on_channel", end_it)
        pair.there.hooks.register("on_close", lambda event: told.append(event.name))
        await pair.here.open_channel("state")
        await until(lambda: len(told) == 3)
        assert told == ["begins", "ends", "on_close"]


@pytest.mark.parametrize("how", ["normally", "by an exception", "by a cancellation"])
async def test_the_end_is_told_while_the_endpoint_is_left(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RTT-54: `on_close` comes once and last however the endpoint is left; a hanging hook holds it up no longer than
    it may."""
    monkeypatch.setattr("web4.rtt.endpoint.LEAVING_GRACE", 0.2)
    told: list[str] = []

    async def hanging(event: rtt.SessionEvent) -> None:
        told.append(f"{event.name} begins")
        await trio.sleep_forever()

    async def patient(event: rtt.SessionEvent) -> None:
        await trio.lowlevel.checkpoint()
        told.append(event.name)

    async def leave() -> None:
        async with paired(options=rtt.Options(hook_timeout=0.2)) as pair:
            session = pair.there if how == "normally" else pair.here
            session.hooks.register("on_close", patient)
            session.hooks.register("on_close", hanging)
            session.hooks.register("on_close", hanging)
            session.hooks.register("on_close", lambda event: told.append("last"))
            if how == "by an exception":
                raise KeyError
            if how == "by a cancellation":
                scope.cancel()
                await trio.lowlevel.checkpoint()

    with trio.fail_after(SAFETY), trio.CancelScope() as scope:
        if how == "by an exception":
            with pytest.raises(KeyError):
                await leave()
        else:
            await leave()
    assert told == ["on_close", "on_close begins", "on_close begins", "last"]


async def test_an_emitter_that_raises_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """RTT-56: foreign code in the place of the emitter cannot end sessions, listeners or endpoints."""

    def broken(name: str, /, **fields: Any) -> None:
        raise RuntimeError(name)

    async with (
        rtt.open_endpoint(ALICE, emit=broken) as alice,
        rtt.open_endpoint(BOB, emit=broken) as bob,
    ):
        listener = await bob.listen(LOOPBACK, admit=anybody)
        with pytest.raises(rtt.AuthenticationError):
            async with alice.dial(listener.addresses[0], expect=ALICE.fingerprint):
                pass
        async with alice.dial(listener.addresses[0], expect=BOB.fingerprint) as session:
            channel = await session.open_channel("knowledge")
            accepted = await next_session(bob)
            theirs = await accepted.accept_channel()
            await channel.send(b"all the same")
            assert await theirs.receive() == b"all the same"
            accepted.abort("done")
    assert {record.exc_info[0] for record in caplog.records if record.exc_info} == {RuntimeError}


class Spawned(trio.abc.Instrument):
    """The names of the tasks that begin."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.names.append(task.name)


async def test_sessions_without_hooks_start_no_task(pair: Pair) -> None:
    """RTT-52: hooks cost nothing until somebody registers one."""
    spawned = Spawned()
    trio.lowlevel.add_instrument(spawned)
    try:
        await pair.channel()
        assert "hooks of a session" not in spawned.names
        told: list[rtt.SessionEvent] = []
        pair.there.hooks.register("on_channel", told.append)
        await pair.channel()
        await until(lambda: bool(told))
        assert spawned.names.count("hooks of a session") == 1
    finally:
        trio.lowlevel.remove_instrument(spawned)

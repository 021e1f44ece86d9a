"""Every async method is a checkpoint, and cancelling it at any of its checkpoints changes nothing that it should not
(RTT-60 to RTT-63)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.rtt.arrange import ALICE, BOB, LOOPBACK, SAFETY, anybody, next_session, paired, until
from tests.rtt.processes import descriptors
from tests.rtt.test_channels import SMALL, balanced, fill
from web4 import rtt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.rtt.arrange import Pair

MOST_STEPS = 200


class Stepping(trio.abc.Instrument):
    """Cancels a scope when one task is about to run for the `step`-th time: at its `step`-th checkpoint."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def cancelled_at(step: int, call: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
    """Run a call and cancel it at its `step`-th checkpoint, 0 being before it begins: whether that ended it, and what
    it returned."""
    stepping = Stepping(step)
    trio.lowlevel.add_instrument(stepping)
    result = None
    try:
        with stepping.scope:
            stepping.task = trio.lowlevel.current_task()
            if step == 0:
                stepping.scope.cancel()
            result = await call()
            stepping.task = None
    finally:
        trio.lowlevel.remove_instrument(stepping)
    return stepping.scope.cancelled_caught, result


async def at_every_checkpoint(
    call: Callable[[], Awaitable[Any]], check: Callable[[bool, Any], Awaitable[None]]
) -> int:
    """Cancel a call before it begins, at its first checkpoint, its second, and so on until it runs through; how often
    it was ended."""
    for step in range(MOST_STEPS):
        cancelled, result = await cancelled_at(step, call)
        await check(cancelled, result)
        if not cancelled:
            assert step > 0, "it has no checkpoint"
            return step
    raise AssertionError("it never ran through")


async def test_api_cancel_receive_keeps_message(pair: Pair) -> None:
    """RTT-63: `receive` and `receive_many` cancelled at every checkpoint, before and after the message has come, have
    taken nothing out."""
    ours, theirs = await pair.channel()
    for wait in (False, True):
        for receive in (theirs.receive, theirs.receive_many):
            for step in range(1, 4):
                if not wait:
                    await ours.send(b"kept")
                    await ours.flush()
                async with trio.open_nursery() as nursery:
                    if wait:
                        nursery.start_soon(send_when_blocked, ours)
                    cancelled, got = await cancelled_at(step, receive)
                if cancelled:
                    got = await theirs.receive()
                assert got in (b"kept", [b"kept"])
                assert theirs.receive_nowait() == []


async def send_when_blocked(channel: rtt.Channel) -> None:
    await trio.testing.wait_all_tasks_blocked()
    await channel.send(b"kept")


async def test_a_receive_that_is_cancelled_as_the_message_comes(pair: Pair) -> None:
    """RTT-63: cancelled in the same moment in which the message arrives, it still has taken nothing."""
    ours, theirs = await pair.channel()
    for _ in range(20):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                async def both(scope: trio.CancelScope = scope) -> None:
                    await trio.testing.wait_all_tasks_blocked()
                    await ours.send(b"kept")
                    while theirs._receiver is not None:
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                nursery.start_soon(both)
                got = await theirs.receive()
                assert got == b"kept"
                continue
        assert await theirs.receive() == b"kept"


async def test_a_cancelled_send_was_not_accepted() -> None:
    """RTT-62: `send` and `send_many`, cancelled at every checkpoint with and without room: what raised Cancelled never
    arrives, what returned does."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel()
        expected: list[bytes] = []
        number = 0
        for full in (False, True):
            for many in (False, True):
                for step in range(1, 5):
                    if full:
                        filled = await fill(ours)
                        expected += [b"%d" % index for index in range(filled)]
                    number += 1
                    label = b"send %d" % number
                    async with trio.open_nursery() as nursery:
                        if full:
                            nursery.start_soon(receive_when_blocked, theirs, expected)
                        cancelled, _ = await cancelled_at(
                            step,
                            (lambda: ours.send_many([label])) if many else (lambda: ours.send(label)),  # noqa: B023
                        )
                    if not cancelled:
                        expected.append(label)
                    while expected:
                        assert await theirs.receive() == expected.pop(0)
                    assert theirs.receive_nowait() == []
                    await ours.flush()
                    balanced(ours)


async def receive_when_blocked(channel: rtt.Channel, expected: list[bytes]) -> None:
    await trio.testing.wait_all_tasks_blocked()
    while channel.stats()["received"] and expected and (got := channel.receive_nowait()):
        assert got == expected[: len(got)]
        del expected[: len(got)]
        await trio.testing.wait_all_tasks_blocked()


async def test_a_cancelled_flush_changes_nothing(pair: Pair) -> None:
    """RTT-62."""
    ours, theirs = await pair.channel()
    for step in range(1, 4):
        await ours.send(b"x")
        await cancelled_at(step, ours.flush)
        await ours.flush()
        assert await theirs.receive() == b"x"
    assert balanced(ours)["acknowledged"] == 3


async def test_a_cancelled_accept_channel_loses_none(pair: Pair) -> None:
    """RTT-60: the channel stays to be accepted; two acceptors get one each."""
    for step in range(1, 4):
        await pair.here.open_channel("knowledge", name=f"number {step}")
        cancelled, channel = await cancelled_at(step, pair.there.accept_channel)
        if cancelled:
            channel = await pair.there.accept_channel()
        assert channel.name == f"number {step}"
    names: set[str] = set()

    async def accept() -> None:
        names.add((await pair.there.accept_channel()).name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        nursery.start_soon(accept)
        await trio.testing.wait_all_tasks_blocked()
        await pair.here.open_channel("knowledge", name="a")
        await pair.here.open_channel("knowledge", name="b")
    assert names == {"a", "b"}


async def test_a_cancelled_open_channel(pair: Pair) -> None:
    """RTT-60: cancelled at its checkpoint it has opened nothing."""

    async def check(cancelled: bool, channel: rtt.Channel | None) -> None:
        if channel is not None:
            await channel.aclose()
        assert len(pair.here._channels) == 1

    await at_every_checkpoint(lambda: pair.here.open_channel("knowledge"), check)
    assert (await pair.there.accept_channel()).id == 1


async def test_a_cancelled_sessions_iteration_loses_none() -> None:
    """RTT-60: a session that comes while `sessions` is cancelled waits for the next call."""
    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB) as bob:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        for step in range(1, 5):
            session = await alice._dial(address, BOB.fingerprint)
            cancelled, accepted = await cancelled_at(step, lambda: next_session(bob))
            if cancelled:
                accepted = await next_session(bob)
            assert accepted.session_id == session.session_id
            session.abort("done")
            accepted.abort("done")


async def test_dial_cancelled_at_every_checkpoint(url: str) -> None:
    """RTT-61: an opening that is cancelled, wherever it is, leaves no descriptor, task or session at either end."""
    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB) as bob:
        address = (await bob.listen(url, admit=anybody)).addresses[0]

        async def dial() -> None:
            async with alice.dial(address, expect=BOB.fingerprint) as session:
                session.abort("done")

        async def settle(cancelled: bool = False, _: object = None) -> None:
            with trio.fail_after(SAFETY):
                while bob.session_count + alice.session_count + bob._admission.half_open:
                    while bob._roster._accepted:
                        (await next_session(bob)).abort("done")
                    await trio.testing.wait_all_tasks_blocked(0.001)

        await dial()
        await settle()
        tasks, files = trio.lowlevel.current_statistics().tasks_living, descriptors()
        steps = await at_every_checkpoint(dial, settle)
        assert steps > 3
        await until(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
        assert descriptors() == files


async def test_listen_cancelled_at_every_checkpoint(url: str) -> None:
    """RTT-61: whoever is not told that it listens does not."""
    async with rtt.open_endpoint(BOB) as bob:
        files = descriptors()

        async def check(cancelled: bool, listener: rtt.Listener | None) -> None:
            if listener is not None:
                await listener.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert descriptors() == files
            assert not bob._serving

        await at_every_checkpoint(lambda: bob.listen(url, admit=anybody), check)


async def test_aclose_cancelled_at_every_checkpoint() -> None:
    """RTT-61: a session's `aclose` has released everything however it ends."""
    for step in range(1, 30):
        async with paired() as pair:
            await pair.here.control.send(b"x")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.there.aclose)
                cancelled, _ = await cancelled_at(step, pair.here.aclose)
                assert pair.here.ended
                assert pair.alice.session_count == 0
        if not cancelled:
            assert step > 1
            return
    pytest.fail("it never ran through")


async def test_every_async_method_is_a_checkpoint(url: str) -> None:
    """RTT-60."""
    async with paired(url=url) as pair:
        with trio.testing.assert_checkpoints():
            ours = await pair.here.open_channel("knowledge")
        await pair.here.open_channel("state", policy="drop_oldest")
        await until(lambda: len(pair.there._unaccepted) == 2)
        with trio.testing.assert_checkpoints():
            theirs = await pair.there.accept_channel()
        dropping = await pair.there.accept_channel()
        for channel in (ours, dropping):
            with trio.testing.assert_checkpoints():
                await channel.send(b"x")
            with trio.testing.assert_checkpoints():
                await channel.send_many([b"y", b"z"])
            with trio.testing.assert_checkpoints():
                await channel.send_many([])
        await ours.flush()
        with trio.testing.assert_checkpoints():
            await ours.flush()
        with trio.testing.assert_checkpoints():
            await theirs.receive()
        with trio.testing.assert_checkpoints():
            await theirs.receive_many()
        for closing in (ours, ours, pair.here.control):
            with trio.testing.assert_checkpoints():
                await closing.aclose()
        pair.here.abort("over")
        with trio.testing.assert_checkpoints():
            await pair.here.aclose()
    async with rtt.open_endpoint(BOB) as bob:
        with trio.testing.assert_checkpoints():
            listener = await bob.listen(LOOPBACK, admit=anybody)
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await listener.aclose()


async def test_what_is_cancelled_before_it_begins_does_nothing(pair: Pair) -> None:
    """RTT-60 to RTT-63: in a cancelled scope each method raises before it has any effect."""
    ours, theirs = await pair.channel()
    await theirs.send(b"unread")
    await theirs.flush()
    before = ours.stats()
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: ours.send(b"x"),
        lambda: ours.send_many([b"x"]),
        ours.receive,
        ours.receive_many,
        ours.flush,
        lambda: pair.here.open_channel("knowledge"),
        pair.here.accept_channel,
        lambda: next_session(pair.bob),
    ]
    for call in calls:
        with trio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught
    assert ours.stats() == before
    assert await ours.receive() == b"unread"


async def test_a_send_let_in_by_the_cancellation_that_meets_it() -> None:
    """RTT-62: taking back a large message lets in the small one behind it. Cancelled in the same moment, that one is
    accepted already: its send returns, and it arrives."""
    options = rtt.Options(knowledge=rtt.ChannelLimits(1000, 16, 1000))
    async with paired(options=options) as pair:
        ours, theirs = await pair.channel()
        await ours.send(bytes(600))
        await ours.send(bytes(500))
        assert ours.stats()["queued"] == 1
        scopes = {900: trio.CancelScope(), 300: trio.CancelScope()}
        accepted: list[int] = []

        async def send(size: int) -> None:
            with scopes[size]:
                await ours.send(bytes(size))
                accepted.append(size)

        with trio.fail_after(SAFETY):
            async with trio.open_nursery() as nursery:
                for size in scopes:
                    nursery.start_soon(send, size)
                    await trio.testing.wait_all_tasks_blocked()
                assert ours.stats()["waiting"] == 2
                for scope in scopes.values():
                    scope.cancel()
            assert accepted == [300]
            assert [len(await theirs.receive()) for _ in range(3)] == [600, 500, 300]
        assert ours.stats()["cancelled"] == 1
        assert not pair.here.waits

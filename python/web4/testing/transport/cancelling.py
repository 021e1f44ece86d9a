"""Cancelling every async method at every checkpoint, on a transport and on sessions over it (RTT-60 to RTT-63)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from web4 import rtt
from web4.testing.transport.arena import BOB, dialled, emptied, require, settled
from web4.testing.transport.sessions import SMALL, balanced
from web4.testing.transport.streams import connected, listening

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.testing.transport.arena import Arena, Ends, Joined

MOST_STEPS = 500


class Stepping(trio.abc.Instrument):
    """Cancels a scope when one task is about to run for the `step`-th time: at its `step`-th checkpoint."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.scope = trio.CancelScope()
        self.task: trio.lowlevel.Task | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def cancelled_at(step: int, call: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
    """Run a call and cancel it at its `step`-th checkpoint, 0 being before it begins.

    Returns:
        Whether that ended it, and what it returned.
    """
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
    call: Callable[[], Awaitable[Any]], check: Callable[[bool, Any], Awaitable[None]], what: str
) -> None:
    """Cancel a call before it begins, at its first checkpoint, its second, and so on until it runs through."""
    for step in range(MOST_STEPS):
        cancelled, result = await cancelled_at(step, call)
        await check(cancelled, result)
        if not cancelled:
            require(step > 0, f"{what} has no checkpoint")
            return
    require(condition=False, what=f"{what} never ran through")


async def cancels_its_methods(arena: Arena) -> None:
    """`listen`, `connect`, `accept` and a stream's methods, cancelled anywhere, work when they are called again."""
    alone = arena.factory()
    address = rtt.Address.parse(arena.at)

    async def no_acceptor(_: bool, acceptor: rtt.Acceptor | None) -> None:
        if acceptor is not None:
            await acceptor.aclose()

    async with arena.case("listen"):
        await at_every_checkpoint(lambda: alone.listen(address), no_acceptor, "listen")

    async with arena.case("connect and accept"), listening(arena) as (transport, acceptor):
        target = rtt.Address.parse(acceptor.addresses[0])
        for step in range(MOST_STEPS):
            cancelled, stream = await cancelled_at(step, lambda: transport.connect(target))
            if not cancelled:
                await trio.aclose_forcefully(stream)
                break
        # What was cancelled may have arrived all the same; it is ended, and the next one is not.
        with trio.move_on_after(0.05):
            while True:
                await trio.aclose_forcefully(await acceptor.listeners[0].accept())
        ours, theirs = await connected(transport, acceptor)
        for step in range(4):
            await _cancel_a_receive(step, ours, theirs)
            await _cancel_a_receive(step, theirs, ours)
        await at_every_checkpoint(ours.aclose, _nothing, "aclose of a stream")
        await trio.aclose_forcefully(theirs)


async def _cancel_a_receive(step: int, ours: trio.abc.Stream, theirs: trio.abc.Stream) -> None:
    await ours.send_all(b"kept")
    cancelled, got = await cancelled_at(step, theirs.receive_some)
    got = b"" if cancelled else got
    while len(got) < 4:
        got += await theirs.receive_some()
    require(got == b"kept", f"a receive that was cancelled took something: {got!r} is left")


async def _nothing(_: bool, __: Any) -> None:
    return None


async def cancels_a_dial(arena: Arena) -> None:
    """A dial, cancelled anywhere, leaves nothing open, and the next one works."""
    for faults in (None, rtt.Faults()):
        plan = [faults] * MOST_STEPS
        async with (
            arena.case(f"dial, {'as it is' if faults is None else 'wrapped'}"),
            arena.ends(dialed=plan, accepted=plan) as ends,
        ):
            for step in range(MOST_STEPS):
                cancelled, _ = await cancelled_at(step, lambda: _dial_and_leave(ends))
                if not cancelled:
                    break
            require(not cancelled, "dial never ran through")
            async with dialled(ends) as joined:
                await joined.here.control.send(b"the next one")
                require(await joined.there.control.receive() == b"the next one", "something else came")


async def _dial_and_leave(ends: Ends) -> None:
    async with ends.alice.dial(ends.address, expect=BOB.fingerprint) as session:
        session.abort("that is all")
    await settled(lambda: not ends.alice.session_count, "a session is left")
    await emptied(ends.bob)


async def cancels_a_session(arena: Arena) -> None:
    """Every async method of sessions and channels, cancelled anywhere, has done all of its work or none."""
    for faults in (None, rtt.Faults(chunks=(1, 500), seed=3)):
        async with (
            arena.case(f"methods, {'as it is' if faults is None else 'in pieces'}"),
            arena.joined(SMALL, dialed=[faults], accepted=[faults]) as joined,
        ):
            await _cancel_methods(joined)


async def _cancel_methods(joined: Joined) -> None:
    ours, theirs = await joined.channel()
    arrived = 0

    async def sent(cancelled: bool, _: object) -> None:
        nonlocal arrived
        await ours.flush()
        got = len(theirs.receive_nowait())
        require(
            got == (0 if cancelled else 1),
            f"a send that {'was cancelled' if cancelled else 'returned'}: {got}",
        )
        arrived += got
        balanced(ours)

    await at_every_checkpoint(lambda: ours.send(b"once"), sent, "send")
    await at_every_checkpoint(lambda: ours.send_many([b"once"]), sent, "send_many")
    await at_every_checkpoint(ours.flush, _nothing, "flush")

    async def received(cancelled: bool, got: object) -> None:
        if cancelled:
            require(await theirs.receive() == b"kept", "a receive that was cancelled took the message")
        await ours.send(b"kept")

    await ours.send(b"kept")
    await at_every_checkpoint(theirs.receive, received, "receive")
    await at_every_checkpoint(theirs.receive_many, received, "receive_many")

    async def accepted(cancelled: bool, channel: rtt.Channel | None) -> None:
        if cancelled:
            channel = await joined.there.accept_channel()
        require(channel is not None and channel.name == "another", "the wrong channel was accepted")
        await joined.here.open_channel("state", name="another")

    await joined.here.open_channel("state", name="another")
    await at_every_checkpoint(joined.there.accept_channel, accepted, "accept_channel")
    await at_every_checkpoint(lambda: joined.here.open_channel("state"), _nothing, "open_channel")
    await at_every_checkpoint(ours.aclose, _nothing, "aclose of a channel")
    await joined.here.control.send(b"alive")
    require(await joined.there.control.receive() == b"alive", "the session did not survive")
    joined.there.abort("peer is done")
    await at_every_checkpoint(joined.here.aclose, _nothing, "aclose of a session")
    require(joined.here.ended, "a session that was closed has not ended")


CANCELLING = {
    "cancels its methods": cancels_its_methods,
    "cancels a dial": cancels_a_dial,
    "cancels a session": cancels_a_session,
}

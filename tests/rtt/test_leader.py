"""Who reads a carrier: the receiver that waits, or the pump's own task (RTT-60, RTT-61, RTT-63).

Most of these tests stop the clock. The relief that comes after a millisecond then never comes, so whatever is
read is read because somebody waits.
"""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.rtt.arrange import SAFETY, paired, until
from tests.rtt.test_channels import SMALL
from web4 import rtt
from web4.rtt.pump import RELIEF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rtt.arrange import Pair

TURNS = 30


@pytest.fixture
def stopped(mock_clock: trio.testing.MockClock) -> Iterator[trio.testing.MockClock]:
    """A clock that only moves when a test moves it. A test that hangs is interrupted by the operating system."""

    def interrupt(_: object, __: object) -> None:
        raise TimeoutError("the test hangs")

    mock_clock.rate = 0.0
    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, SAFETY)
    yield mock_clock
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


class PumpSteps(trio.abc.Instrument):
    """How often the pumps' own tasks ran."""

    def __init__(self) -> None:
        self.count = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += "RttSession._run" in task.name


async def test_a_receiver_that_waits_reads_itself(stopped: trio.testing.MockClock) -> None:
    """A round trip wakes no task but the two that talk."""
    async with paired() as pair:
        ours, theirs = await pair.channel()

        async def echo() -> None:
            for _ in range(TURNS):
                await theirs.send(await theirs.receive())

        steps = PumpSteps()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            for turn in range(TURNS):
                if turn == 2:
                    # Both pumps have been taken over from, and know it.
                    trio.lowlevel.add_instrument(steps)
                await ours.send(b"%d" % turn)
                assert await ours.receive() == b"%d" % turn
        trio.lowlevel.remove_instrument(steps)
        assert steps.count == 0


async def test_the_relief_reads_when_nobody_leads(stopped: trio.testing.MockClock) -> None:
    """RTT-27, RTT-43: a task that received and went on with something else does not leave the carrier unread: within
    ten milliseconds of its leaving the pump's own task watches."""
    async with paired() as pair:
        ours, theirs = await pair.channel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_when_blocked, ours, b"first")
            assert await theirs.receive() == b"first"
        await ours.send(b"second")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert theirs.stats()["received"] == 1, "somebody reads though nobody waits, and time stands still"
        for _ in range(2):
            stopped.jump(RELIEF)
            await trio.testing.wait_all_tasks_blocked(0.001)
        await until(lambda: theirs.stats()["received"] == 2)
        assert theirs.receive_nowait() == [b"second"]


async def send_when_blocked(channel: rtt.Channel, message: bytes) -> None:
    await trio.testing.wait_all_tasks_blocked()
    await channel.send(message)


async def test_a_leader_that_leaves_makes_another_receiver_lead(stopped: trio.testing.MockClock) -> None:
    """The first leads, the second waits; the first gets its message, or is cancelled, or its channel is closed: then
    the second leads, and gets its own."""
    async with paired() as pair:
        for leave in ("message", "cancelled", "closed"):
            ours, theirs = await pair.channel(name="first")
            other_ours, other_theirs = await pair.channel(name="second")
            got: list[bytes] = []
            scope = trio.CancelScope()

            async def lead(channel: rtt.Channel = theirs, scope: trio.CancelScope = scope) -> None:
                with scope:
                    try:
                        await channel.receive()
                    except rtt.ChannelClosedError:
                        assert leave == "closed"  # noqa: B023

            async def follow(channel: rtt.Channel = other_theirs, got: list[bytes] = got) -> None:
                got.append(await channel.receive())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(lead)
                await trio.testing.wait_all_tasks_blocked(0.001)
                nursery.start_soon(follow)
                await trio.testing.wait_all_tasks_blocked(0.001)
                assert list(pair.there.parked) == [other_theirs]
                match leave:
                    case "message":
                        await ours.send(b"for the leader")
                    case "cancelled":
                        scope.cancel()
                    case _:
                        await theirs.aclose()
                await trio.testing.wait_all_tasks_blocked(0.001)
                await until(lambda: not pair.there.parked)
                await other_ours.send(b"for the other")
            assert got == [b"for the other"]
            assert scope.cancelled_caught == (leave == "cancelled")


async def test_a_cancelled_leader_has_taken_nothing(stopped: trio.testing.MockClock) -> None:
    """RTT-63: cancelled while it reads for everybody, in the moment in which its message comes, or before."""
    async with paired() as pair:
        ours, theirs = await pair.channel()
        for _ in range(TURNS):
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(send_and_cancel, ours, theirs, scope)
                    assert await theirs.receive() == b"kept"
                    continue
            assert await theirs.receive() == b"kept"
            assert theirs.receive_nowait() == []


async def send_and_cancel(ours: rtt.Channel, theirs: rtt.Channel, scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    await ours.send(b"kept")
    for _ in range(random.randrange(4)):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_what_somebody_else_reads_wakes_the_leader(stopped: trio.testing.MockClock) -> None:
    """RTT-43: what is due is done after what has arrived was taken in, by whoever notices; a leader learns of it."""
    async with paired() as pair:
        ours, theirs = await pair.channel()
        got: list[bytes] = []

        async def lead() -> None:
            got.append(await theirs.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lead)
            await trio.testing.wait_all_tasks_blocked(0.001)
            assert not pair.there.pump.takes_leader
            assert ours.send_nowait(b"read by another") == rtt.Outcome.ACCEPTED
            while theirs.stats()["received"] == 0:
                # Not once in between can the leader run.
                pair.there.pump.advance()
        assert got == [b"read by another"]
        assert pair.there.pump.takes_leader


async def test_whoever_waits_is_read_for(stopped: trio.testing.MockClock) -> None:
    """RTT-24, RTT-41, RTT-65: a send that waits for room, a flush, an accept and a graceful end need what the peer
    sends. A leader that left just before does not keep them waiting, though no time passes."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel()

        async def lead_and_leave() -> None:
            """Take the turn from the relief of both ends, and leave it."""
            for sending, receiving in ((ours, theirs), (theirs, ours)):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_when_blocked, sending, b"turn")
                    assert await receiving.receive() == b"turn"

        await lead_and_leave()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.there.accept_channel)
            await trio.testing.wait_all_tasks_blocked(0.001)
            await pair.here.open_channel("state")

        await lead_and_leave()
        filled = 0
        while ours.stats()["queued"] < SMALL.knowledge.messages:
            ours.send_nowait(b"x")
            filled += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send, b"waits for room")
            await trio.testing.wait_all_tasks_blocked(0.001)
            assert ours.stats()["waiting"] == 1
            for _ in range(filled + 1):
                await theirs.receive()

        await ours.send(b"flushed")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.flush)
            await trio.testing.wait_all_tasks_blocked(0.001)
            assert await theirs.receive() == b"flushed"
            # An acknowledgement is due 25 ms after what it is for.
            stopped.jump(0.03)

        await lead_and_leave()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.there.aclose)
            nursery.start_soon(pair.here.aclose)


async def test_a_leader_learns_of_every_end(stopped: trio.testing.MockClock) -> None:
    """RTT-41, RTT-61: aborted here, aborted by the peer, endpoint left."""
    for end in ("here", "peer", "endpoint"):
        async with paired() as pair:
            _, theirs = await pair.channel()

            async def lead(channel: rtt.Channel = theirs) -> None:
                with pytest.raises((rtt.SessionClosedError, rtt.SessionLost)):
                    await channel.receive()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(lead)
                await trio.testing.wait_all_tasks_blocked(0.001)
                end_session(pair, end)
            assert pair.there.ended
            assert not pair.there.parked


def end_session(pair: Pair, how: str) -> None:
    match how:
        case "here":
            pair.there.abort("over")
        case "peer":
            pair.here.abort("over")
        case _:
            pair.bob.abort_all()


@pytest.mark.parametrize("seed", range(8))
async def test_a_storm_of_leaders(seed: int, stopped: trio.testing.MockClock) -> None:
    """RTT-23, RTT-63: receivers of four channels lead by turns and are cancelled all the time. Every message arrives
    once and in order, and none waits for the clock: it stands still."""
    choose = random.Random(seed)
    async with paired() as pair:
        channels = [await pair.channel(name=f"{number}") for number in range(4)]
        scopes: list[trio.CancelScope] = []
        got: dict[int, list[bytes]] = {theirs.id: [] for _, theirs in channels}
        expected = [b"%d" % number for number in range(40)]

        async def receive(theirs: rtt.Channel) -> None:
            while len(got[theirs.id]) < len(expected):
                with trio.CancelScope() as scope:
                    scopes.append(scope)
                    got[theirs.id].append(await theirs.receive())
                if choose.random() < 0.3:
                    await trio.lowlevel.checkpoint()

        async def send(ours: rtt.Channel) -> None:
            for message in expected:
                await ours.send(message)
                while choose.random() < 0.5:
                    await trio.lowlevel.checkpoint()

        async def cancel() -> None:
            while True:
                for _ in range(choose.randrange(12)):
                    await trio.lowlevel.checkpoint()
                if scopes:
                    scopes.pop(choose.randrange(len(scopes))).cancel()

        async with trio.open_nursery() as chaos:
            chaos.start_soon(cancel)
            async with trio.open_nursery() as nursery:
                for ours, theirs in channels:
                    nursery.start_soon(receive, theirs)
                    nursery.start_soon(send, ours)
            chaos.cancel_scope.cancel()
        assert all(messages == expected for messages in got.values())
        assert not pair.there.parked

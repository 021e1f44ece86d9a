"""Single sends of a burst share a write, and nothing else about them changes (RTT-20 to RTT-22, RTT-39, RTT-40)."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel
import trio.testing

from tests.rtt import foreign
from tests.rtt.arrange import BOB, LOOPBACK, SAFETY, anybody, next_session, paired, until
from tests.rtt.foreign import Foreigner
from tests.rtt.test_channels import SMALL
from tests.rtt.test_resume import cut
from web4 import rtt
from web4.rtt import bursts

if TYPE_CHECKING:
    from tests.rtt.arrange import Pair


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst ends when the loop sleeps, but not because this machine is slow."""
    monkeypatch.setattr(bursts, "LONGEST", 2 * SAFETY)


async def hold(ours: rtt.Channel, *messages: bytes) -> None:
    """Send a first message, and others that wait to be written with more. Nothing may sleep in between."""
    await ours.send(b"first")
    assert ours.stats()["queued"] == 0, "the first after a pause is written at once"
    for message in messages:
        await ours.send(message)
    assert ours.stats()["queued"] == len(messages)


async def expect(theirs: rtt.Channel, *messages: bytes) -> None:
    with trio.fail_after(SAFETY):
        for message in (b"first", *messages):
            assert await theirs.receive() == message


@pytest.mark.usefixtures("patient")
async def test_what_follows_the_first_is_written_when_the_loop_would_sleep(pair: Pair) -> None:
    ours, theirs = await pair.channel()
    for _ in range(5):
        await hold(ours, b"second", b"third")
        writes = pair.here.stats()["frames_sent"]
        with trio.fail_after(SAFETY):
            # On a slow machine a sleep this short is over before it begins.
            while ours.stats()["queued"]:  # noqa: ASYNC110 - it is the sleeping that matters
                await trio.sleep(0.001)
        assert pair.here.stats()["frames_sent"] >= writes + 2
        await expect(theirs, b"second", b"third")


@pytest.mark.usefixtures("patient")
async def test_what_fills_a_record_is_written(pair: Pair) -> None:
    ours, theirs = await pair.channel()
    await ours.send(b"first")
    most = 0
    for _ in range(64):
        await ours.send(bytes(1000))
        most = max(most, ours.stats()["queued_bytes"])
    assert 8_000 < most < 16 * 1024
    await expect(theirs, *[bytes(1000)] * 64)


async def test_a_busy_loop_holds_nothing_back(pair: Pair) -> None:
    """A task that is always ready to run keeps the loop from sleeping for ever: what is held goes all the same."""
    ours, theirs = await pair.channel()
    over = False

    async def spin() -> None:
        while not over:
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(spin)
        for _ in range(20):
            await ours.send(b"first")
            await ours.send(b"second")
            await expect(theirs, b"second")
        over = True


@pytest.mark.usefixtures("patient")
async def test_only_single_awaited_sends_of_other_kinds_than_control_wait(pair: Pair) -> None:
    """RTT-21: control takes along what is held; so do batches and sends that cannot wait."""
    ours, _ = await pair.channel()
    control, _ = await pair.channel("control")
    await trio.sleep(0.001)
    await hold(ours, b"held")
    await control.send(b"now")
    assert control.stats()["queued"] == 0
    assert ours.stats()["queued"] == 0
    await ours.send(b"held again")
    assert ours.stats()["queued"] == 1
    await ours.send_many([b"a", b"batch"])
    assert ours.stats()["queued"] == 0
    await ours.send(b"held again")
    ours.send_nowait(b"now")
    assert ours.stats()["queued"] == 0


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("policy", ["error", "drop_oldest", "drop_newest"])
async def test_no_policy_acts_on_what_is_only_held(policy: str) -> None:
    """RTT-39, RTT-40: two messages fit the queue and credit is for two. Written one by one, two of four would be on
    their way and two in the queue; so nothing is refused and nothing dropped here either."""
    options = rtt.Options(state=rtt.ChannelLimits(1024, 2, 64 * 1024))
    async with paired(options=options) as pair:
        theirs = await pair.there.open_channel("state")
        ours = await pair.here.accept_channel(policy=policy)
        await hold(ours, b"second", b"third")
        assert await ours.send(b"fourth") == rtt.Outcome.ACCEPTED
        assert ours.stats()["overflow_events"] == 0
        await expect(theirs, b"second", b"third", b"fourth")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("end", ["abort", "reset", "channel", "session", "flush"])
async def test_every_end_takes_along_what_is_held(end: str, pair: Pair) -> None:
    """RTT-22: it gets as far as if each had been written by itself."""
    ours, theirs = await pair.channel()
    await hold(ours, b"second", b"third")
    match end:
        case "abort":
            pair.here.abort("over")
        case "reset":
            ours.reset()
        case "channel":
            await ours.aclose()
        case "session":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pair.here.aclose)
                nursery.start_soon(pair.there.aclose)
        case _:
            await ours.flush()
            assert ours.stats()["acknowledged"] == 3
    await expect(theirs, b"second", b"third")


async def test_a_clock_that_jumps_does_not_overtake_a_message(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop never sleeps under such a clock, it jumps: what is held goes before that."""
    autojump_clock.autojump_threshold = float("inf")
    monkeypatch.setattr(bursts, "LONGEST", 2 * SAFETY)
    async with paired() as pair:
        ours, theirs = await pair.channel()
        await hold(ours, b"second")
        autojump_clock.autojump_threshold = 0.0
        await ours.send(b"third")
        assert ours.stats()["queued"] == 0
        autojump_clock.autojump_threshold = float("inf")
        await until(lambda: theirs.stats()["received"] == 3)


@pytest.mark.usefixtures("patient")
async def test_bursts_into_a_full_socket_go_on_when_it_takes_more() -> None:
    """RTT-23: a burst that ends with a full socket is drained like any other write."""
    async with rtt.open_endpoint(BOB) as bob:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        port = int(listener.addresses[0].rsplit(":", 1)[1])
        full, count = trio.Event(), [0]

        def read_late() -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=SAFETY) as connection:
                peer = Foreigner(connection, b"f" * 32)
                peer.handshake()
                foreign.open_session(peer, window=64 << 20)
                peer.write(foreign.opened(1, 1, credit=(1 << 20, 1 << 30), max_message=1 << 20))
                trio.from_thread.run(full.wait)
                while b"the last" not in peer.read():
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, read_late, abandon_on_cancel=True))
            session = await next_session(bob)
            channel = await session.accept_channel()
            while not session.pump.draining and count[0] < 10_000:
                await trio.sleep(1e-5)
                await channel.send(b"first")
                await channel.send(bytes(15 * 1024))
                count[0] += 1
            assert session.pump.draining, "the socket took everything"
            full.set()
            with trio.fail_after(SAFETY):
                await until(lambda: not session.pump.draining)
                await channel.send(b"the last")
        session.abort("done")


@pytest.mark.usefixtures("patient")
async def test_a_cut_ends_a_burst(pair: Pair) -> None:
    """RTT-23, RTT-41: what was held when the carrier was cut, and what is sent before there is another, goes upon the
    next one; and bursts begin and end there as before."""
    ours, theirs = await pair.channel()
    for number in range(1, 4):
        await hold(ours, b"held")
        cut(pair.here)
        # It may have found another carrier before this looks.
        await until(lambda number=number: pair.here.state == "suspended" or pair.here.reconnects == number)  # type: ignore[misc]
        await ours.send(b"between")
        await ours.send(b"between")
        await expect(theirs, b"held", b"between", b"between")
        await until(lambda number=number: pair.here.reconnects == number)  # type: ignore[misc]
        await trio.sleep(0.001)


async def test_the_instrument_lives_as_long_as_a_carrier_that_sent() -> None:
    """A run that only receives pays nothing; one whose last session ended pays nothing any more."""
    assert bursts._bursts.get(None) is None
    async with paired() as first, paired(options=SMALL) as second:
        ours, theirs = await first.channel()
        assert bursts._bursts.get(None) is None
        await ours.send(b"x")
        instrument = bursts._bursts.get(None)
        await theirs.send(b"x")
        ours, _ = await second.channel()
        await ours.send(b"x")
        assert bursts._bursts.get(None) is instrument is not None
        first.here.abort("over")
        await until(lambda: first.there.ended)
        assert bursts._bursts.get(None) is instrument
        second.here.abort("over")
        assert bursts._bursts.get(None) is None
        with pytest.raises(KeyError):
            trio.lowlevel.remove_instrument(instrument)


async def test_many_senders_share_writes_in_order(pair: Pair) -> None:
    """RTT-23: exactly once, and in the order of each sender."""
    ours, theirs = await pair.channel()
    count = 500

    async def send(who: int) -> None:
        for number in range(count):
            await ours.send(b"%d:%d" % (who, number))
            if number % 7 == who:
                await trio.lowlevel.checkpoint()

    got: list[bytes] = []
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            for who in range(5):
                nursery.start_soon(send, who)
            while len(got) < 5 * count:
                got += await theirs.receive_many()
    for who in range(5):
        mine = [message for message in got if message.startswith(b"%d:" % who)]
        assert mine == [b"%d:%d" % (who, number) for number in range(count)]

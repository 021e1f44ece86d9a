"""Channels: sending, receiving, policies, ends (sections 6 and 10; RTT-38 to RTT-42, RTT-58, RTT-60 to RTT-65)."""

from __future__ import annotations

import contextlib
import itertools
import math
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.rtt import foreign
from tests.rtt.arrange import BOB, LOOPBACK, SAFETY, anybody, next_session, paired, until
from tests.rtt.foreign import Foreigner
from web4 import rtt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.rtt.arrange import Pair

SMALL = rtt.Options(knowledge=rtt.ChannelLimits(1024, 4, 1024))
"""Queue and credit of four messages: four can be under way, four can wait."""


def balanced(channel: rtt.Channel) -> dict[str, int]:
    """The counters of a channel, after the balances of RTT-42 were checked."""
    stats = channel.stats()
    assert stats["attempted"] == sum(
        stats[name] for name in ("accepted", "dropped_newest", "failed", "cancelled", "waiting")
    )
    assert stats["accepted"] == sum(
        stats[name] for name in ("queued", "in_flight", "acknowledged", "dropped_oldest", "lost")
    )
    assert stats["dropped"] == stats["dropped_oldest"] + stats["dropped_newest"]
    return stats


async def fill(ours: rtt.Channel) -> int:
    """Send until credit and queue are full and nothing moves any more; how many messages that took."""
    count = 0
    while True:
        try:
            ours.send_nowait(b"%d" % count)
            count += 1
        except rtt.BackpressureError:
            if ours.stats()["in_flight"] == 0 and ours.stats()["queued"] == 4:
                return count
            await trio.testing.wait_all_tasks_blocked(0.001)


async def test_rtt_limits_distinct(pair: Pair) -> None:
    """Section 15, RTT-18, RTT-19: five limits, five errors, and the session goes on."""
    ours, theirs = await pair.channel()
    with pytest.raises(rtt.MessageTooLargeError) as oversize:
        await ours.send(bytes((1 << 20) + 1))
    with pytest.raises(rtt.MessageTooLargeError):
        await ours.send_many([b"fits", bytes((1 << 20) + 1)])
    with pytest.raises(rtt.BatchTooLargeError):
        await ours.send_many([bytes(1 << 20), b"x"])
    with pytest.raises(rtt.ChannelKindError) as unknown:
        await pair.here.open_channel("gossip")
    # Channel 0 and the one above are two of the 64.
    more = [await pair.here.open_channel("state") for _ in range(62)]
    with pytest.raises(rtt.LimitError) as many:
        await pair.here.open_channel("state")
    await ours.aclose()
    with pytest.raises(rtt.ChannelClosedError) as closed:
        await ours.send(b"x")
    assert [error.value.code for error in (oversize, unknown, many, closed)] == [
        "message_too_large",
        "unknown_kind",
        "too_many_channels",
        "channel_closed",
    ]
    # Nothing of what failed was sent, and another channel works.
    with pytest.raises(trio.EndOfChannel):
        await theirs.receive()
    await more[0].send(b"alive")
    last = await pair.there.accept_channel()
    assert await last.receive() == b"alive"
    assert pair.here.state == pair.there.state == "open"


async def test_channels_are_told_of_at_both_ends(pair: Pair) -> None:
    """OBS-2: `channel_open` where one is opened and where it is accepted, `channel_close` where it is closed."""
    ours, theirs = await pair.channel("state")
    for events, channel in ((pair.alice_events, ours), (pair.bob_events, theirs)):
        (opened,) = events.fields("channel_open")
        assert (opened["channel"], opened["kind"]) == (channel.id, "state")
        assert opened["session_id"] == pair.here.session_id.hex()
        assert events.fields("channel_close") == []
    await ours.aclose()
    (closed,) = pair.alice_events.fields("channel_close")
    assert (closed["channel"], closed["peer"]) == (ours.id, pair.here.peer)


async def test_windows_below_a_message_are_refused() -> None:
    """RTT-19, RTT-51: a window that cannot hold one message fails at construction, by its name."""
    for options in (
        {"knowledge": rtt.ChannelLimits(1024, 4, 1023)},
        {"state": rtt.ChannelLimits(1024, 0, 1024)},
        {"heartbeat": 0.0},
        {"channels": 0},
        {"frame_payload": 1},
        {"half_open": 0},
        {"handshake_timeout": float("nan")},
        {"resend_bytes": -1},
    ):
        with pytest.raises(rtt.LimitError) as caught:
            async with rtt.open_endpoint(BOB, options=rtt.Options(**options)):
                pytest.fail("it opened")
        assert caught.value.code == "bad_option"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, -1.0, 0.0, 2**70])
@pytest.mark.parametrize("name", ["heartbeat", "drain_timeout", "ack_delay", "handshake_timeout"])
def test_times_that_cannot_be(name: str, value: float) -> None:
    """RTT-51: checked at construction, by name."""
    with pytest.raises(rtt.LimitError) as caught:
        rtt.Options(**{name: value})  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.field) == ("bad_option", name)


@pytest.mark.parametrize("value", [-1, 0, 1.5, 1 << 32, math.inf, None])
@pytest.mark.parametrize("name", ["channels", "resend_bytes", "sessions", "half_open", "carriers_burst"])
def test_counts_that_cannot_be(name: str, value: Any) -> None:
    """RTT-51."""
    with pytest.raises(rtt.LimitError) as caught:
        rtt.Options(**{name: value})
    assert (caught.value.code, caught.value.field) == ("bad_option", name)
    with pytest.raises(rtt.LimitError) as caught:
        rtt.Options(state=rtt.ChannelLimits(1024, value, 1024))
    assert caught.value.field == "state.messages"


async def test_what_the_peer_may_not_open_is_reset() -> None:
    """RTT-18, RTT-19, section 15: on the wire unknown kind, bad window and one channel too many are three RESETs, and
    the session goes on."""
    async with rtt.open_endpoint(BOB) as bob:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        port = int(listener.addresses[0].rsplit(":", 1)[1])
        resets: list[tuple[int, int]] = []

        def attack() -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=SAFETY) as connection:
                peer = Foreigner(connection, b"f" * 32)
                peer.handshake()
                foreign.open_session(peer)
                peer.write(foreign.opened(1, 1, kind=9) + foreign.opened(2, 3, credit=(0, 65536)))
                peer.write(foreign.opened(3, 5, credit=(16, 65535)))
                read_resets(peer, 3)
                peer.write(b"".join(foreign.opened(4 + n, 7 + 2 * n) for n in range(64)))
                peer.write(foreign.message(68, 7, b"alive"))
                read_resets(peer, 4)
                trio.from_thread.run(done.wait)

        def read_resets(peer: Foreigner, count: int) -> None:
            while len(resets) < count:
                for kind, body in foreign.frames(peer.read()):
                    if kind == 0x13:
                        resets.append((int.from_bytes(body[:4]), int.from_bytes(body[4:])))

        done = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, attack, abandon_on_cancel=True))
            session = await next_session(bob)
            channel = await session.accept_channel()
            assert (channel.id, await channel.receive()) == (7, b"alive")
            await until(lambda: len(resets) == 4)
            assert resets == [(1, 0x0200), (3, 0x0201), (5, 0x0201), (7 + 2 * 63, 0x0202)]
            assert session.state == "open"
            session.abort("done")
            done.set()


async def test_qos_bad_policy_rejected(pair: Pair) -> None:
    """RTT-39: unknown names, and drop policies on control, fail at opening on both sides; the aliases work."""
    for kind, policy in (
        ("knowledge", "random"),
        ("state", ""),
        ("control", "drop_oldest"),
        ("control", "dropnewest"),
    ):
        with pytest.raises(rtt.ChannelKindError) as caught:
            await pair.here.open_channel(kind, policy=policy)
        assert caught.value.code == "bad_policy"
    await pair.here.open_channel("control", policy="error")
    for policy in ("dropoldest", "dropnewest", "drop_oldest", "drop_newest", "block", "error"):
        await pair.here.open_channel("knowledge", policy=policy)
    with pytest.raises(rtt.ChannelKindError):
        await pair.there.accept_channel(policy="drop_oldest")
    # It stays to be accepted.
    assert (await pair.there.accept_channel(policy="block")).kind == "control"


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
async def test_bad_block_timeout(pair: Pair, seconds: float) -> None:
    """RTT-41: a time that nobody can wait for fails at opening, not after the message was queued."""
    with pytest.raises(ValueError, match="block_timeout"):
        await pair.here.open_channel("knowledge", block_timeout=seconds)
    with pytest.raises(ValueError, match="block_timeout"):
        await pair.there.accept_channel(block_timeout=seconds)


@pytest.mark.parametrize("name", ["", "x" * 65, "café", "a\nb"])
async def test_bad_names(pair: Pair, name: str) -> None:
    """RTT-18."""
    with pytest.raises(ValueError, match="name"):
        await pair.here.open_channel("knowledge", name=name)


async def test_policy_error() -> None:
    """RTT-39: a full queue refuses, tells which, and queues nothing."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel(policy="error")
        count = await fill(ours)
        for attempt in (ours.send(b"x"), ours.send_many([b"x"])):
            with pytest.raises(rtt.BackpressureError) as caught:
                await attempt
            assert caught.value.code == "queue_full"
        with pytest.raises(trio.WouldBlock):
            ours.send_nowait(b"x")
        assert balanced(ours)["queued"] == 4
        got = [await theirs.receive() for _ in range(count)]
        assert got == [b"%d" % number for number in range(count)]
        assert theirs.receive_nowait() == []


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("drop_oldest", [b"8", b"9", b"10", b"11"]), ("drop_newest", [b"4", b"5", b"6", b"7"])],
)
async def test_drop_policies(policy: str, kept: list[bytes]) -> None:
    """RTT-39, RTT-40, RTT-70: what is dropped is the oldest or the newest unsent one, told in outcome and stats."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel(policy=policy)
        outcomes = await ours.send_many([b"%d" % number for number in range(4)])
        await ours.flush()
        outcomes += [await ours.send(b"%d" % number) for number in range(4, 8)]
        assert outcomes == [rtt.Outcome.ACCEPTED] * 8
        dropped = rtt.Outcome.EVICTED_OLDEST if policy == "drop_oldest" else rtt.Outcome.DROPPED_NEWEST
        assert await ours.send_many([b"8", b"9"]) == [dropped] * 2
        assert [ours.send_nowait(b"10"), await ours.send(b"11")] == [dropped] * 2
        stats = balanced(ours)
        assert (stats["dropped"], stats[policy.replace("drop_", "dropped_")]) == (4, 4)
        got = [await theirs.receive() for _ in range(8)]
        assert got == [b"0", b"1", b"2", b"3", *kept]
        await ours.flush()
        assert balanced(ours)["acknowledged"] == 8


async def test_qos_block_wakes_on_space_and_timeout() -> None:
    """RTT-41: waiters wake in order; the timeout names itself; a cancelled one leaves no trace."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel(block_timeout=None)
        slow = await pair.here.open_channel("knowledge", block_timeout=0.01)
        await fill(slow)
        with pytest.raises(rtt.BackpressureError) as caught:
            await slow.send(b"late")
        assert caught.value.code == "block_timeout"
        assert balanced(slow)["cancelled"] == 1

        count = await fill(ours)
        woken: set[int] = set()

        async def send(number: int, scope: trio.CancelScope) -> None:
            with scope:
                assert await ours.send(b"waiter %d" % number) == rtt.Outcome.ACCEPTED
                woken.add(number)

        scopes = [trio.CancelScope() for _ in range(4)]
        async with trio.open_nursery() as nursery:
            for number, scope in enumerate(scopes):
                nursery.start_soon(send, number, scope)
                await trio.testing.wait_all_tasks_blocked()
            assert balanced(ours)["waiting"] == 4
            scopes[1].cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert balanced(ours)["waiting"] == 3
            # The oldest message leaves the queue: room for the first waiter only.
            got = [await theirs.receive() for _ in range(count + 3)]
        assert woken == {0, 2, 3}
        assert got[count:] == [b"waiter 0", b"waiter 2", b"waiter 3"]
        assert theirs.receive_nowait() == []


async def test_a_cancelled_batch_lets_those_behind_it_in() -> None:
    """RTT-41, RTT-62: a small message behind a large batch goes as soon as that is cancelled, with nothing else
    happening on the session."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel()
        await ours.send_many([b"%d" % number for number in range(4)])
        await ours.flush()
        # No credit is left; three wait in the queue, so that one fits and two do not.
        await ours.send_many([b"4", b"5", b"6"])
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def large() -> None:
                with scope:
                    await ours.send_many([b"x", b"y"])
                    pytest.fail("there was no room")

            nursery.start_soon(large)
            await trio.testing.wait_all_tasks_blocked()
            done = trio.Event()

            async def small() -> None:
                await ours.send(b"7")
                done.set()

            nursery.start_soon(small)
            await trio.testing.wait_all_tasks_blocked()
            assert not done.is_set()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert done.is_set()
        assert [await theirs.receive() for _ in range(8)] == [b"%d" % number for number in range(8)]


async def test_qos_many_producers_fifo() -> None:
    """RTT-60: 50 tasks send; the order of each holds, and they are served in order of arrival."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel()

        async def produce(producer: int) -> None:
            for number in range(20):
                await ours.send(b"%d %d" % (producer, number))

        async with trio.open_nursery() as nursery:
            for producer in range(50):
                nursery.start_soon(produce, producer)
            got = [tuple(map(int, (await theirs.receive()).split())) for _ in range(1000)]
        for producer in range(50):
            assert [number for other, number in got if other == producer] == list(range(20))
        # First come, first served: once all wait, nobody is served twice before everybody was once.
        place: dict[int, list[int]] = {}
        for index, (producer, _) in enumerate(got):
            place.setdefault(producer, []).append(index)
        gaps = [
            later - earlier for spots in place.values() for earlier, later in itertools.pairwise(spots[1:])
        ]
        assert max(gaps) <= 50 + 8
        assert balanced(ours)["accepted"] == 1000


async def test_qos_send_many_atomic() -> None:
    """RTT-62: a batch cancelled while it waits has sent nothing; one that is not is whole and contiguous."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel()
        count = await fill(ours)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_when_blocked, scope)
                await ours.send_many([b"never"] * 4)
            assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            for name in (b"a", b"b", b"c"):
                nursery.start_soon(ours.send_many, [name] * 4)
            got = [await theirs.receive() for _ in range(count + 12)]
        assert b"never" not in got
        batches = [b"".join(got[at : at + 4]) for at in range(count, count + 12, 4)]
        assert sorted(batches) == [b"aaaa", b"bbbb", b"cccc"]
        assert balanced(ours)["cancelled"] == 4


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_empty_things(pair: Pair) -> None:
    """RTT-58: an empty message is a message; an empty batch is none; an empty queue is neither."""
    ours, theirs = await pair.channel()
    assert await ours.send_many([]) == []
    assert await ours.send(b"") == rtt.Outcome.ACCEPTED
    await ours.flush()
    assert await theirs.receive_many() == [b""]
    assert theirs.receive_nowait() == []
    await ours.aclose()
    with pytest.raises(trio.EndOfChannel):
        await theirs.receive()
    with pytest.raises(trio.EndOfChannel):
        theirs.receive_nowait()


@pytest.mark.parametrize("wrong", ["text", None, bytearray(b"x"), 7])
async def test_only_bytes_are_sent(pair: Pair, wrong: Any) -> None:
    """RTT-60: anything else is a TypeError, and nothing was attempted."""
    ours, _ = await pair.channel()
    with pytest.raises(TypeError):
        await ours.send(wrong)
    with pytest.raises(TypeError):
        ours.send_nowait(wrong)
    with pytest.raises(TypeError):
        await ours.send_many([b"x", wrong])
    assert ours.stats()["attempted"] == 0


@pytest.mark.parametrize("most", [0, -1])
async def test_receive_many_of_nothing(pair: Pair, most: int) -> None:
    """RTT-63: `max` below one would wait for ever."""
    _, theirs = await pair.channel()
    with pytest.raises(ValueError, match="max"):
        await theirs.receive_many(max=most)


async def test_a_second_receiver_is_busy(pair: Pair) -> None:
    """RTT-60: one task receives; another gets BusyResourceError, and steals nothing."""
    ours, theirs = await pair.channel()
    async with trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await theirs.receive())

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await theirs.receive()
        with pytest.raises(trio.BusyResourceError):
            theirs.receive_nowait()
        await ours.send(b"for the first")
    assert got == [b"for the first"]
    await ours.send(b"second")
    assert await theirs.receive() == b"second"


async def test_large_messages_go_through_whole(pair: Pair) -> None:
    """RTT-26: a message of many frames arrives whole, and its neighbours in order."""
    ours, theirs = await pair.channel()
    sent = [bytes([number]) * size for number, size in enumerate((1 << 20, 0, 16 * 1024, 16 * 1024 + 1, 1))]
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for data in sent:
                await ours.send(data)

        nursery.start_soon(send)
        assert [await theirs.receive() for _ in sent] == sent


async def test_api_async_for_ends(pair: Pair) -> None:
    """RTT-58: iteration ends on END; it raises on RESET and on a session that ended; the buffered messages come
    first, always."""
    for how in ("end", "reset", "session"):
        ours, theirs = await pair.channel()
        await ours.send_many([b"1", b"2"])
        await ours.flush()
        if how == "end":
            await ours.aclose()
        elif how == "reset":
            ours.reset()
        else:
            pair.here.abort("the end")
        got: list[bytes] = []

        async def read(theirs: rtt.Channel = theirs, got: list[bytes] = got) -> None:
            async for data in theirs:
                got.append(data)

        if how == "end":
            await read()
        else:
            expected = rtt.ChannelResetError if how == "reset" else rtt.SessionClosedError
            with pytest.raises(expected) as caught:
                # What has arrived is read; then the end is waited for.
                await read()
            assert isinstance(
                caught.value, trio.BrokenResourceError if how == "reset" else trio.ClosedResourceError
            )
        assert got == [b"1", b"2"]


async def test_reset_reaches_everybody() -> None:
    """RTT-58: a reset ends what waits on both sides, by whose doing it was; other channels go on."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel()
        await fill(ours)
        failures: list[Exception] = []

        async def expect(call: Callable[[], Awaitable[Any]]) -> None:
            with pytest.raises(rtt.RttError) as caught:
                await call()
            failures.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, lambda: ours.send(b"x"))
            nursery.start_soon(expect, lambda: ours.send_many([b"x"]))
            nursery.start_soon(expect, ours.receive)
            await trio.testing.wait_all_tasks_blocked()
            theirs.reset()
        assert {type(error) for error in failures} == {rtt.ChannelResetError}
        assert {getattr(error, "reset_code", None) for error in failures} == {"cancelled"}
        with pytest.raises(rtt.ChannelClosedError):
            await theirs.send(b"x")
        again, their_end = await pair.channel()
        await again.send(b"alive")
        assert await their_end.receive() == b"alive"


@pytest.mark.parametrize("how", ["normally", "exception", "cancellation"])
async def test_leaving_a_channels_block(pair: Pair, how: str) -> None:
    """RTT-61: leaving normally ends the channel, leaving by an exception or a cancellation resets it."""
    ours, theirs = await pair.channel()
    with trio.CancelScope() as scope, contextlib.suppress(KeyError):
        async with ours:
            await ours.send(b"said")
            await ours.flush()
            if how == "exception":
                raise KeyError
            if how == "cancellation":
                scope.cancel()
                await trio.sleep_forever()
    assert await theirs.receive() == b"said"
    with pytest.raises(trio.EndOfChannel if how == "normally" else rtt.ChannelResetError):
        await theirs.receive()


async def test_why_a_channel_says_nothing_more(pair: Pair) -> None:
    """Section 17, RTT-58: closed here is no end of the peer's, and the session's end outweighs a reset before it."""
    ours, theirs = await pair.channel()
    await theirs.send(b"unread")
    await theirs.flush()
    await ours.aclose()
    with pytest.raises(rtt.ChannelClosedError):
        await ours.receive()
    with pytest.raises(rtt.ChannelClosedError):
        ours.receive_nowait()

    ours, theirs = await pair.channel()
    theirs.reset()
    with pytest.raises(rtt.ChannelResetError) as caught:
        await ours.receive()
    assert caught.value.reset_code == "cancelled"
    pair.here.abort("over")
    with pytest.raises(rtt.SessionClosedError):
        await ours.receive()


async def test_closing_wakes_who_waits_here() -> None:
    """RTT-41: `aclose` ends the waits of this side with ChannelClosedError; what was accepted is still delivered."""
    async with paired(options=SMALL) as pair:
        ours, theirs = await pair.channel()
        count = await fill(ours)
        failures: list[type[BaseException]] = []

        async def expect(call: Callable[[], Awaitable[Any]]) -> None:
            with pytest.raises(rtt.ChannelClosedError) as caught:
                await call()
            failures.append(type(caught.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, lambda: ours.send(b"never"))
            nursery.start_soon(expect, ours.receive)
            await trio.testing.wait_all_tasks_blocked()
            await ours.aclose()
        assert len(failures) == 2
        got = [data async for data in theirs]
        assert got == [b"%d" % number for number in range(count)]
        await ours.aclose()


async def test_channel_zero_lives_as_long_as_its_session(pair: Pair) -> None:
    """RTT-18."""
    async with pair.here.control:
        await pair.here.control.send(b"one")
    await pair.here.control.send(b"two")
    assert await pair.there.control.receive() == b"one"
    assert await pair.there.control.receive() == b"two"


async def test_opening_waits_for_nobody() -> None:
    """RTT-65: an unaccepted channel takes what its first credit allows and holds no more."""
    async with paired(options=SMALL) as pair:
        ours = await pair.here.open_channel("knowledge", name="unaccepted")
        count = await fill(ours)
        assert count == 8
        theirs = await pair.there.accept_channel()
        assert [await theirs.receive() for _ in range(count)] == [b"%d" % number for number in range(count)]


async def test_errors_are_new_each_time(pair: Pair) -> None:
    """RTT-58: two tasks never raise one and the same exception object."""
    ours, _ = await pair.channel()
    pair.here.abort("over")
    errors = []
    for _ in range(2):
        with pytest.raises(rtt.SessionClosedError) as caught:
            await ours.send(b"x")
        errors.append(caught.value)
    assert errors[0] is not errors[1]

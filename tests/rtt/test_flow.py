"""Slow readers, floods and priorities (RTT-20, RTT-21, RTT-38, RTT-52, RTT-64)."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.rtt import foreign
from tests.rtt.arrange import ALICE, BOB, LOOPBACK, SAFETY, anybody, next_session, paired, until
from tests.rtt.foreign import Foreigner
from tests.rtt.processes import memory, peer_process
from web4 import rtt

if TYPE_CHECKING:
    from tests.rtt.arrange import Pair

PATIENT = rtt.Options(heartbeat=600.0)


async def test_rtt_credit_slow_reader(url: str) -> None:
    """RTT-38: a reader that stalls in another process blocks the sender at its windows, whatever is tried; other
    channels flow; reading makes it go on, with nothing lost."""
    async with peer_process("bob") as bob, rtt.open_endpoint(ALICE) as alice:
        address = (await bob.ask("listen", url=url))["addresses"][0]
        async with alice.dial(address, expect=BOB.fingerprint) as session:
            await bob.ask("accept")
            slow = await session.open_channel("knowledge", name="slow")
            await bob.ask("accept_channel")
            accepted, rounds, before = 0, 0, -1
            while rounds < 10 or accepted != before:  # a round in which nothing goes is the last
                rounds, before = rounds + 1, accepted
                with trio.move_on_after(0.02 if rounds < 10 else 0.2):
                    while True:
                        await slow.send(bytes(64 * 1024))
                        accepted += 1
            # Credit and queue have 1 MiB each: 16 messages there, 16 here, and not one more.
            assert accepted == 32
            assert slow.stats()["queued_bytes"] == 1 << 20
            await stays_blocked(slow)
            for kind in ("state", "knowledge", "control"):
                other = await session.open_channel(kind, name="other")
                await other.send(b"passes")
                await other.flush()
                await other.aclose()
            await session.control.send(b"passes")
            await session.control.flush()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(slow.flush)
                got = await bob.ask("receive", count=32)
            assert got["messages"] == ["00" * 64 * 1024] * 32
            session.abort("done")


async def stays_blocked(channel: rtt.Channel) -> None:
    before = channel.stats()
    with pytest.raises(rtt.BackpressureError):
        channel.send_nowait(bytes(64 * 1024))
    assert channel.stats()["queued"] == before["queued"]


async def test_a_large_message_after_a_small_one(pair: Pair) -> None:
    """RTT-38: the window of `knowledge` is as large as its largest message, so a byte that was read is credit that
    the next one may need. Found by a storm of cancellations: it waited for ever."""
    ours, theirs = await pair.channel()
    for channel, other in ((ours, theirs), (theirs, ours)):
        for size in (1, channel.max_message, 1, channel.max_message):
            with trio.fail_after(SAFETY):
                await channel.send(bytes(size))
                assert len(await other.receive()) == size


async def test_rtt_control_under_flood() -> None:
    """RTT-20, RTT-21: on the wire nothing stands between a control message and what was written before it was sent but
    one write of records, however much knowledge is queued: shallow and deep backlogs delay it alike."""
    size = 64 * 1024
    ahead: dict[int, tuple[int, int]] = {}
    for depth in (24, 240):
        options = rtt.Options(
            knowledge=rtt.ChannelLimits(size, 256, 32 << 20),
            resend_bytes=64 << 20,
            heartbeat=600.0,
            memory_per_peer=1 << 28,
        )
        async with rtt.open_endpoint(BOB, options=options) as bob:
            listener = await bob.listen(LOOPBACK, admit=anybody)
            full, came = trio.Event(), [0]

            def read(port: int, full: trio.Event = full, came: list[int] = came) -> None:
                with socket.socket() as connection:
                    # A small buffer, so that most of the flood is not given to the operating system.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
                    connection.settimeout(SAFETY)
                    connection.connect(("127.0.0.1", port))
                    peer = Foreigner(connection, b"f" * 32)
                    peer.handshake()
                    foreign.open_session(peer, window=32 << 20)
                    peer.write(foreign.opened(1, 1, credit=(1 << 20, 1 << 30), max_message=size))
                    trio.from_thread.run(full.wait)
                    came[0] = bytes_before_control(peer)

            async with trio.open_nursery() as nursery:
                port = int(listener.addresses[0].rsplit(":", 1)[1])
                nursery.start_soon(partial(trio.to_thread.run_sync, read, port, abandon_on_cancel=True))
                session = await next_session(bob)
                flood = await session.accept_channel()
                await flood.send_many([bytes(size)] * depth)
                # A message of which only a part was written counts as queued.
                written = flood.stats()["sent_bytes"] + size
                assert flood.stats()["queued"] > 8, "the flood did not fill the socket"
                await session.control.send(b"now")
                full.set()
            ahead[depth] = (came[0], written)
            session.abort("done")
    for came_before, written_before in ahead.values():
        assert 0 < came_before <= written_before + size
    assert ahead[240][0] < 240 * size / 4


def bytes_before_control(peer: Foreigner) -> int:
    """Read until the first message of channel 0; how many payload bytes of others came before it."""
    before, pending = 0, b""
    while True:
        pending += peer.read()
        whole, pending = foreign.split(pending)
        for kind, body in whole:
            if kind == 0x11:
                if body[:4] == bytes(4):
                    return before
                before += len(body) - 4


async def test_room_in_the_queue_is_news_while_the_socket_is_full() -> None:
    """RTT-41: a blocked sender goes on as soon as the queue has room, not when the socket has taken all."""
    async with paired(options=PATIENT) as pair:
        ours, theirs = await pair.channel()
        total = 64
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for number in range(total):
                    await ours.send(number.to_bytes(4) * (64 * 1024))

            nursery.start_soon(send)
            with trio.fail_after(SAFETY):
                for number in range(total):
                    assert (await theirs.receive())[:4] == number.to_bytes(4)


async def test_a_blocked_sender_needs_no_word_of_its_peer() -> None:
    """RTT-41: room that comes from writing wakes a sender, though the peer says nothing and the socket stays full."""
    size = 64 * 1024
    options = rtt.Options(
        knowledge=rtt.ChannelLimits(size, 256, 16 << 20),
        resend_bytes=64 << 20,
        heartbeat=600.0,
        memory_per_peer=1 << 28,
    )
    async with rtt.open_endpoint(BOB, options=options) as bob:
        port = int((await bob.listen(LOOPBACK, admit=anybody)).addresses[0].rsplit(":", 1)[1])
        full, over = trio.Event(), trio.Event()
        woken: list[bool] = []

        def read() -> None:
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
                connection.settimeout(SAFETY)
                connection.connect(("127.0.0.1", port))
                peer = Foreigner(connection, b"f" * 32)
                peer.handshake()
                foreign.open_session(peer, window=16 << 20)
                peer.write(foreign.opened(1, 1, credit=(1 << 20, 1 << 30), max_message=size))
                trio.from_thread.run(full.wait)
                while not woken:
                    peer.read()
                trio.from_thread.run(over.wait)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, read, abandon_on_cancel=True))
            session = await next_session(bob)
            channel = await session.accept_channel()
            while not session.pump.draining:
                await channel.send_many([bytes(size)] * 8)
            with contextlib.suppress(rtt.BackpressureError):
                while True:
                    channel.send_nowait(bytes(size))
            full.set()
            with trio.fail_after(SAFETY):
                await channel.send(bytes(size))
            assert session.pump.draining, "the socket took everything"
            woken.append(True)
            over.set()
        session.abort("done")


async def test_rtt_gil_released() -> None:
    """RTT-64: another Python thread runs while a large batch is decrypted in one native call. It never gets the
    interpreter otherwise, because nobody is asked to hand it over."""
    interval = sys.getswitchinterval()
    progress, over = [0], threading.Event()

    def work() -> None:
        while not over.is_set():
            progress[0] += 1
            time.sleep(0)

    during = {"advance": 0, "stats": 0}
    limits = rtt.ChannelLimits(1 << 20, 64, 16 << 20)
    options = rtt.Options(knowledge=limits, resend_bytes=32 << 20, heartbeat=600.0, memory_per_peer=1 << 28)
    async with paired(options=options) as pair:
        ours, theirs = await pair.channel()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        sys.setswitchinterval(1000.0)
        try:
            for _ in range(50):
                await ours.send(bytes(1 << 20))
                while theirs.stats()["received"] < ours.stats()["accepted"]:
                    before = progress[0]
                    pair.there.pump.advance()
                    during["advance"] += progress[0] - before
                    before = progress[0]
                    pair.there.stats()
                    during["stats"] += progress[0] - before
                    await trio.lowlevel.checkpoint()
                await theirs.receive()
        finally:
            sys.setswitchinterval(interval)
            over.set()
            thread.join()
    assert during["advance"] > 0
    assert during["stats"] == 0, "the measure itself lets the thread run"


async def test_an_idle_session_is_small() -> None:
    """RTT-52: limits are ceilings: an open session that does nothing holds no buffers of their size."""
    options = rtt.Options(
        sessions_per_peer=1000, heartbeat=600.0, carriers_burst=10_000, carriers_per_second=10_000
    )
    async with (
        rtt.open_endpoint(ALICE, options=options) as alice,
        rtt.open_endpoint(BOB, options=options) as bob,
    ):
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        for _ in range(20):
            await alice._dial(address, BOB.fingerprint)
        before = memory()
        for _ in range(300):
            await alice._dial(address, BOB.fingerprint)
        await until(lambda: bob.session_count == 320)
        # Both ends of 300 sessions live in this process.
        assert (memory() - before) / 600 < 128 * 1024
        alice.abort_all()
        bob.abort_all()

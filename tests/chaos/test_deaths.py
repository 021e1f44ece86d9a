"""Processes that are killed, restarted, stopped and woken (RTT-25, RTT-34, RTT-35, RTT-43, RTT-44)."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest
import trio

from tests.chaos.lanes import Lane, chaos
from tests.rtt.arrange import ALICE, BOB, LOOPBACK, SAFETY, Events, until
from tests.rtt.processes import peer_process
from web4 import rtt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rtt.processes import Peer

HASTY = rtt.Options(reconnect_base=0.01, reconnect_cap=0.05, handshake_timeout=20.0)
LIFE = ("heartbeat_timeout", "session_suspend", "session_resume", "session_lost", "session_close")


async def announced(bob: Peer, url: str) -> str:
    address: str = (await bob.ask("listen", url=url))["addresses"][0]
    await bob.ask("mirror")
    return address


async def test_a_restarted_peer_does_not_know_the_session(url: str) -> None:
    """RTT-25, RTT-35: killed and started again with the same identity, the peer refuses; SessionLost lists exactly
    what the killed one had not acknowledged, and a new session works at once."""
    events = Events()
    async with rtt.open_endpoint(ALICE, options=HASTY, emit=events) as alice:
        async with peer_process("bob") as bob:
            address = await announced(bob, url)
            session = await alice._dial(address, BOB.fingerprint)
            channel = await session.open_channel("knowledge", name="facts")
            with trio.fail_after(SAFETY):
                await channel.send_many([b"known %d" % number for number in range(10)])
                await channel.flush()
                # It has read nothing of this when it dies: its socket has.
                bob.process.send_signal(signal.SIGSTOP)
                left = [b"unknown %d" % number for number in range(5)]
                await channel.send_many(left)
                bob.process.kill()
                await until(lambda: session.state == "suspended")
        # Between the two nobody listens, and what is sent now is not even written.
        await channel.send(b"never seen")
        async with peer_process("bob") as bob:
            assert await announced(bob, address) == address
            with trio.fail_after(SAFETY), pytest.raises(rtt.SessionLost) as caught:
                await channel.flush()
            lost = caught.value
            assert lost.reason == "peer_restarted"
            assert lost.payloads() == (*left, b"never seen")
            assert [entry.state for entry in lost.messages] == ["unknown"] * 5 + ["unsent"]
            assert [entry.index for entry in lost.messages] == list(range(10, 16))
            assert events.names(*LIFE) == ["session_suspend", "session_lost", "session_close"]
            with trio.fail_after(SAFETY):
                async with alice.dial(address, expect=BOB.fingerprint) as fresh:
                    assert fresh.session_id != session.session_id
                    assert fresh.peer_boot_id != session.peer_boot_id
                    again = await fresh.open_channel("knowledge")
                    await again.send_many(lost.payloads())
                    returned = [await again.receive() for _ in range(6)]
                    assert tuple(returned) == lost.payloads()


async def test_a_stopped_peer_is_resumed_when_it_wakes() -> None:
    """RTT-43, RTT-44: silence suspends the session, both sides have carriers to forget, and nothing is lost."""
    options = {"heartbeat": 0.4, "handshake_timeout": 1.0}  # what is busy for less than that is not dead
    with trio.fail_after(SAFETY):
        async with chaos(here=options, there=options) as net, net.session() as session:
            lane = Lane(await session.open_channel("knowledge"), random.Random(7))
            await lane.run(50)
            async with trio.open_nursery() as nursery:
                net.bob.process.send_signal(signal.SIGSTOP)
                nursery.start_soon(lane.run, 400)
                await net.events.wait("session_suspend")
                assert net.events.names(*LIFE) == ["heartbeat_timeout", "session_suspend"]
                assert net.events.fields("session_suspend")[0]["reason"] == "heartbeat_timeout"
                # Attempts to reconnect fail meanwhile: the kernel accepts for it, and nobody answers.
                await net.events.wait("carrier_failed")
                net.bob.process.send_signal(signal.SIGCONT)
            await lane.run(1)
            assert session.reconnects >= 1
            assert "session_lost" not in net.events.names()


async def test_rtt_heartbeat_dead_peer_past_the_window() -> None:
    """RTT-34, RTT-44, RTT-54: timeout, suspend, lost, close, in that order, events and hooks alike."""
    events = Events()
    options = rtt.Options(
        heartbeat=0.4, resume_window=0.5, reconnect_base=0.01, reconnect_cap=0.05, handshake_timeout=20.0
    )
    told: list[str] = []

    def tell(name: str) -> Callable[[rtt.SessionEvent], None]:
        return lambda event: told.append(f"{name} {event.reason}")

    async with (
        peer_process("bob", heartbeat=0.4) as bob,
        rtt.open_endpoint(ALICE, options=options, emit=events) as alice,
    ):
        address = await announced(bob, LOOPBACK)
        session = await alice._dial(address, BOB.fingerprint)
        for name in ("on_heartbeat_timeout", "on_suspend", "on_resume", "on_lost", "on_close"):
            session.hooks.register(name, tell(name))
        await session.control.send(b"known")
        with trio.fail_after(SAFETY):
            await session.control.flush()
            bob.process.send_signal(signal.SIGSTOP)
            await session.control.send(b"into the void")
            with pytest.raises(rtt.SessionLost) as caught:
                await session.control.flush()
            assert caught.value.reason == "expired"
            assert caught.value.payloads() == (b"into the void",)
            await until(lambda: len(told) == 4)
        assert events.names(*LIFE) == [
            "heartbeat_timeout",
            "session_suspend",
            "session_lost",
            "session_close",
        ]
        assert told == [
            "on_heartbeat_timeout heartbeat_timeout",
            "on_suspend heartbeat_timeout",
            "on_lost expired",
            "on_close lost",
        ]
        # Awake again it does not know what became of it, and says so to itself alone.
        bob.process.send_signal(signal.SIGCONT)
        await until(lambda: alice.session_count == 0)


async def test_a_half_open_carrier_is_found_out() -> None:
    """RTT-43, RTT-49: the path between the two goes silent without a word; both let go of it, and go on elsewhere."""
    options = {"heartbeat": 0.4, "handshake_timeout": 1.0}
    with trio.fail_after(SAFETY):
        async with chaos(here=options, there=options) as net, net.session() as session:
            lane = Lane(await session.open_channel("knowledge"), random.Random(8))
            await lane.run(1)
            for direction in ("up", "down"):
                await net.proxy.ask("plan", plans=[{direction: {"what": "stall", "at": 4000}}])
                await net.proxy.ask("cut")
                before = session.reconnects
                await lane.run(60)
                assert session.reconnects == before + 2
            reasons = [fields["reason"] for fields in net.events.fields("session_suspend")]
            assert reasons.count("heartbeat_timeout") == 2

"""One session over several carriers: other transports, new keys, slow readers, too many of them (sections 9 to 15)."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio

from tests.chaos.lanes import HASTY, Lane, chaos, lanes, proxy_process, run_all
from tests.rtt.arrange import ALICE, BOB, LOOPBACK, SAFETY, Events, anybody, next_session, until
from tests.rtt.processes import peer_process
from web4 import rtt

if TYPE_CHECKING:
    from pathlib import Path


HASTY_OPTIONS = rtt.Options(**HASTY)


async def test_rtt_resume_across_transports(tmp_path: Path) -> None:
    """RTT-30, RTT-68: a session begun on tcp resumes on unix, messages continue in order, and an event says that it
    went elsewhere; and back, once that is gone."""
    events = Events()
    async with (
        peer_process("bob") as bob,
        rtt.open_endpoint(ALICE, options=HASTY_OPTIONS, emit=events) as alice,
    ):
        tcp = (await bob.ask("listen", url=LOOPBACK))["addresses"][0]
        unix = (await bob.ask("listen", url=f"unix://{tmp_path}/s"))["addresses"][0]
        await bob.ask("mirror")
        with trio.fail_after(SAFETY):
            async with proxy_process(tcp) as (proxy, url):
                session = await alice._dial([url, unix], BOB.fingerprint)
                every = await lanes(session, random.Random(1))
                await run_all(every, 100)
                assert (await proxy.ask("look"))["open"] == 1
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(run_all, every, 500)
                    await every[0].channel.flush()
                    proxy.process.kill()
                await run_all(every, 100)
            assert session.reconnects == session.epoch == 1
            fallback = events.fields("transport_fallback")
            assert [(each["address"], each["following"]) for each in fallback] == [(url, unix)]
            assert fallback[0]["session_id"] == session.session_id.hex()
            await session.aclose()


async def test_rtt_rekey_under_load() -> None:
    """RTT-47, RTT-48: five key updates and one new carrier under traffic: nothing lost, and the session never
    suspends by itself. The longest pause is printed; its bound is a benchmark's business."""
    options = {"rekey_frames": 200, "carrier_lifetime": 0.4}
    arrivals: list[float] = []
    with trio.fail_after(SAFETY):
        async with chaos(here=options) as net, net.session(net.direct) as session:
            lane = Lane(await session.open_channel("knowledge"), random.Random(2))
            done = trio.Event()

            async def watch() -> None:
                await net.events.wait("rekey", 5)
                await net.events.wait("session_resume")
                done.set()

            async def send() -> None:
                while not done.is_set():
                    await lane.send()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                nursery.start_soon(send)
                while not done.is_set() or lane.returned < lane.sent:
                    await lane.receive()
                    arrivals.append(time.perf_counter())
            await lane.run(1)
            reasons = {fields["reason"] for fields in net.events.fields("session_suspend")}
            assert not reasons - {"replaced", None}, reasons
            assert net.violations() == []
    pause = max(later - earlier for earlier, later in pairwise(arrivals))
    print(f"{lane.sent} messages; longest pause {pause * 1e3:.1f} ms")


async def test_a_stalled_reader_while_cut() -> None:
    """RTT-28, RTT-38, RTT-41: nobody reads, the carrier is cut again and again: the sender's memory stays bounded,
    control passes, and what was accepted arrives once and in order when somebody reads."""
    window = rtt.ChannelLimits(16_384, 32, 65_536)
    options = replace(HASTY_OPTIONS, knowledge=window)
    there = rtt.Options(knowledge=window, carriers_burst=10_000)
    async with (
        rtt.open_endpoint(ALICE, options=options) as alice,
        rtt.open_endpoint(BOB, options=there) as bob,
    ):
        direct = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        async with proxy_process(direct) as (proxy, url):
            session = await alice._dial(url, BOB.fingerprint)
            accepted = await next_session(bob)
            ours = await session.open_channel("knowledge")
            theirs = await accepted.accept_channel()
            sent: list[bytes] = []

            async def send() -> None:
                for number in range(400):
                    message = b"%05d" % number + bytes(number * 7 % 9000)
                    await ours.send(message)
                    sent.append(message)

            with trio.fail_after(SAFETY):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send)
                    await until(lambda: ours.stats()["waiting"] == 1)
                    stuck = len(sent)
                    for number in range(20):
                        await proxy.ask("cut", how=("rst", "fin")[number % 2])
                        await session.control.send(b"%d" % number)
                        assert await accepted.control.receive() == b"%d" % number
                        assert len(sent) == stuck
                        assert session.stats()["resend_bytes"] <= options.resend_bytes
                        assert ours.stats()["queued"] <= 32
                    assert session.reconnects >= 10
                    arrived: list[bytes] = []
                    while len(arrived) < 400:
                        arrived += await theirs.receive_many()
                assert arrived == sent
                session.abort("done")
                accepted.abort("done")


async def test_the_longest_suspended_session_is_evicted() -> None:
    """Section 15: with more suspended sessions than allowed the one longest without a carrier is lost (`evicted`);
    the others resume."""
    events = Events()
    there = rtt.Options(suspended_sessions=2, sessions_per_peer=10)
    async with (
        rtt.open_endpoint(BOB, options=there, emit=events) as bob,
        rtt.open_endpoint(ALICE, options=HASTY_OPTIONS) as alice,
    ):
        direct = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        sessions, accepted = [], []
        async with proxy_process(direct) as (proxy, url):
            for _ in range(3):
                sessions.append(await alice._dial(url, BOB.fingerprint))
                accepted.append(await next_session(bob))
                await sessions[-1].control.send(b"x")
                await sessions[-1].control.flush()
            proxy.process.kill()
            await events.wait("session_suspend", 3)
        lost = events.fields("session_lost")
        assert [fields["reason"] for fields in lost] == ["evicted"]
        first = events.fields("session_suspend")[0]["session_id"]
        assert lost[0]["session_id"] == first
        assert bob.hits["suspended_sessions"] == 1
        for session, other in zip(sessions, accepted, strict=True):
            session.addresses.append(rtt.transports.Address.parse(direct))
            with trio.fail_after(SAFETY):
                if other.session_id.hex() == first:
                    with pytest.raises(rtt.SessionLost) as caught:
                        await session.control.receive()
                    # The endpoint lives, and has forgotten it: that is no restart.
                    assert caught.value.reason == "unknown_session"
                    with pytest.raises(rtt.SessionLost) as here:
                        await other.accept_channel()
                    assert here.value.reason == "evicted"
                else:
                    await until(lambda session=session: session.state == "open")  # type: ignore[misc]
            session.abort("done")
            other.abort("done")

"""Metrics agree with what happened, seen by other means (RTT-51, RTT-59, RTT-71)."""

from __future__ import annotations

import contextlib
import math
import socket
import statistics
from typing import Any

import msgspec
import pytest
import trio

from tests.rtt import foreign
from tests.rtt.arrange import ALICE, BOB, CAROL, LOOPBACK, SAFETY, anybody, next_session, paired, until
from web4 import rtt
from web4.rtt.metrics import MAX_PEERS, Ledger


async def test_rtt_metrics_agree() -> None:
    """Every message is followed by the flush that its acknowledgement ends: the p50 and p95 of this test's own clock
    around it are those of the metrics, but for what this process itself takes. The machine may stop it between the two
    clocks, but hardly each time."""
    for _ in range(5):
        told, own = await both_clocks()
        assert told.count >= len(own)
        cuts = statistics.quantiles(own, n=20, method="inclusive")
        differ = {
            "p50": told.p50 / cuts[9],
            "p95": told.p95 / cuts[18],
            "mean": told.sum / told.count / statistics.mean(own),
        }
        if all(abs(one - 1) <= 0.10 for one in differ.values()):
            return
    pytest.fail(f"as parts of what this test measured: {differ}")


async def both_clocks() -> tuple[Any, list[float]]:
    """What the metrics say of 200 acknowledgements, and how long this test waited for each."""
    own: list[float] = []
    async with paired() as pair:
        ours, theirs = await pair.channel()
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                # Most acknowledgements wait for their 25 ms, which dominate whatever else this machine does.
                for number in range(200):
                    await theirs.receive()
                    if number % 4 == 0:
                        await theirs.send(b"at once")

            nursery.start_soon(answer)
            with trio.fail_after(SAFETY):
                for _ in range(200):
                    began = trio.current_time()
                    await ours.send(b"x")
                    await ours.flush()
                    own.append(trio.current_time() - began)
        return pair.alice.metrics().total.acknowledgement, own


async def test_heartbeats_are_timed() -> None:
    """An idle pair has a round trip for each PING, shorter than the test's own clock could miss."""
    async with paired(options=rtt.Options(heartbeat=0.02)) as pair:
        began = trio.current_time()
        await until(lambda: pair.alice.metrics().total.heartbeat.count >= 3)
        elapsed = trio.current_time() - began
        heartbeat = pair.alice.metrics().total.heartbeat
        assert heartbeat.count <= pair.here.stats()["pings_sent"]
        assert 0 < heartbeat.sum < elapsed


async def test_messages_are_counted_on_both_sides_and_survive_their_session() -> None:
    """Per kind, each way, with drops; the sums stay when channels and sessions are gone, and gauges go with them."""
    options = rtt.Options(state=rtt.ChannelLimits(16, 2, 32))
    async with paired(options=options) as pair:
        ours, theirs = await pair.channel("knowledge")
        news, _ = await pair.channel("state")
        await ours.send_many([b"12345"] * 7)
        for _ in range(7):
            await theirs.receive()
        await ours.flush()
        # Two fill the credit of a reader that does not read, two more the queue, and two are evicted.
        outcomes = [await news.send(b"n") for _ in range(6)]
        here, there = pair.alice.metrics(), pair.bob.metrics()
        assert list(here.peers) == [BOB.fingerprint]
        assert here.peers[BOB.fingerprint] == here.total
        knowledge, state = here.total.kinds["knowledge"], here.total.kinds["state"]
        assert (knowledge.messages_sent, knowledge.bytes_sent, knowledge.frames_sent) == (7, 35, 7)
        received = there.total.kinds["knowledge"]
        assert (received.messages_received, received.bytes_received) == (7, 35)
        assert received.frames_received == knowledge.frames_sent
        assert state.dropped_oldest == outcomes.count(rtt.Outcome.EVICTED_OLDEST) == 2
        assert (state.queued, state.queued_bytes, state.overflows) == (2, 2, 2)
        await until(lambda: pair.bob.metrics().total.kinds["state"].unread == 2)
        assert pair.bob.metrics().total.kinds["state"].unread_bytes == 2
        assert here.total.sessions == {"open": 1}
        assert here.total.carriers_opened == 1
        await ours.aclose()
        pair.here.abort("enough")
        pair.there.abort("enough")
        after = pair.alice.metrics().total
        assert after.kinds["knowledge"] == knowledge
        assert after.kinds["state"].messages_sent == state.messages_sent
        assert (after.kinds["state"].queued, after.resend_bytes) == (0, 0)
        assert after.sessions == {}
        assert after.sessions_closed == {"local": 1}
        assert after.carriers_opened == 1
        report = pair.here.close_report
        assert report is not None
        assert (after.sessions_lost, after.messages_lost) == (1, report.count)
        assert after.kinds["state"].messages_lost == report.count
        # Plain values, all of it.
        assert msgspec.json.decode(msgspec.json.encode(pair.alice.metrics()), type=rtt.EndpointMetrics) == (
            pair.alice.metrics()
        )


async def test_failed_carriers_are_counted_by_code() -> None:
    """RTT-9: what fails before a key is proven is in the total only, what fails after it is its peer's as well."""

    def carol_stays_out(peer: str, address: str) -> bool:
        return peer != CAROL.fingerprint

    async with rtt.open_endpoint(BOB) as bob:
        listener = await bob.listen(LOOPBACK, admit=carol_stays_out)
        address = listener.addresses[0]
        async with rtt.open_endpoint(ALICE) as alice:
            with pytest.raises(rtt.AuthenticationError):
                async with alice.dial(address, expect=CAROL.fingerprint):
                    pass
            total = alice.metrics().total
            assert total.carriers_failed == total.authentication_failures == {"wrong_key": 1}
        async with rtt.open_endpoint(CAROL) as carol:
            with pytest.raises(rtt.HandshakeError):
                async with carol.dial(address, expect=BOB.fingerprint):
                    pass
            assert carol.metrics().total.carriers_failed == {"not_admitted": 1}
        await until(lambda: bob.metrics().total.carriers_failed.get("not_admitted") == 1)
        snapshot = bob.metrics()
        assert snapshot.peers[CAROL.fingerprint].carriers_failed == {"not_admitted": 1}
        assert snapshot.peers[CAROL.fingerprint].authentication_failures == {}
        assert sum(snapshot.total.carriers_failed.values()) == 2


async def test_limits_inside_a_session_are_counted() -> None:
    """RTT-51: hit by this side or by the peer, under the name of the limit, beside those of the endpoint."""
    async with paired(options=rtt.Options(channels=3)) as pair:
        ours, _ = await pair.channel("state")
        with pytest.raises(rtt.MessageTooLargeError):
            await ours.send(bytes(65537))
        with pytest.raises(rtt.BatchTooLargeError):
            await pair.here.control.send_many([b""] * 257)
        await pair.channel("state")
        for _ in range(2):
            with pytest.raises(rtt.LimitError):
                await pair.here.open_channel("state")
        pair.alice.hits["sessions"] += 5
        assert pair.alice.metrics().total.limits == {
            "message_too_large": 1,
            "batch_too_large": 1,
            "too_many_channels": 2,
            "sessions": 5,
        }
        assert pair.alice.metrics().peers[BOB.fingerprint].limits == {
            "message_too_large": 1,
            "batch_too_large": 1,
            "too_many_channels": 2,
        }


async def test_a_limit_that_a_foreign_peer_hits_is_counted() -> None:
    """RTT-51: a violation of a limit counts, and outlives the session that it ended."""
    async with rtt.open_endpoint(BOB) as bob:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        port = int(listener.addresses[0].rsplit(":", 1)[1])

        def overrun() -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=SAFETY) as connection:
                stranger = foreign.Foreigner(connection, b"stranger".ljust(32, b"\0"))
                stranger.handshake()
                foreign.open_session(stranger)
                # It may have been cut off before all of it is written.
                with contextlib.suppress(ConnectionError):
                    stranger.write(foreign.message(1, 0, bytes(65537)))
                stranger.read_to_the_end()

        with trio.fail_after(SAFETY):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, overrun)
                session = await next_session(bob)
                with contextlib.suppress(rtt.ProtocolError):
                    await session.accept_channel()
        await until(lambda: bob.session_count == 0)
        total = bob.metrics().total
        assert sum(total.limits.values()) == 1
        assert total.limits.keys() <= {"message_too_large", "frame_too_large"}
        assert total.sessions_closed == {"protocol_error": 1}


async def test_drops_are_told_at_most_once_a_second_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """RTT-40, RTT-70: the first drop at once, the others of its period together, the rest at the end of the channel
    or session; the counts of the events are those of the stats, and what was dropped was not sent."""
    monkeypatch.setattr("web4.rtt.drops.PERIOD", 1.5)
    options = rtt.Options(state=rtt.ChannelLimits(16, 2, 32))
    async with paired(options=options) as pair:
        news, _ = await pair.channel("state")
        first = await pair.here.open_channel("state", policy="drop_newest")
        for channel in (news, first):
            for _ in range(7):
                await channel.send(b"n")
            await channel.send_many([b"n"] * 5)
        told = pair.alice_events.fields("backpressure")
        assert [(entry["channel"], entry["dropped"]) for entry in told] == [(news.id, 1), (first.id, 1)]
        await pair.alice_events.wait("backpressure", 4)
        for _ in range(3):
            news.send_nowait(b"n")
        dropped = [channel.stats()["dropped"] for channel in (news, first)]
        assert dropped == [11, 8]
        assert [channel.stats()["sent"] for channel in (news, first)] == [2, 2]
        await news.aclose()
        first.send_nowait(b"n")
        pair.here.abort("enough")
        told = pair.alice_events.fields("backpressure")
        sums = [
            sum(entry["dropped"] for entry in told if entry["channel"] == channel.id)
            for channel in (news, first)
        ]
        assert sums == [11, 9]
        assert len(told) <= 6
        assert pair.alice_events.names("backpressure", "session_close")[-1] == "session_close"


def test_peers_with_metrics_are_bounded() -> None:
    """RTT-59: cardinality is bounded; the total counts everybody."""
    ledger = Ledger()
    for number in range(2 * MAX_PEERS):
        error = rtt.HandshakeError("no", code="not_admitted", peer=f"{number:064x}")
        ledger.carrier_failed(error, authentication=False)
    snapshot = ledger.snapshot({}, {}, hook_failures=0, emit_failures=0)
    assert len(snapshot.peers) == MAX_PEERS
    assert f"{2 * MAX_PEERS - 1:064x}" in snapshot.peers
    assert snapshot.total.carriers_failed == {"not_admitted": 2 * MAX_PEERS}
    assert math.isclose(snapshot.total.heartbeat.sum, 0)

"""How sessions and endpoints end, and what is left of them (sections 4, 7 and 11; RTT-13, RTT-25, RTT-43, RTT-61)."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.rtt.arrange import ALICE, BOB, LOOPBACK, SAFETY, Events, anybody, next_session, paired, until
from tests.rtt.processes import ROOT, descriptors, peer_process
from web4 import rtt
from web4.rtt.transports.sockets import SocketAcceptor
from web4.rtt.transports.tcp import TcpTransport

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS = ("heartbeat_timeout", "session_lost", "session_close")


async def test_rtt_heartbeat_dead_peer() -> None:
    """RTT-43, RTT-44, RTT-54: a stopped process is dead after three silent intervals, whatever this side writes into
    its socket; the events come in order, once each, and what it had not acknowledged is listed."""
    events = Events()
    options = rtt.Options(heartbeat=0.4, resume_window=0)
    async with (
        peer_process("bob", heartbeat=0.4) as bob,
        rtt.open_endpoint(ALICE, options=options, emit=events) as alice,
    ):
        address = (await bob.ask("listen", url=LOOPBACK))["addresses"][0]
        with pytest.raises(rtt.SessionLost):  # noqa: PT012 - leaving the block raises
            async with alice.dial(address, expect=BOB.fingerprint) as session:
                channel = await session.open_channel("knowledge")
                bob.process.send_signal(signal.SIGSTOP)
                await channel.send(b"into the void")
                async with trio.open_nursery() as nursery:

                    async def keep_writing() -> None:
                        # Own writes, and what the kernel acknowledges for the stopped process, prove nothing.
                        while session.state == "open":
                            session.control.send_nowait(b"")
                            await trio.sleep(0.05)

                    nursery.start_soon(keep_writing)
                    with trio.fail_after(SAFETY), pytest.raises(rtt.SessionLost) as caught:
                        await channel.receive()
                assert caught.value.reason == "heartbeat_timeout"
                assert [lost.name for lost in caught.value.messages if lost.kind == "knowledge"] == [
                    "channel"
                ]
                assert b"into the void" in caught.value.payloads()
                assert events.names(*ENDINGS) == list(ENDINGS)
                assert events.fields("session_close")[0]["reason"] == "heartbeat_timeout"
                assert session.ended
                assert alice.session_count == 0
                with pytest.raises(rtt.SessionLost):
                    await session.aclose()
                session.abort("nothing changes")
                assert events.names(*ENDINGS) == list(ENDINGS)


async def test_a_stopped_process_does_not_blame_its_peer() -> None:
    """RTT-43: who slept through the intervals itself reads what has arrived before it judges."""
    async with (
        peer_process("bob", heartbeat=0.05) as bob,
        rtt.open_endpoint(ALICE, options=rtt.Options(heartbeat=60.0)) as alice,
    ):
        address = (await bob.ask("listen", url=LOOPBACK))["addresses"][0]
        async with alice.dial(address, expect=BOB.fingerprint) as session:
            await bob.ask("accept")
            await session.open_channel("knowledge")
            await bob.ask("accept_channel")
            bob.process.send_signal(signal.SIGSTOP)
            await session.control.send(b"while it sleeps")
            # The other process has a clock of its own, and must miss several of its intervals.
            await trio.sleep(0.3)
            bob.process.send_signal(signal.SIGCONT)
            assert (await bob.ask("failures"))["failures"] == []
            assert session.state == "open"
            session.abort("done")


async def test_killed_peer_leaves_an_exact_report(url: str) -> None:
    """RTT-24, RTT-25: SIGKILL on the peer: SessionLost lists what it had not acknowledged, in order, and no more;
    `payloads` gives it back."""
    events = Events()
    options = rtt.Options(resume_window=0)
    async with peer_process("bob") as bob, rtt.open_endpoint(ALICE, options=options, emit=events) as alice:
        address = (await bob.ask("listen", url=url))["addresses"][0]
        with pytest.raises(rtt.SessionLost):  # noqa: PT012 - leaving the block raises
            async with alice.dial(address, expect=BOB.fingerprint) as session:
                facts = await session.open_channel("knowledge", name="facts")
                news = await session.open_channel("state", name="news")
                await facts.send_many([b"known %d" % number for number in range(10)])
                await facts.flush()
                bob.process.send_signal(signal.SIGSTOP)
                await facts.send_many([b"fact %d" % number for number in range(5)])
                await news.send(b"news")
                await facts.send(b"")
                bob.process.kill()
                with pytest.raises(rtt.SessionLost) as caught:
                    await news.receive()
                lost = caught.value
                assert lost.reason == "connection_lost"
                told = [(entry.name, entry.kind, entry.index, entry.size) for entry in lost.messages]
                assert told == [
                    *(("facts", "knowledge", 10 + number, 6) for number in range(5)),
                    ("facts", "knowledge", 15, 0),
                    ("news", "state", 0, 4),
                ]
                assert lost.payloads() == (*(b"fact %d" % number for number in range(5)), b"", b"news")
                assert lost.count == 7
                assert lost.count_by_channel == {facts.id: 6, news.id: 1}
                assert {entry.state for entry in lost.messages} == {"unknown"}
                # Every later operation says the same, and so does the report.
                for attempt in (facts.send(b"x"), facts.receive(), facts.flush(), session.accept_channel()):
                    with pytest.raises(rtt.SessionLost) as again:
                        await attempt
                    assert again.value.messages == lost.messages
                assert session.close_report is not None
                assert session.close_report.payloads() == lost.payloads()
        assert events.names(*ENDINGS) == ["session_lost", "session_close"]
        assert events.fields("session_lost")[0]["count"] == 7


async def test_unsent_messages_are_told_apart() -> None:
    """RTT-25: `unsent` is a message of which no byte was written; `unknown` one that may have arrived."""
    options = rtt.Options(knowledge=rtt.ChannelLimits(16, 2, 64))
    async with paired(options=options) as pair:
        ours, _ = await pair.channel()
        await ours.send_many([b"a", b"b"])
        await ours.flush()
        await ours.send_many([b"c", b"d"])
        pair.here.abort("now")
        report = pair.here.close_report
        assert report is not None
        assert [(entry.state, entry.index) for entry in report.messages] == [("unsent", 2), ("unsent", 3)]
        assert report.payloads() == (b"c", b"d")
        assert report.reason == "local"
        with pytest.raises(rtt.SessionClosedError) as caught:
            await ours.send(b"x")
        assert caught.value.reason == "local"


async def test_a_send_while_closing_leaves_the_report_alone() -> None:
    """RTT-13: a send that is refused because the session drains does not empty the report of what is left."""
    options = rtt.Options(knowledge=rtt.ChannelLimits(16, 2, 64), drain_timeout=0.1)
    async with paired(options=options) as pair:
        ours, _ = await pair.channel()
        await ours.send_many([b"a", b"b"])
        await ours.flush()
        await ours.send(b"stuck")
        reports: list[rtt.SessionLost] = []

        async def close() -> None:
            with pytest.raises(rtt.SessionLost) as caught:
                await pair.here.aclose()
            reports.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            await until(lambda: pair.here.state == "closing")
            with pytest.raises(rtt.SessionClosedError):
                await ours.send(b"late")
            with pytest.raises(rtt.SessionClosedError):
                await pair.here.open_channel("knowledge")
        assert reports[0].payloads() == (b"stuck",)


async def test_rtt_shutdown_drains() -> None:
    """RTT-13: `aclose` with full queues delivers all of it to a peer that reads."""
    async with paired() as pair:
        ours, theirs = await pair.channel()
        sent = [b"%d" % number * 100 for number in range(1024)]
        outcomes = await ours.send_many(sent)
        assert len(outcomes) == 1024
        got: list[bytes] = []

        async def read() -> None:
            async for data in theirs:
                got.append(data)
            with pytest.raises(trio.EndOfChannel):
                await pair.there.accept_channel()
            await pair.there.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await pair.here.aclose()
        assert got == sent
        assert pair.here.close_report is None
        assert (pair.here.state, pair.there.state) == ("closed", "closed")
        reasons = [pair.alice_events.fields("session_close"), pair.bob_events.fields("session_close")]
        assert [len(closes) for closes in reasons] == [1, 1]
        # A closed session stays as it is (RTT-12).
        await pair.here.aclose()
        pair.there.abort("again")
        assert len(pair.bob_events.fields("session_close")) == 1


async def test_shutdown_reports_what_the_drain_timeout_left() -> None:
    """RTT-13: a peer that does not read: after the drain timeout the rest is reported, exactly, and CLOSE is sent."""
    options = rtt.Options(drain_timeout=0.05, knowledge=rtt.ChannelLimits(16, 2, 64))
    async with paired(options=options) as pair:
        ours, theirs = await pair.channel()
        await ours.send_many([b"a", b"b"])
        await ours.flush()
        await ours.send_many([b"c", b"d"])
        with pytest.raises(rtt.SessionLost) as caught:
            await pair.here.aclose()
        assert caught.value.payloads() == (b"c", b"d")
        assert caught.value.reason == "local"
        # What was received stays readable, then comes the peer's CLOSE.
        assert [await theirs.receive(), await theirs.receive()] == [b"a", b"b"]
        with pytest.raises(rtt.SessionClosedError) as closed:
            await theirs.receive()
        assert closed.value.reason == "peer"


async def test_a_cancelled_aclose_releases_everything() -> None:
    """RTT-61: cancelled, it closes at once; the peer is told; no socket is left."""
    async with paired() as pair:
        with trio.move_on_after(0) as scope:
            await pair.here.aclose()
        assert scope.cancelled_caught
        assert pair.here.ended
        assert pair.alice.session_count == 0
        await until(lambda: pair.there.ended)
        with pytest.raises(rtt.SessionClosedError) as caught:
            await pair.there.control.send(b"x")
        assert caught.value.reason == "peer"


class TestError(Exception):
    """An exception of the block's own."""

    __test__ = False


@pytest.mark.parametrize("layer", ["endpoint", "session", "channel", "close"])
async def test_exceptions_come_out_as_they_are(layer: str) -> None:
    """RTT-61: what a block raises leaves all blocks unwrapped, with its cause and context as they were."""
    events = Events()
    own = TestError("own")
    async with rtt.open_endpoint(BOB) as bob:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        with pytest.raises(TestError) as caught:  # noqa: PT012 - the whole block raises
            async with rtt.open_endpoint(ALICE, emit=events) as alice:
                if layer == "endpoint":
                    raise own
                async with alice.dial(address, expect=BOB.fingerprint) as session:
                    if layer == "session":
                        raise own
                    async with await session.open_channel("knowledge") as channel:
                        if layer == "channel":
                            raise own
                        await channel.send(b"x")
                        raise own
        assert caught.value is own
        assert (own.__cause__, own.__context__, own.__suppress_context__) == (None, None, False)
        assert events.names("session_close") == ["session_close"] * (layer != "endpoint")
        if layer != "endpoint":
            with pytest.raises(rtt.SessionClosedError) as closed:
                await (await next_session(bob)).control.receive()
            assert closed.value.reason == "peer"


async def test_cancellation_passes_through() -> None:
    """RTT-61: a cancelled block is a cancelled block, and nothing else."""
    async with rtt.open_endpoint(BOB) as bob:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        with trio.CancelScope() as scope:
            async with rtt.open_endpoint(ALICE) as alice, alice.dial(address, expect=BOB.fingerprint):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert alice.session_count == 0


class BrokenTransport(TcpTransport):
    """TCP with a mistake in the program: it cannot say where a certain one of those who come, comes from."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    async def listen(self, address: rtt.Address) -> SocketAcceptor:
        acceptor = await super().listen(address)
        return BrokenAcceptor(acceptor.listeners, acceptor.addresses, self._left)


class BrokenAcceptor(SocketAcceptor):
    def __init__(self, listeners: Any, addresses: tuple[str, ...], nth: int) -> None:
        super().__init__(listeners, addresses)
        self._left = nth

    def peer_address(self, stream: trio.abc.Stream) -> str:
        self._left -= 1
        if not self._left:
            raise TypeError("no address")
        return super().peer_address(stream)


def broken_at(nth: int) -> rtt.Registry:
    registry = rtt.Registry()
    registry.register("tcp", lambda: BrokenTransport(nth))
    return registry


async def test_a_broken_task_of_the_endpoint_comes_out() -> None:
    """RTT-61: a mistake in the program, here in a transport, is loud, and no stray Cancelled."""
    with pytest.raises(TypeError, match="no address"):  # noqa: PT012 - the whole block raises
        async with rtt.open_endpoint(BOB, transports=broken_at(1)) as bob:
            listener = await bob.listen(LOOPBACK, admit=anybody)
            stream = await trio.open_tcp_stream("127.0.0.1", int(listener.addresses[0].rsplit(":", 1)[1]))
            async with stream:
                await stream.send_all(b"junk")
                await trio.sleep_forever()


INTERRUPTED = """
import os, signal, sys, trio
from tests.rtt.arrange import ALICE, BOB, LOOPBACK, anybody
from web4 import rtt

# Who starts the tests in the background may have it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE) as alice:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        async with alice.dial(address, expect=BOB.fingerprint) as session:
            os.write(1, b"ready ")
            await session.control.receive()

try:
    trio.run(main)
except KeyboardInterrupt:
    print("interrupted", len(os.listdir("/proc/self/fd")), flush=True)
"""


async def test_ctrl_c() -> None:
    """RTT-61: an interrupt from the keyboard ends the program as a KeyboardInterrupt, with nothing left open."""
    command = [sys.executable, "-c", INTERRUPTED]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        with trio.fail_after(SAFETY):
            assert await process.stdout.receive_some() == b"ready "
            process.send_signal(signal.SIGINT)
            told = b""
            async for data in process.stdout:
                told += data
            assert await process.wait() == 0
        word, descriptors = told.split()
        assert word == b"interrupted"
        # Standard streams and the directory that is being listed.
        assert int(descriptors) <= 4
    finally:
        process.kill()


async def test_leaving_lets_nobody_in() -> None:
    """RTT-61: an endpoint that closes its sessions gracefully accepts no new ones meanwhile."""
    async with rtt.open_endpoint(ALICE) as alice:
        async with rtt.open_endpoint(BOB, options=rtt.Options(drain_timeout=0.2)) as bob:
            address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
            session = await alice._dial(address, BOB.fingerprint)
            await next_session(bob)
            refused: list[str] = []

            async def come_late() -> None:
                await until(lambda: bob._roster.state == "closing")
                with pytest.raises(rtt.RttError) as caught:
                    await alice._dial(address, BOB.fingerprint)
                refused.append(caught.value.code)

            alice._nursery.start_soon(come_late)
        await until(lambda: bool(refused))
        assert refused == ["unreachable"]
        session.abort("done")


async def test_rtt_no_leaks_1000(tmp_path: Path) -> None:
    """RTT-61: 1 000 sessions opened and closed, in every way: no task, descriptor or memory of them is left."""
    options = rtt.Options(carriers_per_second=100_000, carriers_burst=100_000)
    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB, options=options) as bob:
        addresses = [
            (await bob.listen(url, admit=anybody)).addresses[0] for url in (LOOPBACK, f"unix://{tmp_path}/s")
        ]

        async def round_trip(number: int) -> None:
            async with alice.dial(addresses[number % 2], expect=BOB.fingerprint) as session:
                there = await next_session(bob)
                ours = await session.open_channel("knowledge")
                await ours.send(b"x" * 1000)
                theirs = await there.accept_channel()
                await theirs.receive()
                match number % 4:
                    case 0:
                        session.abort("here")
                    case 1:
                        there.abort("there")
                    case 2:
                        await ours.aclose()
                        session.abort("here")
                    case _:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(there.aclose)
                            await session.aclose()
            await until(lambda: there.ended)

        async def rounds(first: int, last: int) -> tuple[int, int, int]:
            for number in range(first, last):
                await round_trip(number)
            await trio.testing.wait_all_tasks_blocked(0.1)  # the kernel has its part in the last end
            gc.collect()
            tasks = trio.lowlevel.current_statistics().tasks_living
            sessions = sum(isinstance(thing, rtt.RttSession) for thing in gc.get_objects())
            return tasks, descriptors(), sessions

        warm = await rounds(0, 100)
        cold = await rounds(100, 1000)
        assert cold[:2] == warm[:2]
        # Only ended sessions that something still holds would be seen here, such as a timer.
        assert cold[2] == warm[2] == 0
        assert alice.session_count == bob.session_count == 0


@pytest.mark.parametrize("end", ["shutdown", "abort", "lost", "here"])
async def test_who_waits_for_channels_learns_of_the_end(end: str) -> None:
    """RTT-25, RTT-58: `accept_channel` ends with its session, and before when the peer opens no more."""
    expected: dict[str, type[Exception]] = {
        "shutdown": trio.EndOfChannel,
        "abort": rtt.SessionClosedError,
        "lost": rtt.SessionLost,
        "here": rtt.SessionClosedError,
    }
    async with paired(options=rtt.Options(resume_window=0)) as pair, trio.open_nursery() as nursery:
        ended: list[type[BaseException]] = []

        async def accept() -> None:
            with pytest.raises(expected[end]) as caught:
                await pair.there.accept_channel()
            ended.append(caught.type)

        nursery.start_soon(accept)
        nursery.start_soon(accept)
        await trio.testing.wait_all_tasks_blocked()
        match end:
            case "shutdown":
                nursery.start_soon(pair.here.aclose)
            case "abort":
                pair.here.abort("enough")
            case "lost":
                pair.here.lose("peer_restarted")
            case "here":
                pair.there.abort("enough")
        await until(lambda: len(ended) == 2)
        nursery.cancel_scope.cancel()


async def test_a_session_of_a_broken_endpoint_is_closed() -> None:
    """RTT-61: whoever still holds a session of an endpoint that broke does not wait on it for ever."""
    async with rtt.open_endpoint(ALICE) as alice:
        with pytest.raises(TypeError, match="no address"):  # noqa: PT012 - the whole block raises
            async with rtt.open_endpoint(BOB, transports=broken_at(2)) as bob:
                address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
                await alice._dial(address, BOB.fingerprint)
                session = await next_session(bob)
                async with await trio.open_tcp_stream("127.0.0.1", int(address.rsplit(":", 1)[1])) as junk:
                    await junk.send_all(b"junk")
                    await trio.sleep_forever()
        assert session.ended
        assert session.state == "closed"
        with trio.fail_after(SAFETY), pytest.raises(rtt.RttError):
            await session.control.receive()

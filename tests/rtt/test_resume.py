"""Sessions that outlive their carriers, over real sockets (section 9, RTT-23, RTT-25, RTT-30 to RTT-37)."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.rtt.arrange import ALICE, BOB, LOOPBACK, SAFETY, Events, Pair, anybody, next_session, paired, until
from web4 import rtt
from web4.rtt.pump import Pump

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def cut(session: rtt.RttSession) -> None:
    """Break the carrier of one end, as a router that died would: the other end learns of it from its socket."""
    if not session.pump.closed:
        assert isinstance(session.pump, Pump)
        session.pump._stream.socket.shutdown(socket.SHUT_RDWR)


async def test_messages_cross_a_cut_once_and_in_order(url: str) -> None:
    """RTT-23: what was accepted before, during and after a cut arrives once and in order, both ways."""
    async with paired(url=url) as pair:
        ours, theirs = await pair.channel()
        sent: list[bytes] = []
        for number in range(300):
            sent.append(b"%d" % number)
            await ours.send(sent[-1])
            await theirs.send(sent[-1])
            if number in (50, 130, 131, 220):
                cut(pair.here if number % 2 else pair.there)
        received: tuple[list[bytes], list[bytes]] = ([], [])
        with trio.fail_after(SAFETY):
            for channel, arrived in ((theirs, received[0]), (ours, received[1])):
                while len(arrived) < len(sent):
                    arrived.extend(await channel.receive_many())
        assert received == (sent, sent)
        assert pair.here.reconnects == pair.there.reconnects >= 1
        assert pair.here.epoch == pair.there.epoch >= 1


async def test_a_session_says_what_happens_to_it() -> None:
    """RTT-54: suspended and resumed in turn, with the reason; the binding of the session stays (RTT-8)."""
    async with paired() as pair:
        binding, carrier = pair.here.binding, pair.here.carrier_binding
        assert binding == carrier
        cut(pair.here)
        await until(lambda: pair.here.reconnects == 1 and pair.there.reconnects == 1)
        assert pair.here.binding == pair.there.binding == binding
        assert pair.here.carrier_binding == pair.there.carrier_binding != binding
        for events in (pair.alice_events, pair.bob_events):
            assert events.names("session_suspend", "session_resume") == ["session_suspend", "session_resume"]
        assert pair.alice_events.fields("session_suspend")[0]["reason"] == "connection_lost"


async def test_a_waiting_receiver_and_a_flush_do_not_notice(url: str) -> None:
    """RTT-41: whoever waits, waits on while the session is suspended."""
    async with paired(url=url) as pair, trio.open_nursery() as nursery:
        ours, theirs = await pair.channel()
        arrived: list[bytes] = []

        async def receive() -> None:
            arrived.append(await theirs.receive())

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        cut(pair.there)
        await ours.send(b"after the cut")
        with trio.fail_after(SAFETY):
            await ours.flush()
            while not arrived:
                await trio.testing.wait_all_tasks_blocked()
        assert arrived == [b"after the cut"]
        assert pair.here.state == "open"


@asynccontextmanager
async def stranded(options: rtt.Options | None = None) -> AsyncGenerator[Pair]:
    """Both ends of a session without a carrier: nobody listens any more."""
    async with (
        rtt.open_endpoint(ALICE, options=options) as alice,
        rtt.open_endpoint(BOB, options=options) as bob,
    ):
        listener = await bob.listen(LOOPBACK, admit=anybody)
        here = await alice._dial(listener.addresses[0], BOB.fingerprint)
        pair = Pair(here, await next_session(bob), alice, bob, Events(), Events())
        await listener.aclose()
        cut(here)
        await until(lambda: (pair.here.state, pair.there.state) == ("suspended", "suspended"))
        yield pair


async def test_a_suspended_session_is_closed_at_once() -> None:
    """Section 4: `aclose` of a suspended session ends it, and reports what is not acknowledged."""
    async with stranded() as pair:
        await pair.here.control.send(b"never")
        with pytest.raises(rtt.SessionLost) as caught:
            await pair.here.aclose()
        assert caught.value.payloads() == (b"never",)
        assert caught.value.reason == "local"
        pair.there.abort("the test is over")


async def test_rtt_resume_refused_reports_loss() -> None:
    """RTT-34, RTT-25: after the window both ends report the loss, and list exactly what was not acknowledged."""
    async with stranded(rtt.Options(resume_window=0.2)) as pair:
        pair.here.control.send_nowait(b"one")
        pair.there.control.send_nowait(b"two")
        for session, left in ((pair.here, b"one"), (pair.there, b"two")):
            with trio.fail_after(SAFETY), pytest.raises(rtt.SessionLost) as caught:
                await session.control.receive()
            assert caught.value.reason == "expired"
            assert caught.value.payloads() == (left,)
            assert [message.state for message in caught.value.messages] == ["unsent"]

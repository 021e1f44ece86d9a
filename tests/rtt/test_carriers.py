"""Carriers that come too late, too often or too early for their session, and what they must not break (section 9)."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
import trio.testing

from tests.rtt import foreign
from tests.rtt.arrange import (
    ALICE,
    BOB,
    CAROL,
    LOOPBACK,
    SAFETY,
    Events,
    anybody,
    next_session,
    paired,
    until,
)
from tests.rtt.foreign import Foreigner
from tests.rtt.test_resume import cut
from web4 import rtt
from web4.rtt.pump import Pump

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = b"f" * 32


class Impatient:
    """A peer of ours that asks to resume whenever it likes, on as many carriers as it likes."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url = url
        self._stack = stack

    def carrier(self, said: bytes) -> tuple[Foreigner, int, bytes]:
        """Another carrier, opened with `said`: it, and the type and body of the answer."""
        host, port = self._url[len("tcp://") :].split(":")
        connection = self._stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
        foreigner = Foreigner(connection, SEED)
        foreigner.handshake()
        foreigner.write(foreign.VERSION + said)
        kind, body = foreign.frames(foreigner.read()[1:])[0]
        return foreigner, kind, body

    def begin(self) -> Foreigner:
        """Open a session that can be resumed."""
        foreigner, kind, body = self.carrier(foreign.start(resume_window_ms=600_000))
        assert kind == 0x02
        self.session_id, self.ticket = body[1:17], body[33:65]
        foreigner.write(foreign.confirm(self.session_id))
        return foreigner


T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    with trio.fail_after(SAFETY):
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)


@pytest.mark.parametrize(
    ("ticket", "epoch", "cursor", "code"),
    [(bytes(32), 1, 0, 0x0104), (None, 0, 0, 0x0106)],
    ids=["ticket_spent", "stale_epoch"],
)
async def test_a_refused_resume_disturbs_nobody(
    ticket: bytes | None, epoch: int, cursor: int, code: int
) -> None:
    """RTT-32: neither the session that it named nor the endpoint."""
    events = Events()
    async with rtt.open_endpoint(BOB, emit=events) as bob:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        with ExitStack() as stack:
            peer = Impatient(listener.addresses[0], stack)
            await in_thread(peer.begin)
            session = await next_session(bob)
            asked = foreign.resume(peer.session_id, ticket or peer.ticket, epoch, cursor)
            _, kind, body = await in_thread(lambda: peer.carrier(asked))
            assert (kind, int.from_bytes(body[:2])) == (0x06, code)
            fields = await events.wait("carrier_failed")
            assert fields["peer"] == foreign.fingerprint(SEED)
            assert session.state == "open"
            assert not session.pump.closed
            assert sum(bob.metrics().total.resumes_refused.values()) == 1
            session.abort("the test is over")


async def test_an_impossible_cursor_ends_the_session_and_nothing_else() -> None:
    """RTT-29: it is lost, and its endpoint goes on."""
    async with rtt.open_endpoint(BOB) as bob:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        with ExitStack() as stack:
            peer = Impatient(listener.addresses[0], stack)
            await in_thread(peer.begin)
            session = await next_session(bob)
            asked = foreign.resume(peer.session_id, peer.ticket, 1, 1 << 40)
            _, kind, _body = await in_thread(lambda: peer.carrier(asked))
            assert kind == 0x06
            await until(lambda: session.ended)
            with pytest.raises(rtt.SessionLost) as caught:
                await session.control.receive()
            assert caught.value.reason == "cursor_invalid"
            assert bob.session_count == 0


async def test_a_late_confirm_does_not_disturb_a_later_carrier() -> None:
    """RTT-31, RTT-50: what a fenced carrier says changes nothing, not even that it opens now."""
    events = Events()
    async with rtt.open_endpoint(BOB, emit=events) as bob:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        with ExitStack() as stack:
            peer = Impatient(listener.addresses[0], stack)
            await in_thread(peer.begin)
            session = await next_session(bob)
            early, kind, _ = await in_thread(
                lambda: peer.carrier(foreign.resume(peer.session_id, peer.ticket, 1))
            )
            assert kind == 0x04
            late, kind, _ = await in_thread(
                lambda: peer.carrier(foreign.resume(peer.session_id, peer.ticket, 2))
            )
            assert kind == 0x04
            await in_thread(lambda: late.write(foreign.confirm(peer.session_id, 2)))
            await until(lambda: session.state == "open")
            pump = session.pump
            await in_thread(lambda: early.write(foreign.confirm(peer.session_id, 1)))
            await events.wait("carrier_failed")
            assert (session.state, session.epoch, session.pump, pump.closed) == ("open", 2, pump, False)
            await in_thread(lambda: late.write(foreign.message(1, 0, b"goes on")))
            with trio.fail_after(SAFETY):
                assert await session.control.receive() == b"goes on"
            session.abort("the test is over")


async def test_a_replacement_and_a_cut_at_once_do_not_lose_the_session() -> None:
    """RTT-30, RTT-48: one request at a time, or the CONFIRM of the earlier spends the ticket of the later."""
    options = rtt.Options(reconnect_base=0.001, reconnect_cap=0.01)
    async with paired(options=options) as pair:
        reconnector = pair.here.lifecycle.reconnector
        assert reconnector is not None
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reconnector.replace)
                nursery.start_soon(reconnector.replace)
                await trio.testing.wait_all_tasks_blocked()
                cut(pair.here)
            await pair.here.control.send(b"goes on")
            with trio.fail_after(SAFETY):
                await pair.here.control.flush()
                assert await pair.there.control.receive() == b"goes on"
        asked = pair.alice.metrics().total.resumes_asked
        assert asked == pair.alice.metrics().total.reconnects + sum(
            pair.alice.metrics().total.carriers_failed.values()
        )
        assert "session_lost" not in pair.alice_events.names()


async def test_an_aging_carrier_is_replaced_once_at_a_time() -> None:
    """RTT-48, RTT-61: and an attempt ends with its session."""
    options = rtt.Options(carrier_lifetime=0.01, heartbeat=0.01)
    stuck = trio.Event()

    async with paired(options=options, there=rtt.Options(heartbeat=60.0)) as pair:
        reconnector = pair.here.lifecycle.reconnector
        assert reconnector is not None
        calls = []

        async def attempt(session: rtt.RttSession) -> None:
            calls.append(session)
            try:
                await trio.sleep_forever()
            finally:
                stuck.set()

        reconnector._attempt = attempt
        await until(lambda: bool(calls))
        await trio.sleep(0.1)
        assert calls == [pair.here]
        pair.here.abort("the test is over")
        with trio.fail_after(SAFETY):
            await stuck.wait()


async def test_the_old_carrier_ends_before_the_new_one_is_granted() -> None:
    """RTT-48: that is what a replacement can look like from its initiator, and not a loss."""
    options = rtt.Options(carrier_lifetime=0.05, heartbeat=60.0)
    async with paired(options=options, there=rtt.Options(heartbeat=60.0)) as pair:
        reconnector = pair.here.lifecycle.reconnector
        assert reconnector is not None
        attempt = reconnector._attempt

        async def overtaken(session: rtt.RttSession) -> None:
            if session.state == "open":
                cut(session)
                await until(lambda: session.state == "suspended")
            await attempt(session)

        reconnector._attempt = overtaken
        with trio.fail_after(SAFETY):
            await until(lambda: pair.here.reconnects >= 2)
            await pair.here.control.send(b"goes on")
            assert await pair.there.control.receive() == b"goes on"
        reasons = [fields["reason"] for fields in pair.alice_events.fields("session_suspend")]
        # A machine that pauses may be silent for longer than such short heartbeats.
        assert set(reasons) - {"heartbeat_timeout"} == {"replaced"}
        pair.here.abort("the test is over")


async def test_a_session_is_dialled_again_where_it_opened() -> None:
    """RTT-30: not where it could not."""
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE) as alice:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        nowhere, somewhere = "tcp://127.0.0.1:1", listener.addresses[0]
        async with alice.dial([nowhere, somewhere], expect=BOB.fingerprint) as session:
            accepted = await next_session(bob)
            assert [str(address) for address in session.addresses] == [somewhere, nowhere]
            cut(session)
            await until(lambda: session.reconnects == 1)
            assert alice.failures == {(nowhere, "unreachable"): 1}
            accepted.abort("the test is over")
            session.abort("the test is over")


async def test_a_dead_session_that_nobody_took_is_not_among_the_suspended() -> None:
    """Section 15: or it would be evicted again and again, in the place of one that lives."""
    options = rtt.Options(resume_window=0.05)
    async with rtt.open_endpoint(BOB, options=options) as bob, rtt.open_endpoint(ALICE) as alice:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        session = await alice._dial(listener.addresses[0], BOB.fingerprint)
        await until(lambda: len(list(bob._roster)) == 1)
        (untaken,) = bob._roster
        await listener.aclose()
        cut(session)
        await until(lambda: untaken.ended)
        assert bob.session_count == 1
        assert bob._roster._table.suspended == 0
        assert await next_session(bob) is untaken
        assert bob.session_count == 0


async def test_a_replacement_evicts_nobody() -> None:
    """RTT-48, section 15: a session that goes on upon another carrier at once was never among the suspended."""
    options = rtt.Options(suspended_sessions=1)
    async with (
        paired(options=options, there=rtt.Options()) as pair,
        rtt.open_endpoint(CAROL, options=rtt.Options()) as carol,
    ):
        listener = await carol.listen(LOOPBACK, admit=anybody)
        lonely = await pair.alice._dial(listener.addresses[0], carol.identity.fingerprint)
        theirs = await next_session(carol)
        await listener.aclose()
        cut(lonely)
        await until(lambda: lonely.state == "suspended")
        reconnector = pair.here.lifecycle.reconnector
        assert reconnector is not None
        assert isinstance(pair.there.pump, Pump)
        # Bob ends the old carrier when he grants the new one. Here that must not arrive first.
        with pair.there.pump._stream.socket.dup():
            await reconnector.replace()
        assert (pair.here.epoch, pair.here.state, lonely.state) == (1, "open", "suspended")
        suspended = [
            event
            for event in pair.alice_events.fields("session_suspend")
            if event["session_id"] == pair.here.session_id.hex()
        ]
        assert [event["reason"] for event in suspended] == ["replaced"]
        lonely.abort("the test is over")
        theirs.abort("the test is over")


async def test_a_replacement_is_one_attempt() -> None:
    """RTT-48: the old carrier, which the acceptor ends when it grants, is no reason to ask for a third."""
    async with paired() as pair:
        reconnector = pair.here.lifecycle.reconnector
        assert reconnector is not None
        for count in range(1, 11):
            await reconnector.replace()
            await until(lambda: (pair.here.state, pair.there.state) == ("open", "open"))
            await trio.testing.wait_all_tasks_blocked(0.01)
            total = pair.alice.metrics().total
            assert (total.resumes_asked, total.reconnects, total.carriers_failed) == (count, count, {})


async def test_who_is_not_admitted_any_more_loses_its_session() -> None:
    """RTT-6, RTT-36: the refusal is final for who asked; the session that it named waits on."""
    admitted = [True]
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE) as alice:
        listener = await bob.listen(LOOPBACK, admit=lambda peer, address: admitted[0])
        session = await alice._dial(listener.addresses[0], BOB.fingerprint)
        accepted = await next_session(bob)
        admitted[0] = False
        cut(session)
        with trio.fail_after(SAFETY), pytest.raises(rtt.SessionLost) as caught:
            await session.control.receive()
        assert caught.value.reason == "not_admitted"
        await until(lambda: accepted.state == "suspended")
        for endpoint in (alice, bob):
            assert endpoint.metrics().total.resumes_refused == {"not_admitted": 1}
        accepted.abort("the test is over")


async def test_an_emitter_that_ends_the_session_spoils_no_order() -> None:
    """RTT-54: what comes of it is told after what it was told of."""
    told: list[str] = []
    hooked: list[str] = []

    def emit(name: str, /, **_: object) -> None:
        told.append(name)
        if name == "session_suspend":
            session.abort("enough")

    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE, emit=emit) as alice:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        session = await alice._dial(listener.addresses[0], BOB.fingerprint)
        accepted = await next_session(bob)
        for name in ("on_suspend", "on_resume", "on_close"):
            session.hooks.register(name, lambda event: hooked.append(event.name))
        cut(session)
        await until(lambda: len(hooked) == 2)
        assert hooked == ["on_suspend", "on_close"]
        assert told == ["session_open", "session_suspend", "session_close"]
        assert alice.session_count == 0
        accepted.abort("the test is over")

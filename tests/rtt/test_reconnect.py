"""When a session looks for another carrier, and when it stops (RTT-45, RTT-46), in virtual time and in memory."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.rtt.arrange import ALICE, BOB, CAROL, Events, anybody, next_session
from web4 import rtt
from web4.rtt.errors import AuthenticationError, HandshakeError, TransportUnavailableError
from web4.rtt.reconnect import BRIEF, STEADY, BackOff, Reconnector
from web4.rtt.transports import MemoryNetwork, MemoryTransport, Registry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

BASE, CAP = 0.1, 5.0
MOST = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 1.0])
def test_back_off_has_bounds(fraction: float) -> None:
    """RTT-45: attempt n waits from d/2 to d, with d = min(cap, base * 2**n), by the given chance."""
    back_off = BackOff(BASE, CAP, lambda: fraction)
    assert back_off.carrier_ended(BRIEF, served=False) == 0.0
    delays = [back_off.next_delay() for _ in MOST]
    assert delays == pytest.approx([most / 2 * (1 + fraction) for most in MOST])
    for _ in range(2000):
        assert CAP / 2 <= back_off.next_delay() <= CAP


def test_back_off_begins_anew_after_a_steady_carrier() -> None:
    """RTT-45: the count returns to 0 once a carrier has been open for 10 s, and not before."""
    back_off = BackOff(BASE, CAP, lambda: 1.0)
    for _ in range(3):
        back_off.next_delay()
    assert back_off.carrier_ended(STEADY - 0.001, served=False) == 0.0
    assert back_off.next_delay() == pytest.approx(0.8)
    assert back_off.carrier_ended(STEADY, served=False) == 0.0
    assert back_off.next_delay() == pytest.approx(0.1)
    # A carrier that is dropped as soon as it is accepted is no reason to dial at once.
    assert back_off.carrier_ended(0.0, served=False) == pytest.approx(0.2)
    # But one that carried something has done its work, however briefly.
    assert back_off.carrier_ended(0.0, served=True) == 0.0


class Attempts:
    """Notes when a session tried to find a carrier; fails as told, and lets through when nothing is left."""

    def __init__(self, session: rtt.RttSession) -> None:
        reconnector = session.lifecycle.reconnector
        assert isinstance(reconnector, Reconnector)
        self.at: list[float] = []
        self._real = reconnector._attempt
        self._failures: Iterator[rtt.RttError] = iter(())
        reconnector._attempt = self
        reconnector._back_off._fraction = lambda: 1.0

    def fail(self, *errors: rtt.RttError) -> None:
        self.at.clear()
        self._failures = iter(errors)

    async def __call__(self, session: rtt.RttSession) -> None:
        self.at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        for error in self._failures:
            raise error
        await self._real(session)

    def waits(self, since: float) -> list[float]:
        return [later - earlier for earlier, later in pairwise([since, *self.at])]


class Joined:
    def __init__(
        self, session: rtt.RttSession, network: MemoryNetwork, events: Events, bob: rtt.Endpoint
    ) -> None:
        self.session, self.network, self.events, self.bob = session, network, events, bob
        self.attempts = Attempts(session)

    async def cut(self) -> float:
        """Cut every carrier; when that was."""
        self.network.cut()
        await self.events.wait("session_suspend", len(self.events.fields("session_suspend")) + 1)
        return trio.current_time()

    async def resumed(self) -> None:
        await self.events.wait("session_resume", len(self.events.fields("session_resume")) + 1)


@asynccontextmanager
async def joined(admit: Callable[[str, str], bool] = anybody) -> AsyncGenerator[Joined]:
    network = MemoryNetwork()
    registry = Registry()
    registry.register("memory", lambda: MemoryTransport(network))
    events = Events()
    async with (
        rtt.open_endpoint(ALICE, transports=registry, emit=events) as alice,
        rtt.open_endpoint(BOB, transports=registry) as bob,
    ):
        await bob.listen("memory://bob", admit=admit)
        session = await alice._dial("memory://bob", BOB.fingerprint)
        accepted = await next_session(bob)
        yield Joined(session, network, events, bob)
        session.abort("done")
        accepted.abort("done")


def unreachable(count: int) -> list[rtt.RttError]:
    return [TransportUnavailableError("nobody is there", code="unreachable") for _ in range(count)]


async def test_rtt_backoff_schedule(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-45: the first attempt at once, then every step of the schedule up to its cap; the count goes on when the
    carrier was not steady, and begins anew when it was."""
    async with joined() as pair:
        await trio.sleep(STEADY)
        pair.attempts.fail(*unreachable(9))
        since = await pair.cut()
        await pair.resumed()
        assert pair.attempts.waits(since) == pytest.approx([0.0, *MOST], abs=0.01)
        # The count was 9 when it resumed.
        await trio.sleep(STEADY - 1)
        pair.attempts.fail(*unreachable(1))
        since = await pair.cut()
        await pair.resumed()
        assert pair.attempts.waits(since) == pytest.approx([0.0, CAP], abs=0.01)
        await trio.sleep(STEADY + 1)
        pair.attempts.fail(*unreachable(2))
        since = await pair.cut()
        await pair.resumed()
        assert pair.attempts.waits(since) == pytest.approx([0.0, *MOST[:2]], abs=0.01)


async def test_reconnect_skips_one_pause(autojump_clock: trio.testing.MockClock) -> None:
    """Section 19: `reconnect` skips the current pause, once; of an open session it changes nothing (RTT-12)."""
    async with joined() as pair:
        await trio.sleep(STEADY)
        pair.session.reconnect()
        assert pair.session.state == "open"
        pair.attempts.fail(*unreachable(8))
        since = await pair.cut()
        # It waits 3.2 s from 3.1 s on.
        await trio.sleep_until(since + 4)
        assert len(pair.attempts.at) == 6
        pair.session.reconnect()
        await trio.testing.wait_all_tasks_blocked()
        assert pair.attempts.at[6:] == pytest.approx([since + 4])
        await pair.resumed()
        assert pair.attempts.waits(since + 4)[-2:] == pytest.approx([5.0, 5.0])


async def test_the_peer_may_ask_for_patience(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-36, RTT-45: `retry_after_ms` of a refusal is a lower bound of the next wait, and not to be skipped."""
    async with joined() as pair:
        await trio.sleep(STEADY)
        for code in ("busy", "limit"):
            pair.attempts.fail(HandshakeError("full", code=code, retry_after_ms=7000))
            since = await pair.cut()
            await trio.sleep(1)
            pair.session.reconnect()
            await pair.resumed()
            assert 7.0 <= pair.attempts.at[1] - since <= 7.0 + CAP
            await trio.sleep(STEADY)


@pytest.mark.parametrize(
    ("error", "loss"),
    [
        (AuthenticationError("somebody else", code="wrong_key", peer=CAROL.fingerprint), "auth_failed"),
        (HandshakeError("no", code="not_admitted"), "not_admitted"),
        (HandshakeError("no", code="unknown_session"), "unknown_session"),
        (HandshakeError("no", code="ticket_spent"), "ticket_spent"),
        (HandshakeError("no", code="ticket_expired"), "ticket_expired"),
        (HandshakeError("no", code="stale_epoch"), "stale_epoch"),
    ],
)
async def test_what_ends_reconnecting(
    autojump_clock: trio.testing.MockClock, error: rtt.RttError, loss: str
) -> None:
    """RTT-36, RTT-46: after a failed authentication or a final refusal there is no other attempt; what was not
    acknowledged is reported."""
    async with joined() as pair:
        await trio.sleep(STEADY)
        pair.attempts.fail(*unreachable(2), error)
        await pair.cut()
        pair.session.control.send_nowait(b"never")
        with pytest.raises(rtt.SessionLost) as caught:
            await pair.session.control.flush()
        assert caught.value.reason == loss
        assert caught.value.payloads() == (b"never",)
        await trio.sleep(60)
        assert len(pair.attempts.at) == 3


@pytest.mark.parametrize("code", ["handshake_timeout", "damaged", "unreachable"])
async def test_what_does_not_end_reconnecting(autojump_clock: trio.testing.MockClock, code: str) -> None:
    """RTT-46: damaged or missing bytes of an opening are a failed carrier, and it is tried again."""
    async with joined() as pair:
        await trio.sleep(STEADY)
        pair.attempts.fail(*[HandshakeError("on the way", code=code) for _ in range(3)])
        await pair.cut()
        await pair.resumed()
        assert len(pair.attempts.at) == 4


async def test_a_real_refusal_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-6, RTT-46: who is not admitted any more when it comes back is told so, and stops."""
    admitted = True
    async with joined(lambda peer, address: admitted) as pair:
        await trio.sleep(STEADY)
        admitted = False
        await pair.cut()
        with pytest.raises(rtt.SessionLost) as caught:
            await pair.session.control.receive()
        assert caught.value.reason == "not_admitted"
        assert len(pair.attempts.at) == 1


async def test_closing_and_leaving_end_it(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-46, RTT-61: nobody dials for a session that was closed, or whose endpoint was left."""
    async with joined() as pair:
        await trio.sleep(STEADY)
        pair.attempts.fail(*unreachable(100))
        await pair.cut()
        await trio.sleep(1)
        dialled = len(pair.attempts.at)
        await pair.session.aclose()
        await trio.sleep(60)
        assert len(pair.attempts.at) == dialled

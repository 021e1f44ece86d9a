"""Limits on what has not opened yet, and the timers: small parts, by themselves (section 15)."""

from __future__ import annotations

import itertools

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from web4 import rtt
from web4.rtt.admission import MAX_ADDRESSES, Admission, network_of
from web4.rtt.timers import Alarm, Timers


class Arrivals:
    """An admission, and who was evicted from it."""

    def __init__(self, **options: int) -> None:
        self.admission = Admission(rtt.Options(**options))  # type: ignore[arg-type]
        self.evicted: list[str] = []
        self.spoke: set[str] = set()

    def arrive(self, name: str, address: str = "a", now: float = 0.0) -> int | None:
        return self.admission.arrive(
            address,
            now,
            has_client_hello=lambda: name in self.spoke,
            evict=lambda: self.evicted.append(name),
        )


def test_the_oldest_that_says_nothing_makes_room() -> None:
    arrivals = Arrivals(half_open=3)
    for number, name in enumerate(("first", "second", "third")):
        assert arrivals.arrive(name, f"a{number}") is not None
    arrivals.spoke = {"first"}
    assert arrivals.arrive("fourth", "b") is not None
    assert arrivals.evicted == ["second"]
    arrivals.spoke |= {"third", "fourth"}
    # All have spoken: the new one goes, the others are not disturbed.
    assert arrivals.arrive("fifth", "c") is None
    assert arrivals.evicted == ["second"]
    assert arrivals.admission.half_open == 3
    assert arrivals.admission.hits["half_open"] == 2


def test_an_address_only_evicts_its_own() -> None:
    arrivals = Arrivals(half_open_per_address=1)
    assert arrivals.arrive("other", "b") is not None
    assert arrivals.arrive("one", "a") is not None
    assert arrivals.arrive("two", "a") is not None
    assert arrivals.evicted == ["one"]


def test_leaving_makes_room_once() -> None:
    arrivals = Arrivals(half_open_per_address=1)
    token = arrivals.arrive("one")
    assert token is not None
    arrivals.admission.leave(token)
    arrivals.admission.leave(token)
    assert arrivals.admission.half_open == 0
    assert arrivals.arrive("two") is not None
    assert not arrivals.evicted


def test_an_ipv6_network_is_one_address() -> None:
    """Whoever has a /64 has 2**64 addresses and one allowance; IPv4 through a socket for both stays apart."""
    arrivals = Arrivals(half_open_per_address=1, carriers_burst=3, carriers_per_second=1)
    assert arrivals.arrive("one", "2001:db8:0:1::1") is not None
    assert arrivals.arrive("two", "2001:db8:0:1:ffff:ffff:ffff:ffff") is not None
    assert arrivals.evicted == ["one"]
    assert arrivals.arrive("neighbour", "2001:db8:0:2::1") is not None
    assert arrivals.arrive("three", "2001:db8:0:1::3") is not None
    assert arrivals.arrive("four", "2001:db8:0:1::4") is None
    assert arrivals.admission.hits["carriers_per_address"] == 1
    assert arrivals.arrive("v4", "::ffff:192.0.2.1") is not None
    assert arrivals.arrive("v4 too", "::ffff:192.0.2.2") is not None
    assert arrivals.evicted == ["one", "two"]
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("uid:1000") == "uid:1000"
    assert network_of("fe80::1%eth0") != network_of("fe80::1%eth1")


def test_the_rate_of_an_address() -> None:
    arrivals = Arrivals(carriers_burst=3, carriers_per_second=2)
    assert [arrivals.arrive(str(n)) is not None for n in range(5)] == [True] * 3 + [False] * 2
    assert arrivals.arrive("other", "b") is not None
    assert arrivals.arrive("later", now=0.4) is None
    assert arrivals.arrive("later", now=0.5) is not None
    assert arrivals.arrive("later", now=0.6) is None
    # However long it was quiet, no more than a burst.
    assert [arrivals.arrive(str(n), now=1e6) is not None for n in range(4)] == [True] * 3 + [False]


def test_addresses_that_are_remembered_are_bounded() -> None:
    arrivals = Arrivals(half_open=1)
    for number in range(MAX_ADDRESSES + 100):
        arrivals.arrive("x", str(number))
    assert len(arrivals.admission._buckets) == MAX_ADDRESSES
    assert len(arrivals.admission._per_address) == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=60))
def test_the_limits_hold_whatever_comes(steps: list[tuple[str, bool, bool]]) -> None:
    arrivals = Arrivals(half_open=5, half_open_per_address=3, carriers_burst=1000)
    tokens: list[int] = []
    for number, (address, speaks, leaves) in enumerate(steps):
        token = arrivals.arrive(str(number), address)
        if token is not None:
            tokens.append(token)
        if speaks:
            arrivals.spoke.add(str(number))
        if leaves and tokens:
            arrivals.admission.leave(tokens.pop(0))
        assert arrivals.admission.half_open <= 5
        assert all(0 < count <= 3 for count in arrivals.admission._per_address.values())
        assert sum(arrivals.admission._per_address.values()) == arrivals.admission.half_open


async def test_timers_wake_at_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """An earlier deadline overtakes a later one, a later one waits for the earlier; none is lost."""
    timers = Timers()
    woken: list[tuple[str, float]] = []
    origin = trio.current_time()

    def wake(name: str) -> None:
        woken.append((name, trio.current_time() - origin))

    a, b = Alarm(lambda: wake("a")), Alarm(lambda: wake("b"))
    async with trio.open_nursery() as nursery:
        timers.arm(a, origin + 5)
        nursery.start_soon(timers.run)
        timers.arm(b, origin + 7)
        await trio.sleep(1)
        timers.arm(a, origin + 2)
        timers.arm(a, origin + 3)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert woken == [("a", 2.0), ("a", 5.0), ("b", 7.0)]


async def test_timers_do_not_pile_up(autojump_clock: trio.testing.MockClock) -> None:
    """A heartbeat that moves on with each acknowledgement keeps two entries, not hundreds."""
    timers = Timers()
    beats = itertools.count()

    def again() -> None:
        next(beats)
        timers.arm(alarm, trio.current_time() + 5)

    alarm = Alarm(again)
    most = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        timers.arm(alarm, trio.current_time() + 5)
        for _ in range(1000):
            timers.arm(alarm, trio.current_time() + 0.025)
            await trio.sleep(0.03)
            most = max(most, len(timers))
        nursery.cancel_scope.cancel()
    assert most <= 3
    assert next(beats) >= 1000


async def test_a_cancelled_alarm_lets_go(autojump_clock: trio.testing.MockClock) -> None:
    timers = Timers()
    woken: list[int] = []
    alarm = Alarm(lambda: woken.append(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        timers.arm(alarm, trio.current_time() + 1)
        alarm.cancel()
        timers.arm(alarm, trio.current_time() + 0.5)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert not woken
    assert len(timers) == 0

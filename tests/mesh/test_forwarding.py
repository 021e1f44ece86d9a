"""MESH-3 as a pure decision, in the order of the specification; what is remembered and what waits is bounded."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from tests.mesh.meshes import identity_of
from web4.mesh.forwarding import Deliver, Drop, Forward, SeenCache, Situation, Spread, decide
from web4.mesh.forwarding.egress import Egress
from web4.mesh.forwarding.meters import Bucket, OriginMeters
from web4.mesh.policy import MeshForwardingPolicy
from web4.mesh.routing import LinkMeter, link_cost
from web4.protocols.cip.mesh_path import seal_mesh
from web4.protocols.messages import mesh as m
from web4.testing import TrioClock
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from trio.testing import MockClock

OWN, PEER, X, Y, Z, TO = ("own", "peer", "x", "y", "z", "to")


def envelope(hops: tuple[str, ...] = (PEER,), destination: str = TO, origin: str = X) -> m.MeshEnvelope:
    """A decided envelope; the decision looks at none of its other fields."""
    origin_identity = identity_of("origin")
    data = seal_mesh(
        origin_identity,
        m.MeshRelay(stream="1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b11", kind="window", offset=0, room=1),
        destination="ab" * 32,
        id="1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b11",
        now_ms=START_MS,
    )
    message = msgspec.json.decode(data, type=m.MeshRelayEnvelope)
    return msgspec.structs.replace(message, hops=hops, destination=destination, origin=origin)


GOOD = Situation(
    own=OWN,
    peer=PEER,
    now_ms=START_MS,
    created_ms=START_MS,
    policy=MeshForwardingPolicy(),
    barred=lambda _peer: False,
    seen="new",
    next_hop=lambda _to: Z,
)
# Each spoils one step; the earliest spoiled one decides.
SPOILED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("expired", {"created_ms": START_MS - 60_001}, {}),
    ("blocked", {"barred": lambda peer: peer == PEER}, {}),
    ("loop", {}, {"hops": (Y, OWN, PEER)}),
    ("seen", {"seen": "seen"}, {}),
    ("hop_limit", {"policy": MeshForwardingPolicy(max_hops=1)}, {}),
    ("no_route", {"next_hop": lambda _to: None}, {}),
]


def test_mesh_forwarding_order() -> None:
    """MESH-3: whatever is wrong at the same time, the earliest step says why."""
    assert decide(envelope(), GOOD) == Forward(Z)
    for count in range(1, len(SPOILED) + 1):
        for chosen in itertools.combinations(SPOILED, count):
            situation, said = GOOD, envelope()
            for _, known, fields in chosen:
                situation = replace(situation, **known)
                said = msgspec.structs.replace(said, **fields)
            decision = decide(said, situation)
            assert decision == Drop(chosen[0][0], blame=chosen[0][0] == "expired"), chosen  # type: ignore[arg-type]


def test_mesh_forwarding_for_this_node_comes_before_hops_and_ways() -> None:
    """MESH-3, step 4: what is for this node has arrived, however far it came."""
    here = envelope(hops=(Y, Z, PEER), destination=OWN)
    assert decide(here, replace(GOOD, next_hop=lambda _to: None)) == Deliver()


def test_mesh_forwarding_boundaries() -> None:
    """Exactly the ttl and the skew are in time; exactly `max_hops` entries are too many to go on."""
    assert decide(envelope(), replace(GOOD, created_ms=START_MS - 60_000)) == Forward(Z)
    assert decide(envelope(), replace(GOOD, created_ms=START_MS + 120_000)) == Forward(Z)
    assert decide(envelope(), replace(GOOD, created_ms=START_MS + 120_001)) == Drop("expired", blame=True)
    assert decide(envelope(hops=(Y, PEER)), GOOD) == Forward(Z)
    assert decide(envelope(hops=(Y, "w", PEER)), GOOD) == Drop("hop_limit")


@pytest.mark.parametrize("back", [PEER, X, Y])
def test_mesh_forwarding_never_back(back: str) -> None:
    """A way that leads back to where it came from is none."""
    said = envelope(hops=(Y, PEER))
    assert decide(said, replace(GOOD, next_hop=lambda _to: back)) == Drop("no_route")


def test_mesh_forwarding_who_does_not_relay() -> None:
    """MESH-7: a node may refuse to relay; what is for it, and what it sends itself, goes on."""
    unwilling = replace(GOOD, policy=MeshForwardingPolicy(relays=False))
    assert decide(envelope(), unwilling) == Drop("not_relaying")
    assert decide(envelope(destination=OWN), unwilling) == Deliver()
    assert decide(envelope(hops=(), origin=OWN), replace(unwilling, peer=OWN)) == Forward(Z)


def test_mesh_broadcast_fan_out() -> None:
    """MESH-6: to all but who had it, eight at most; every envelope draws others, and the same one the same."""
    neighbours = tuple(f"n{number:02}" for number in range(20))
    situation = replace(GOOD, neighbours=(*neighbours, PEER, X))
    said = envelope(destination=m.BROADCAST)
    first = decide(said, situation)
    assert isinstance(first, Spread)
    assert len(first.to) == 8
    assert not {PEER, X, OWN} & set(first.to)
    assert decide(said, replace(situation, neighbours=tuple(reversed(situation.neighbours)))) == first
    other = decide(msgspec.structs.replace(said, id="6a1e9f52-3f6b-4c57-8f1d-0c2b4d6e8f10"), situation)
    assert isinstance(other, Spread)
    assert other != first
    assert decide(envelope(hops=(Y, Z, PEER), destination=m.BROADCAST), situation) == Spread(())


def test_mesh_seen_never_forgets_what_lives() -> None:
    """MESH-3, step 3: ids are refused, never forgotten; they are forgotten when their envelopes have expired."""
    cache = SeenCache(each=3, total=5)
    for number in range(3):
        assert cache.look("a", str(number), "p", 0) == "new"
        cache.remember("a", str(number), "p", 100 + number)
    assert cache.look("a", "3", "q", 100) == "full"
    assert cache.look("a", "0", "q", 100) == "seen"
    assert cache.look("b", "0", "p", 100) == "full"  # the share of who hands it over
    assert cache.look("b", "0", "q", 100) == "new"
    for number in range(2):
        cache.remember("b", str(number), "q", 100)
    assert cache.look("c", "0", "r", 100) == "full"
    assert cache.look("a", "0", "p", 101) == "new"
    assert len(cache) == 2
    assert cache.look("c", "0", "r", 200) == "new"
    assert len(cache) == 0
    assert not cache._of
    assert not cache._over


def test_a_clock_set_back_does_not_fill_it_for_a_day() -> None:
    """MESH-3, LIM-1: what expires later than anything that is good now gives way, and only when there is no room."""
    day_ms, now_ms = 86_400_000, 1_000_000_000
    cache = SeenCache(each=3, total=5)
    for number in range(3):
        cache.remember("a", str(number), "p", now_ms + 60_000)
    for back_ms in (1_000, 100_000):
        assert cache.look("a", "3", "p", now_ms - back_ms) == "full"
    assert cache.look("a", "0", "q", now_ms - day_ms) == "seen"
    assert cache.look("a", "3", "q", now_ms - day_ms) == "new"
    assert (len(cache), cache._of, cache._over) == (0, {}, {})
    cache.remember("a", "3", "q", now_ms - day_ms + 60_000)
    assert cache.look("a", "3", "q", now_ms - day_ms) == "seen"
    assert cache.look("a", "3", "q", now_ms - day_ms + 60_001) == "new"


def test_mesh_rate_of_an_origin() -> None:
    """MESH-7: a second's bytes at once, then so many a second; quiet origins are forgotten first."""
    bucket = Bucket(1_000, 1_000)
    assert bucket.wait_ms(600, 0) == 0
    bucket.take(600)
    assert bucket.wait_ms(600, 0) == pytest.approx(200)
    assert bucket.wait_ms(600, 200) == 0
    bucket.take(600)
    assert bucket.wait_ms(5_000, 1_199) == pytest.approx(1)  # larger than the burst: once it is full
    meters = OriginMeters(rate=1, burst=1, origins=2)
    first = meters.of("a")
    meters.of("b")
    assert meters.of("a") is first
    meters.of("c")
    assert meters.of("a") is first
    assert len(meters._buckets) == 2


def test_link_cost_is_that_of_the_specification() -> None:
    """MESH-4: 1 + latency / 100 + 10 x loss, in steps that noise does not move."""
    assert link_cost(50, 0.1) == 2.5
    meter = LinkMeter()
    assert not meter.measured(20)
    assert meter.cost == 1
    assert meter.measured(200)
    assert meter.cost == pytest.approx(link_cost(105, 0), abs=0.13)
    before = meter.cost
    assert meter.looked(up=False)
    assert meter.cost == pytest.approx(before + 2.5, abs=0.25)


async def egress_of(policy: MeshForwardingPolicy, given: list[bytes]) -> Egress:
    async def give(data: bytes) -> None:
        given.append(data)
        await trio.lowlevel.checkpoint()

    meters = OriginMeters(
        rate=policy.relay_bytes_per_second, burst=policy.relay_burst_bytes, origins=policy.origins
    )
    return Egress(policy, meters, TrioClock(), control=give, relay=give)


async def test_mesh_origins_take_turns(autojump_clock: MockClock) -> None:
    """MESH-7: an origin that floods waits for its own rate; others pass it, and control passes all."""
    given: list[bytes] = []
    policy = MeshForwardingPolicy(
        relay_bytes_per_second=1_000, relay_burst_bytes=1_000, queue_bytes=20_000, messages_per_second=10_000
    )
    egress = await egress_of(policy, given)
    flood = [egress.offer("loud", b"L" * 1_000) for _ in range(30)]
    assert flood == [True] * 20 + [False] * 10
    assert egress.offer("quiet", b"q" * 500)
    assert egress.say(b"control")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(egress.run)
        await trio.sleep(0.5)
        assert given == [b"control", b"L" * 1_000, b"q" * 500]
        await trio.sleep(30)
        assert len(given) == 22
        assert egress.waiting("loud") == 0
        nursery.cancel_scope.cancel()
    assert trio.current_time() > 19


async def test_mesh_pace_stays_below_the_neighbours_limit(autojump_clock: MockClock) -> None:
    """LIM-2: a neighbour gets no more envelopes a second than it takes."""
    given: list[bytes] = []
    egress = await egress_of(MeshForwardingPolicy(messages_per_second=100), given)
    chance = random.Random(5)
    for number in range(400):
        egress.offer(str(number), chance.randbytes(10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(egress.run)
        await trio.sleep(1)
        assert 100 <= len(given) <= 130
        await trio.sleep(4)
        assert len(given) == 400
        egress.close()


async def test_mesh_own_streams_wait_and_wake(autojump_clock: MockClock) -> None:
    """A node's own stream waits while too much is queued, and learns when the neighbour is gone."""
    given: list[bytes] = []
    policy = MeshForwardingPolicy(queue_bytes=4_000, relay_bytes_per_second=1_000, relay_burst_bytes=1_000)
    egress = await egress_of(policy, given)
    assert not egress.full("own")
    for _ in range(3):
        egress.offer("own", bytes(1_000), own=True)
    assert egress.full("own")
    woken: list[str] = []

    async def wait(name: str) -> None:
        await egress.wait_for_room("own")
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "one")
        await trio.sleep(1)
        assert woken == []
        nursery.start_soon(egress.run)
        await trio.sleep(5)
        assert woken == ["one"]
        egress.offer("own", bytes(3_000), own=True)
        nursery.start_soon(wait, "two")
        await trio.sleep(0.001)
        egress.close()
    assert woken == ["one", "two"]
    assert not egress.offer("own", b"")

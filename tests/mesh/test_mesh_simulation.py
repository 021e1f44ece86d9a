"""Routing cores of many nodes in virtual time converge, heal, never send in a circle (MESH-4, MESH-5, MESH-13)."""

from __future__ import annotations

import itertools
import os
import random
from xml.etree import ElementTree

import pytest

from scripts.bench.mesh import measure, svg, table
from scripts.bench.mesh_simulation import Network, ring_with_chords
from web4.mesh.policy import MeshForwardingPolicy
from web4.mesh.routing import link_cost

SEEDS = int(os.environ.get("WEB4_MESH_SEEDS", "6"))


def assert_whole(network: Network) -> None:
    """All pairs within reach reach each other, each by a way without a circle (MESH-3)."""
    for origin in network.nodes:
        for destination in network.within_reach(origin):
            walked = network.walk(origin, destination)
            assert walked is not None, f"seed {network.seed}: {origin} does not reach {destination}"
            assert len(set(walked)) == len(walked)
            assert len(walked) - 2 <= network.policy.max_hops


def assert_no_circles(network: Network) -> None:
    """Whatever is under way: what no node drops arrives, and nothing goes round."""
    for origin in network.nodes:
        for destination in network.nodes:
            walked = network.walk(origin, destination)
            assert walked is None or (walked[-1] == destination and len(set(walked)) == len(walked))


# Latencies that differ by little: where a cheap way is a long one, a node beyond may find it too long (MESH-4).
def even(seed: int, count: int, chords: int) -> Network:
    network = Network(seed)
    for number in range(count):
        network.add(f"n{number:05}")
    names = list(network.nodes)
    for number, name in enumerate(names):
        network.join(name, names[(number + 1) % count], 5.0)
    for _ in range(chords * count // 2):
        first, second = network.chance.sample(names, 2)
        network.join(first, second, 5.0)
    return network


@pytest.mark.parametrize("seed", range(SEEDS))
def test_mesh_converges_25(seed: int) -> None:
    """Smoke of 25 nodes (section 22): all pairs within reach, in less than two seconds of their time."""
    network = even(seed, 25, 2)
    assert network.settle() < 2_000
    assert_whole(network)
    assert_no_circles(network)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_mesh_partition_and_rejoin(seed: int) -> None:
    """MESH-13: the network falls in two, each half stays whole, and it grows together again without help."""
    network = even(seed, 16, 2)
    network.settle()
    names = sorted(network.nodes)
    left = set(names[:8])
    cut = [link for link in network.links if len(link & left) == 1]
    for link in cut:
        network.part(*sorted(link))
    network.run(network.now_ms + 30)
    assert_no_circles(network)
    parted = network.now_ms
    assert network.settle() - parted < 2_000
    assert_whole(network)
    for origin in left:
        for other in set(names) - left:
            assert network.nodes[origin].table.route(other) is None
    for link in cut:
        first, second = sorted(link)
        network.join(first, second, 5.0)
    rejoined = network.now_ms
    assert network.settle() - rejoined < 2_000
    assert_whole(network)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_mesh_weather(seed: int) -> None:
    """Links come and go at random: nothing ever goes round; once it is calm, all is whole (MESH-5)."""
    network = even(seed, 12, 2)
    chance = random.Random(f"weather {seed}")
    gone: list[tuple[str, str]] = []
    for _ in range(60):
        if gone and chance.random() < 0.5:
            first, second = gone.pop(chance.randrange(len(gone)))
            network.join(first, second, 5.0)
        elif network.links:
            first, second = sorted(chance.choice(sorted(network.links, key=sorted)))
            network.part(first, second)
            gone.append((first, second))
        network.run(network.now_ms + chance.uniform(1, 300))
        assert_no_circles(network)
    for first, second in gone:
        network.join(first, second, 5.0)
    network.settle()
    assert_whole(network)


def test_mesh_equal_seeds_equal_runs() -> None:
    """MESH-4: the choice is a pure function; two runs give the same ways and the same number of messages."""

    def run() -> tuple[list[object], list[int]]:
        network = Network(7)
        ring_with_chords(network, 20, 2)
        network.settle()
        ways = [sorted(map(str, node.table.routes())) for node in network.nodes.values()]
        return list(ways), [node.sent for node in network.nodes.values()]

    assert run() == run()


def test_mesh_silent_neighbour_is_stale() -> None:
    """MESH-8: who says nothing for 90 s is not routable, though nobody said that the link is gone."""
    network = even(1, 6, 0)
    network.settle()
    silent = network.nodes["n00000"]
    silent.advertiser.link_down("n00001")  # it says nothing more to that neighbour
    other = network.nodes["n00001"].table
    network.run(network.now_ms + 60_000)
    assert other.route("n00000") is not None
    network.run(network.now_ms + 70_000)
    route = other.route("n00000")
    assert route is None or route.next != "n00000"


def test_mesh_blackholing_path_is_left_while_suspected() -> None:
    """MESH-5: a neighbour that offers cheap ways and drops what comes is passed by once a stream broke on it."""
    network = even(3, 5, 0)
    network.settle()
    table = network.nodes["n00000"].table
    before = table.route("n00002")
    assert before is not None
    assert before.next == "n00001"
    now_ms = int(network.now_ms)
    (change,) = table.suspect("n00001", "n00002", now_ms)
    assert change.after is not None
    assert change.after.next == "n00004"
    policy = MeshForwardingPolicy()
    assert [c.after for c in table.expire(now_ms + policy.suspect_ms)] == [before]


@pytest.mark.parametrize("seed", range(4 * SEEDS))
def test_mesh_routes_equal_a_reference(seed: int) -> None:
    """MESH-4: where no way is too long, what path vectors settle on is what a search of the whole graph finds."""
    network = Network(seed)
    names = [f"n{number}" for number in range(5)]
    for name in names:
        network.add(name)
    for first, second in itertools.combinations(names, 2):
        if network.chance.random() < 0.6:
            network.join(first, second, network.chance.choice((0.0, 25.0, 50.0, 150.0, 400.0)))
    network.settle()
    costs = {link: round(link_cost(latency, 0) * 4) / 4 for link, latency in network.links.items()}

    def reference(origin: str, destination: str) -> tuple[float, int, str] | None:
        """Every way without a circle, the best by cost, then hops, then next node."""
        found: list[tuple[float, int, str]] = []
        others = [name for name in names if name not in (origin, destination)]
        for count in range(len(others) + 1):
            for between in itertools.permutations(others, count):
                way = [origin, *between, destination]
                links = [frozenset(pair) for pair in itertools.pairwise(way)]
                if all(link in costs for link in links):
                    found.append((sum(costs[link] for link in links), count, way[1]))
        return min(found, default=None)

    for origin, destination in itertools.permutations(names, 2):
        route = network.nodes[origin].table.route(destination)
        best = reference(origin, destination)
        assert (route is None) == (best is None), f"{origin} to {destination}"
        if route is not None and best is not None:
            assert (route.cost, route.hops, route.next) == best, f"{origin} to {destination}"


def test_bench_mesh_growth_is_measured_and_drawn() -> None:
    """The benchmark's figures are those of the network that it ran: one row a size, and a picture that parses."""
    rows = [measure(count, chords=2, seed=3) for count in (10, 25)]
    assert [row.nodes for row in rows] == [10, 25]
    assert all(row.reached == 1.0 for row in rows)
    assert all(row.messages_per_node > 2 for row in rows)
    assert len(table(rows).splitlines()) == 3
    picture = ElementTree.fromstring(svg(rows))
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 2

"""How many changed ways a neighbour may cause (MESH-4, MESH-7): each costs a choice here, and at every neighbour."""

from __future__ import annotations

from web4.mesh.policy import MeshForwardingPolicy
from web4.mesh.routing.table import RoutingTable
from web4.protocols.messages.mesh import PathVector

OWN, LIAR, HONEST = "0" * 64, "1" * 64, "2" * 64


def table(**policy: float) -> RoutingTable:
    made = RoutingTable(OWN, MeshForwardingPolicy(**policy))  # type: ignore[arg-type]
    made.link_up(LIAR, cost=1.0, now_ms=0)
    made.link_up(HONEST, cost=2.0, now_ms=0)
    return made


def ways(first: int, count: int, *, cost: float = 1.0, peer: str = LIAR) -> list[PathVector]:
    ends = [f"{number:064x}" for number in range(first + 16, first + 16 + count)]
    return [PathVector(destination=end, path=(peer, end), cost=cost) for end in ends]


def test_mesh_route_changes_of_a_neighbour_are_limited() -> None:
    """Beyond its burst a neighbour causes as many changes as grow again; others are not touched by that."""
    made = table(changes_burst=10, changes_per_second=2)
    assert len(made.offered(LIAR, ways(0, 50), now_ms=0)) == 10
    assert made.refused["rate"] == 40
    assert len(made.offered(LIAR, ways(100, 50), now_ms=3_000)) == 6
    assert len(made.offered(HONEST, ways(200, 10, peer=HONEST), now_ms=3_000)) == 10
    assert made.offered_by(LIAR) == 16


def test_mesh_route_changes_that_are_none_are_free() -> None:
    """What is only said again stays known, and takes no room."""
    made = table(changes_burst=10, changes_per_second=1)
    made.offered(LIAR, ways(0, 10), now_ms=0)
    for now_ms in range(0, 60_000, 1_000):
        made.offered(LIAR, ways(0, 10), whole=True, now_ms=now_ms)
    assert not made.refused["rate"]
    assert made.offered_by(LIAR) == 10
    made.expire(100_000)
    assert made.offered_by(LIAR) == 10


def test_mesh_route_changed_too_often_stays_as_it_was() -> None:
    """A way whose cost jumps to and fro is still a way, at the cost that was taken in."""
    made = table(changes_burst=2, changes_per_second=0.001)
    (end,) = ways(0, 1)
    for number in range(20):
        made.offered(LIAR, ways(0, 1, cost=1.0 + number), now_ms=number)
    route = made.route(end.destination)
    assert route is not None
    assert route.cost == 3.0
    assert made.refused["rate"] == 18
    assert made.offered(LIAR, (), withdrawn=(end.destination,), now_ms=30)
    assert made.route(end.destination) is None


def test_mesh_new_link_gives_no_new_room() -> None:
    """Whoever comes again at once is who it was."""
    made = table(changes_burst=10, changes_per_second=1)
    made.offered(LIAR, ways(0, 10), now_ms=0)
    made.link_down(LIAR, 0)
    made.link_up(LIAR, cost=1.0, now_ms=1_000)
    assert len(made.offered(LIAR, ways(50, 10), now_ms=1_000)) == 1
    assert made.refused["rate"] == 9


def test_mesh_ways_of_a_neighbour_are_bounded() -> None:
    """However slowly they come."""
    made = table(destinations=5)
    made.offered(LIAR, ways(0, 9), now_ms=0)
    assert made.offered_by(LIAR) == 5
    assert made.refused["too_many"] == 4

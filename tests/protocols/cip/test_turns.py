"""What a node reads of all its strangers together, however many they are (TRUST-10, LIM-1)."""

from __future__ import annotations

from web4.protocols.cip import CipOptions
from web4.protocols.cip.meters import Turns

SECOND = 1_000_000_000


def test_turns_of_many_are_as_many_as_of_one() -> None:
    """A burst is free, and then it is so many a second of all together; who asks later waits longer."""
    turns = Turns(rate=100, burst=200)
    assert [turns.take(100, SECOND) for _ in range(2)] == [0.0, 0.0]
    assert [round(turns.take(10, SECOND), 3) for _ in range(3)] == [0.1, 0.2, 0.3]


def test_turns_grow_again_up_to_the_burst() -> None:
    """However long nobody asked."""
    turns = Turns(rate=100, burst=50)
    assert turns.take(50, SECOND) == 0.0
    assert turns.take(50, 1_000 * SECOND) == 0.0
    assert round(turns.take(50, 1_000 * SECOND), 3) == 0.5


def test_turns_are_for_whoever_sets_them() -> None:
    """A runtime alone reads as much as comes; a node says how much (`[limits]`)."""
    assert CipOptions(agent_id="ada").turns() is None
    assert CipOptions(agent_id="ada", strangers_per_second=10).turns() is not None

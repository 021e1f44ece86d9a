"""Lanes `human:<id>`: of a human of a node or at its peers, or as `web4 ext call` writes them for one at a terminal.

The first event of a lane says which it is: the two never share one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from web4.cli.extensions import calls
from web4.protocols.hcp.lane.readable import READABLE_HUMAN_LANE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from web4.foundation.logic import Decision
    from web4.journal.replay import ReplayDefinition

EVENTS: Final = (*calls.EVENTS, *READABLE_HUMAN_LANE.events)
"""The types of their events."""
_PEOPLE: Final = READABLE_HUMAN_LANE
_CALLS: Final[Any] = calls.definition()
_OF_PEOPLE: Final = frozenset(one.struct for one in READABLE_HUMAN_LANE.events)


@dataclass(frozen=True)
class _Either:
    """What a lane holds: None before its first event; then a definition, and a state of it."""

    definition: Any = None
    state: Any = None


@dataclass(frozen=True)
class _EitherLogic:
    initial: _Either = field(default_factory=_Either)

    def decide(self, state: Any, command: Any) -> Decision[Any, Any]:
        """Nothing is decided in replay."""
        raise NotImplementedError

    def apply(self, state: _Either, event: Any) -> _Either:
        """The state after `event`, by the logic that the lane's first event belongs to."""
        definition = state.definition or (_PEOPLE if type(event) in _OF_PEOPLE else _CALLS)
        before = definition.logic.initial if state.definition is None else state.state
        return _Either(definition, definition.logic.apply(before, event))


class _EitherDefinition:
    logic = _EitherLogic()
    version = 1
    upcasters: Mapping[int, Callable[[Any], Any]] = {}
    event_names = _PEOPLE.event_names | _CALLS.event_names

    def encode(self, state: _Either) -> bytes:
        """As the lane's own definition does."""
        definition = state.definition or _PEOPLE
        found: bytes = definition.encode(
            definition.logic.initial if state.definition is None else state.state
        )
        return found

    def decode(self, data: bytes) -> _Either:
        """Read a snapshot of either: neither reads what the other wrote.

        Raises:
            ValueError: It is neither's.
        """
        for definition in (_PEOPLE, _CALLS):
            try:
                return _Either(definition, definition.decode(data))
            except ValueError:
                continue
        raise ValueError("a state of neither kind")


def definition() -> ReplayDefinition:
    """Their logic. Replay performs no effect."""
    return _EitherDefinition()

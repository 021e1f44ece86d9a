"""The shape of a lane's logic (ACT-1): what may be replayed, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

State = TypeVar("State")
Command_contra = TypeVar("Command_contra", contravariant=True)
Event = TypeVar("Event")
Reply_co = TypeVar("Reply_co", covariant=True)


class Decision(msgspec.Struct, Generic[Event, Reply_co], frozen=True):
    """What `decide` concluded: the events to make durable, then the answer to whoever asked."""

    events: tuple[Event, ...]
    reply: Reply_co


class LaneLogic(Protocol[State, Command_contra, Event, Reply_co]):
    """Pure decisions over one lane. Time, ids, nonces and verdicts come with the command (WEB-2).

    `decide` of the same state and command gives equal events in every process, and `apply` never fails on an
    event that its own `decide` produced. `web4.testing.check_lane_logic` proves both.
    """

    @property
    def initial(self) -> State:
        """The state of an empty lane."""
        ...

    def decide(self, state: State, command: Command_contra) -> Decision[Event, Reply_co]:
        """Say what `command` leads to. Changes nothing and never raises; a refusal is a reply."""
        ...

    def apply(self, state: State, event: Event) -> State:
        """Give the state after `event`."""
        ...


def replay(
    logic: LaneLogic[State, Any, Event, Any], events: Iterable[Event], *, base: State | None = None
) -> State:
    """Rebuild a lane's state from its events, from the beginning or from the state before them."""
    state = logic.initial if base is None else base
    for event in events:
        state = logic.apply(state, event)
    return state

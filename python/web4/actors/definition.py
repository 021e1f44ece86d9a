"""What a lane's kind consists of: its logic, and all that the logic must not know (ACT-1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from web4 import _core
from web4.actors.errors import EffectError
from web4.foundation.codec import ENCODER

if TYPE_CHECKING:
    from web4.foundation.logic import LaneLogic
    from web4.journal.event_types import EventType
    from web4.journal.record import Cause

State = TypeVar("State")
Command = TypeVar("Command")
Event = TypeVar("Event")
Reply = TypeVar("Reply")

Outcome = Literal["ok", "error", "timed_out", "cancelled", "abandoned"]
"""How an effect ends (ACT-3a)."""
StateUpcaster = Callable[[Any], Any]
"""The decoded JSON of a state of one logic version to that of the next (JRN-9d)."""


class Origin(NamedTuple):
    """What a command brings along for the records it leads to.

    Args:
        at: Its time, Unix milliseconds. Recorded is never less than what the lane has already.
        cause: The record that led to it.
        principal: On whose behalf it was given.
    """

    at: int
    cause: Cause | None = None
    principal: str | None = None


class Effect(NamedTuple):
    """An effect that was requested and is not concluded.

    Args:
        id: Unique in its lane, brought in by the command.
        request: The event that requested it, as persisted; None when its payload was erased.
        command: The command it belongs to, if it belongs to one.
        idempotent: Whether it may be performed again.
    """

    id: str
    request: Any
    command: str | None
    idempotent: bool


@dataclass(frozen=True, kw_only=True)
class LaneDefinition(Generic[State, Command, Event, Reply]):
    """The definition of a kind of lane. Subclasses override what their lanes need.

    Args:
        logic: Pure decisions over the lane. Its states are values: nobody changes one that was given out.
        state: The type of its states, as msgspec decodes it.
        events: The types of all events that the logic decides and applies. Another halts the lane (JRN-9c).
        version: Of the logic: raised whenever the same events give another state (JRN-7b).
        upcasters: Version n to a pure function from states of version n to those of n + 1. They carry a
            compacted lane's base snapshot along (JRN-9d).
    """

    logic: LaneLogic[State, Command, Event, Reply]
    state: Any
    events: tuple[EventType, ...]
    version: int = 1
    upcasters: Mapping[int, StateUpcaster] = field(default_factory=dict)

    # --- states -----------------------------------------------------------------------------------------

    def encode(self, state: State) -> bytes:
        """Write a state as canonical JSON. Equal states give equal bytes."""
        return _core.canonicalize(ENCODER.encode(state))

    def decode(self, data: bytes) -> State:
        """Read what `encode` wrote.

        Raises:
            ValueError: It is no state (msgspec's errors are among them).
        """
        decoded: State = self._decoder.decode(data)
        return decoded

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(self.state)

    @cached_property
    def event_names(self) -> frozenset[str]:
        """The names of the types in `events`."""
        return frozenset(one.name for one in self.events)

    def outcomes(self, state: State) -> Iterable[str]:
        """The ids of the commands whose terminal outcome a state holds: counted in the recovery summary (JRN-14)."""
        return ()

    # --- commands ---------------------------------------------------------------------------------------

    def origin(self, command: Command) -> Origin:
        """What the records of `command` say of it. Unless overridden, its attribute `at` is its time."""
        return Origin(command.at)  # type: ignore[attr-defined]  # what the docstring says

    # --- effects (ACT-3) --------------------------------------------------------------------------------

    async def perform(self, request: Event) -> Command:
        """Do what a durable request asks for; the command that concludes it. The only place for I/O.

        Cancellation: it is cancelled when its effect is; what has not ended after its grace is abandoned.

        Raises:
            Exception: The effect failed: it is concluded as an `error`.
        """
        raise EffectError(
            f"{type(self).__name__} performs no {type(request).__name__}", code="effects_unsupported"
        )

    def conclude(self, effect: Effect, outcome: Outcome, reason: str, at: int) -> Command:
        """The command that concludes an effect that brought none itself: it failed, or was cut off.

        Args:
            effect: The open effect.
            outcome: `error`, `cancelled` or `abandoned`.
            reason: Why: a code word, or the class of the exception.
            at: Time to be recorded, Unix milliseconds.
        """
        raise EffectError(f"{type(self).__name__} concludes no effects", code="effects_unsupported")

    def cancels(self, event: Event) -> Iterable[str]:
        """The ids of the effects that a durable event cuts off, besides those that it concludes."""
        return ()

    def stops(self, state: State, command: Command) -> Iterable[str]:
        """The ids of the effects that a control command cuts off at once while the journal cannot write (JRN-15c)."""
        return ()

    def kill(self, effect: Effect) -> None:
        """End the worker of an effect that outlived its grace (ACT-3b). Must not block."""

    # --- recovery (JRN-13) ------------------------------------------------------------------------------

    def requester_gone(self, state: State, effect: Effect) -> bool:
        """Whether nobody waits for an open effect that belongs to no unfinished command (JRN-13a)."""
        return False

    def fail(self, command: str, begin: Event | None, reason: str, at: int) -> Command:
        """The command that ends the unfinished command `command` as failed after a restart.

        Args:
            command: Its id.
            begin: The event that began it, as persisted; None when its payload was erased.
            reason: Of JRN-13's table.
            at: Time to be recorded, Unix milliseconds.
        """
        raise EffectError(f"{type(self).__name__} ends no commands", code="effects_unsupported")

    def resume(self, command: str, begin: Event, at: int) -> Command | None:
        """The command that queues an accepted, not started command again; None if its state does that."""
        return None

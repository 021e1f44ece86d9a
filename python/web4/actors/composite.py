"""One kind of lane that is made of named parts, each with a logic, events and effects of its own (ACT-1, WEB-1).

A lane has one writer, and `server` belongs to several rooms: enabling of extensions, the peer registry, introductions,
services. Each declares a `Part`; `composite_lane` makes one `LaneDefinition` of them. No part sees another's state:
what one has to know of another comes with the command, as it does between lanes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from web4 import _core
from web4.actors.definition import LaneDefinition, Origin
from web4.actors.errors import EffectError
from web4.foundation.codec import ENCODER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from web4.actors.definition import Effect, Outcome, StateUpcaster
    from web4.foundation.logic import Decision, LaneLogic

State = TypeVar("State")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CompositeState:
    """The states of all parts, by their names. Read one with `Part.of`."""

    parts: Mapping[str, Any]


@dataclass(frozen=True)
class Part(Generic[State]):
    """One part of a kind of lane.

    Args:
        name: `[a-z][a-z0-9_]*`, stored in snapshots. When two parts have effects or commands of their own in the
            journal, their ids begin with it and a colon: an erased request says nothing else of whose it was.
        definition: What it consists of, as if it had a lane to itself.
        commands: The types of its commands, exactly.

    Raises:
        TypeError: The name does not fit.
    """

    name: str
    definition: LaneDefinition[State, Any, Any, Any]
    commands: tuple[type, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise TypeError(f"{self.name!r} is no name of a part")

    def of(self, state: CompositeState) -> State:
        """The part's own state."""
        found: State = state.parts[self.name]
        return found


@dataclass(frozen=True)
class CompositeLogic:
    """Hands each command and each event to the part that it belongs to, by its type.

    Args:
        logics: The parts', by name.
        commands: Type of command to name of part.
        events: Type of event to name of part.
    """

    logics: Mapping[str, LaneLogic[Any, Any, Any, Any]]
    commands: Mapping[type, str]
    events: Mapping[type, str]

    @property
    def initial(self) -> CompositeState:
        """Every part at its beginning."""
        return CompositeState({name: logic.initial for name, logic in self.logics.items()})

    def decide(self, state: CompositeState, command: Any) -> Decision[Any, Any]:
        """What the part decides to which `command` belongs."""
        name = self.commands[type(command)]
        return self.logics[name].decide(state.parts[name], command)

    def apply(self, state: CompositeState, event: Any) -> CompositeState:
        """The state after `event`: one part's changed, the others' are the same."""
        name = self.events[type(event)]
        return CompositeState({**state.parts, name: self.logics[name].apply(state.parts[name], event)})


class _PartForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part's state as a snapshot holds it: with the version of the logic that it came of."""

    state: msgspec.Raw
    version: int


_FORMS: Final = msgspec.json.Decoder(dict[str, _PartForm])


@dataclass(frozen=True, kw_only=True)
class CompositeLane(LaneDefinition[CompositeState, Any, Any, Any]):
    """A kind of lane made of parts. Make it with `composite_lane`.

    Args:
        parts: By name.
    """

    parts: Mapping[str, Part[Any]] = field(default_factory=dict)

    # --- states -----------------------------------------------------------------------------------------

    def encode(self, state: CompositeState) -> bytes:
        """Write the parts' states, each as its definition does, under their names. Canonical (JRN-7)."""
        forms = {
            name: _PartForm(msgspec.Raw(one.definition.encode(one.of(state))), one.definition.version)
            for name, one in self.parts.items()
        }
        return _core.canonicalize(ENCODER.encode(forms))

    def decode(self, data: bytes) -> CompositeState:
        """Read what `encode` wrote, of this version or an earlier one of a part (JRN-9d).

        A part that is not there had no event yet: it is at its beginning.

        Raises:
            ValueError: It is no state, or holds a part that is unknown, or newer than this.
        """
        forms = _FORMS.decode(data)
        if not forms.keys() <= self.parts.keys():
            raise ValueError(f"unknown parts: {', '.join(sorted(forms.keys() - self.parts.keys()))}")
        return CompositeState(
            {
                name: _read(part.definition, forms[name]) if name in forms else part.definition.logic.initial
                for name, part in self.parts.items()
            }
        )

    def outcomes(self, state: CompositeState) -> Iterable[str]:
        """See `LaneDefinition.outcomes`."""
        return chain.from_iterable(one.definition.outcomes(one.of(state)) for one in self.parts.values())

    # --- commands and effects ---------------------------------------------------------------------------

    def origin(self, command: Any) -> Origin:
        """See `LaneDefinition.origin`."""
        return self._by_command(command).definition.origin(command)

    async def perform(self, request: Any) -> Any:
        """See `LaneDefinition.perform`."""
        return await self._by_event(request).definition.perform(request)

    def conclude(self, effect: Effect, outcome: Outcome, reason: str, at: int) -> Any:
        """See `LaneDefinition.conclude`."""
        return self._owner(effect.id, effect.request).definition.conclude(effect, outcome, reason, at)

    def cancels(self, event: Any) -> Iterable[str]:
        """See `LaneDefinition.cancels`."""
        return self._by_event(event).definition.cancels(event)

    def stops(self, state: CompositeState, command: Any) -> Iterable[str]:
        """See `LaneDefinition.stops`."""
        part = self._by_command(command)
        return part.definition.stops(part.of(state), command)

    def kill(self, effect: Effect) -> None:
        """See `LaneDefinition.kill`."""
        self._owner(effect.id, effect.request).definition.kill(effect)

    # --- recovery ---------------------------------------------------------------------------------------

    def requester_gone(self, state: CompositeState, effect: Effect) -> bool:
        """See `LaneDefinition.requester_gone`."""
        part = self._owner(effect.id, effect.request)
        return part.definition.requester_gone(part.of(state), effect)

    def fail(self, command: str, begin: Any, reason: str, at: int) -> Any:
        """See `LaneDefinition.fail`."""
        return self._owner(command, begin).definition.fail(command, begin, reason, at)

    def resume(self, command: str, begin: Any, at: int) -> Any:
        """See `LaneDefinition.resume`."""
        return self._by_event(begin).definition.resume(command, begin, at)

    # --- whose it is ------------------------------------------------------------------------------------

    @property
    def _dispatch(self) -> CompositeLogic:
        assert isinstance(self.logic, CompositeLogic)
        return self.logic

    def _by_command(self, command: Any) -> Part[Any]:
        return self.parts[self._dispatch.commands[type(command)]]

    def _by_event(self, event: Any) -> Part[Any]:
        return self.parts[self._dispatch.events[type(event)]]

    def _owner(self, subject: str, event: Any) -> Part[Any]:
        """Whose an effect or a command is, even when its request was erased."""
        if event is not None:
            return self._by_event(event)
        moving = [one for one in self.parts.values() if any(type_.phase for type_ in one.definition.events)]
        named = self.parts.get(subject.partition(":")[0])
        if len(moving) != 1 and named not in moving:
            raise EffectError("an erased request belongs to no part", code="effects_unsupported")
        return moving[0] if len(moving) == 1 or named is None else named


def composite_lane(*parts: Part[Any], sole: str | None = None) -> CompositeLane:
    """Make one kind of lane of `parts`.

    Its version is one more than the sum of theirs, so that it grows with every part that is added and with every
    version of one; what a snapshot holds of a part is brought up by that part's own upcasters.

    Args:
        parts: In any order. One that was released is never left out again: its events are on lanes.
        sole: The part that had such lanes to itself before they were composed: states of version 1 are its own,
            of its version 1.

    Raises:
        TypeError: Two parts have the same name, or a type of command or event in common; or none is called `sole`.
    """
    by_name = {one.name: one for one in parts}
    commands = {type_: one.name for one in parts for type_ in one.commands}
    events = {type_.struct: one.name for one in parts for type_ in one.definition.events}
    all_events = tuple(type_ for one in parts for type_ in one.definition.events)
    if (
        len(by_name) != len(parts)
        or len(commands) != sum(len(one.commands) for one in parts)
        or len(events) != len(all_events)
        or (sole is not None and sole not in by_name)
    ):
        raise TypeError("parts have names, commands and events of their own, and the sole one is among them")
    version = 1 + sum(one.definition.version for one in parts)
    upcasters: dict[int, StateUpcaster] = dict.fromkeys(range(2, version), _as_it_is)
    if sole is not None:
        upcasters[1] = _Composed(sole)
    return CompositeLane(
        logic=CompositeLogic({name: one.definition.logic for name, one in by_name.items()}, commands, events),
        state=CompositeState,
        events=all_events,
        version=version,
        upcasters=upcasters,
        parts=by_name,
    )


@dataclass(frozen=True)
class _Composed:
    """Carries the state of a lane with one logic into one with parts."""

    part: str

    def __call__(self, document: Any) -> Any:
        return {self.part: {"state": document, "version": 1}}


def _as_it_is(document: Any) -> Any:
    return document


def _read(definition: LaneDefinition[Any, Any, Any, Any], form: _PartForm) -> Any:
    data = bytes(form.state)
    if form.version == definition.version:
        return definition.decode(data)
    try:
        steps = [definition.upcasters[version] for version in range(form.version, definition.version)]
    except LookupError:
        steps = []
    if not steps:
        raise ValueError(f"no way leads from version {form.version} to {definition.version}")
    document = msgspec.json.decode(data)
    for step in steps:
        document = step(document)
    return definition.decode(_core.canonicalize(msgspec.json.encode(document)))

"""The types of events that a journal takes, each registered once (JRN-9).

Every room declares its own types beside the structs they are made of and hands them to the registry of the node. What
is read is decoded through the same registry: older versions pass their upcasters on the way, newer ones halt the lane.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from web4 import _core
from web4.foundation.codec import ENCODER
from web4.journal.errors import CorruptJournalError, InvalidEventError
from web4.journal.record import Work

if TYPE_CHECKING:
    from web4.journal.record import Phase, Record, Refs

DataClass = Literal["structural", "retainable", "hashed", "prohibited"]
"""What may be done with a field (JRN-18). `structural`: retainable, and no hook may touch it (JRN-19a)."""
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

_NAME: Final = re.compile(r"[a-z0-9_.]{1,64}", re.ASCII)
OWN_PREFIX: Final = "journal."
_CLASSES: Final = frozenset({"structural", "retainable", "hashed", "prohibited"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One type of event.

    Args:
        name: `[a-z0-9_.]{1,64}`.
        struct: What its payload decodes to: a frozen msgspec struct that writes one spelling only.
        classes: The data class of every field, by its name in the payload (JRN-18).
        v: Version of the schema.
        phase: How it moves a command or an effect; None for a mere fact.
        subject: The field that holds the id of the command or effect it moves.
        command: Of a request, the field that names the command it belongs to, if it belongs to one.
        idempotent: Of a request, the boolean field that says whether it may be performed again.
        own: Whether it is the journal's own: names that begin with `journal.` are for these alone.
        refs: Further fields that history finds it by: kind of reference to name of the field.
        upcasters: Version n to a pure, total function from payloads of version n to those of n + 1 (JRN-9b).

    Raises:
        TypeError: The declaration is incomplete or contradicts itself.
    """

    name: str
    struct: type[msgspec.Struct]
    classes: Mapping[str, DataClass]
    v: int = 1
    phase: Phase | None = None
    subject: str | None = None
    command: str | None = None
    idempotent: str | None = None
    own: bool = False
    refs: Mapping[str, str] = field(default_factory=dict)
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict)
    plain: bool = field(init=False, repr=False, compare=False)
    """Whether its events are found by nothing and move nothing, as far as their type goes."""
    _attributes: Mapping[str, str] = field(init=False, repr=False, compare=False)
    _found_by: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or not 1 <= self.v <= 0xFFFF:
            raise TypeError(f"{self.name!r} v{self.v} is no name and version of an event type")
        if self.name.startswith(OWN_PREFIX) is not self.own:
            raise TypeError(f"{self.name}: names that begin with {OWN_PREFIX} are the journal's own")
        fields = set(self.struct.__struct_encode_fields__)
        if set(self.classes) != fields:
            odd = ", ".join(sorted(set(self.classes) ^ fields))
            raise TypeError(f"{self.name}: every field has one data class; look at {odd}")
        if not set(self.classes.values()) <= _CLASSES:
            raise TypeError(f"{self.name}: data classes are {', '.join(sorted(_CLASSES))}")
        for one in msgspec.structs.fields(self.struct):
            if self.classes[one.encode_name] == "hashed" and not _holds_hash(one.type):
                raise TypeError(f"{self.name}: {one.encode_name!r} is hashed; declare it as `... | Hashed`")
        if (self.phase is None) != (self.subject is None):
            raise TypeError(f"{self.name}: a phase needs a subject, and only a phase has one")
        for name in (self.subject, self.command, self.idempotent, *self.refs.values()):
            if name is not None and self.classes.get(name) not in {"structural", "retainable"}:
                raise TypeError(f"{self.name}: {name!r} must be a field that is stored as it is")
        if set(self.upcasters) != set(range(1, self.v)):
            raise TypeError(f"{self.name}: v{self.v} needs an upcaster from each version before it")
        self._arrange()

    def _arrange(self) -> None:
        """Work out once what every event would ask for again: attributes by the names of fields, references."""
        attributes = dict(
            zip(self.struct.__struct_encode_fields__, self.struct.__struct_fields__, strict=True)
        )
        fields = dict(self.refs)
        if self.subject is not None:
            kind = "effect" if self.phase in {"request", "conclusion"} else "command"
            fields.setdefault(kind, self.subject)
        if self.command is not None:
            fields.setdefault("command", self.command)
        set_once = object.__setattr__  # it is frozen
        set_once(self, "plain", not fields and self.phase is None)
        set_once(self, "_attributes", attributes)
        set_once(self, "_found_by", tuple((kind, attributes[name]) for kind, name in fields.items()))

    def work(self, event: msgspec.Struct) -> Work | None:
        """How this event moves unfinished work."""
        if self.phase is None or self.subject is None:
            return None
        attributes = self._attributes
        return Work(
            self.phase,
            getattr(event, attributes[self.subject]),
            None if self.command is None else getattr(event, attributes[self.command]),
            self.idempotent is not None and bool(getattr(event, attributes[self.idempotent])),
        )

    def references(self, event: msgspec.Struct) -> Refs:
        """What history finds this event by, sorted."""
        found = [(kind, getattr(event, attribute)) for kind, attribute in self._found_by]
        return tuple(
            sorted((kind, str(value)) for kind, value in found if value not in (None, msgspec.UNSET))
        )


def _holds_hash(declared: Any) -> bool:
    """Whether a field can be what is stored of a hashed-only value (JRN-18b)."""
    try:
        msgspec.convert({"$hash": "0" * 64, "len": 0}, type=declared)
    except msgspec.ValidationError:
        return False
    return True


class EventRegistry:
    """The event types of a node, by struct and by name."""

    def __init__(self, types: Iterable[EventType] = ()) -> None:
        self._by_struct: dict[type[msgspec.Struct], EventType] = {}
        self._by_name: dict[str, EventType] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}
        for one in types:
            self.register(one)

    def __iter__(self) -> Any:
        return iter(self._by_name.values())

    def register(self, one: EventType) -> None:
        """Add a type. Declaring the same one again is nothing.

        Raises:
            TypeError: Its name or struct is registered otherwise.
        """
        if self._by_name.get(one.name) is one:
            return
        if one.name in self._by_name or one.struct in self._by_struct:
            raise TypeError(f"{one.name} or {one.struct.__name__} is registered already")
        self._by_name[one.name] = one
        self._by_struct[one.struct] = one
        self._decoders[one.name] = msgspec.json.Decoder(one.struct)

    def named(self, name: str) -> EventType | None:
        """The type of this name, if it is registered."""
        return self._by_name.get(name)

    def type_of(self, event: msgspec.Struct) -> EventType:
        """The type that this struct is registered for.

        Raises:
            InvalidEventError: `unregistered`.
        """
        found = self._by_struct.get(type(event))
        if found is None:
            raise InvalidEventError(f"{type(event).__name__} is no registered event", code="unregistered")
        return found

    def encode(self, event: msgspec.Struct) -> bytes:
        """The canonical bytes of an event's payload.

        Raises:
            InvalidEventError: `not_canonical`.
        """
        try:
            return _core.canonicalize(ENCODER.encode(event))
        except (_core.CoreError, ValueError, TypeError, RecursionError, OverflowError) as error:
            name = type(event).__name__
            raise InvalidEventError(f"{name} has no canonical form: {error}", code="not_canonical") from None

    def reread(self, one: EventType, payload: bytes) -> Any:
        """The event that everybody will read from `payload` once it is stored (JRN-19b).

        Structs are not checked when they are made, and what is no number is written as `null`: an event that could not
        be read again would halt its lane at the next start.

        Raises:
            InvalidEventError: `unreadable`.
        """
        try:
            return self._decoders[one.name].decode(payload)
        except (msgspec.MsgspecError, ValueError) as error:
            place = str(error).partition(" - at `$.")[2].rstrip("`")  # what is before it may quote a value
            raise InvalidEventError(
                f"{one.name} does not fit its type", code="unreadable", field=place or None
            ) from None

    def decode(self, record: Record) -> Any:
        """The event that a record holds, brought up to the registered version (JRN-9b).

        Raises:
            CorruptJournalError: `future_event` or `undecodable`, with lane and number.
        """
        payload = record.payload
        if payload is None:
            raise CorruptJournalError(
                f"{record.lane} {record.seq}: the payload was erased",
                code="undecodable",
                lane=record.lane,
                seq=record.seq,
            )
        return self.read(record.type, record.v, payload, where=record)

    def read(self, name: str, v: int, payload: bytes, *, where: Record) -> Any:
        """Decode a payload of a type and version; `where` is named in errors.

        Raises:
            CorruptJournalError: `future_event` or `undecodable`.
        """
        one = self._by_name.get(name)
        if one is None or v > one.v:
            known = "is not known" if one is None else f"is known up to version {one.v}"
            raise CorruptJournalError(
                f"{where.lane} {where.seq}: event {name} v{v} {known} here",
                code="future_event",
                lane=where.lane,
                seq=where.seq,
            )
        try:
            if v == one.v:
                return self._decoders[name].decode(payload)
            document = msgspec.json.decode(payload)
            for version in range(v, one.v):
                document = one.upcasters[version](document)
            return msgspec.convert(document, one.struct)
        except Exception as error:  # an upcaster may raise anything
            raise CorruptJournalError(
                f"{where.lane} {where.seq}: {name} v{v} cannot be read ({type(error).__name__})",
                code="undecodable",
                lane=where.lane,
                seq=where.seq,
            ) from None

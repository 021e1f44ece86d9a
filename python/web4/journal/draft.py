"""Events on their way into a journal: as they are handed over, and as they will be persisted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from web4.journal.errors import InvalidEventError
from web4.journal.lane import Lane
from web4.journal.record import Cause, Refs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.event_types import EventRegistry, EventType
    from web4.journal.record import Work
    from web4.journal.redaction import Redactor

MAX_REFS: Final = 8
MAX_TEXT: Final = 256
_FARTHEST: Final = 2**53


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event to append.

    What can be written as JSON has no cycles: the garbage collector need not know of it.

    Args:
        payload: A struct that is registered as an event type.
        at: Unix milliseconds, brought in by the command. Raised to the time of the record before, if that is later.
        cause: The record that led to it.
        principal: On whose behalf.
        refs: What history finds it by, beside what its type declares.
    """

    payload: msgspec.Struct
    at: int
    cause: Cause | None = None
    principal: str | None = None
    refs: Refs = ()


class Prepared(NamedTuple):
    """An event that was checked and redacted, and will be persisted as it stands.

    Args:
        event: The event **as persisted** (JRN-19b): what `apply` has to be given.
        name: Its type.
        v: Its version.
        payload: Its canonical bytes.
        at: See `NewEvent`.
        cause: Text of the lane and number of the record that led to it.
        principal: See `NewEvent`.
        refs: All of them, sorted.
        work: How it moves unfinished work.
    """

    event: msgspec.Struct
    name: str
    v: int
    payload: bytes
    at: int
    cause: tuple[str, int] | None
    principal: str | None
    refs: Refs
    work: Work | None


# The constructors of named tuples are written in Python: at a hundred thousand events a second they are felt.
_MAKE_PREPARED: Final = partial(tuple.__new__, Prepared)


class Append(NamedTuple):
    """One lane's part of an atomic batch (JRN-4c): `expected_seq` is the head it was decided on."""

    lane: Lane
    events: Sequence[NewEvent | Prepared]
    expected_seq: int


def prepare(
    event: NewEvent, *, registry: EventRegistry, redactor: Redactor | None, payload_bytes: int
) -> Prepared:
    """Check and redact an event (JRN-4e, JRN-18, JRN-19).

    Raises:
        InvalidEventError: It does not fit.
        ProhibitedDataError: It holds what is stored nowhere.
        RedactionError: A hook failed.
    """
    given, at, cause, principal, more = event.payload, event.at, event.cause, event.principal, event.refs
    one = registry.type_of(given)
    persisted, payload = given, registry.encode(given)
    if redactor is not None:
        persisted, payload = redactor.persist(one, persisted, payload)
    if persisted is given:
        persisted = registry.reread(one, payload)
    if len(payload) > payload_bytes:
        raise InvalidEventError(
            f"{one.name}: a payload of {len(payload)} bytes, {payload_bytes} are allowed; put it into a blob",
            code="payload_too_large",
        )
    if type(at) is not int or not -_FARTHEST < at < _FARTHEST:
        raise InvalidEventError("not a time in milliseconds", field="at")
    named = None if cause is None else _named(cause)
    if principal is not None:
        _check_text(principal, "principal")
    refs, work = more, None
    if more or not one.plain:
        refs, work = _references(one, persisted, more), one.work(persisted)
    if redactor is not None and (refs or principal is not None or named is not None):
        redactor.check_header(principal, refs)
        if named is not None:
            redactor.check_name(named[0], "cause")
    return _MAKE_PREPARED((persisted, one.name, one.v, payload, at, named, principal, refs, work))


def _named(cause: Cause) -> tuple[str, int]:
    if type(cause) is tuple and len(cause) == 2:
        lane, seq = cause
        if type(lane) is Lane and type(seq) is int and 0 < seq < _FARTHEST:
            return str(lane), seq
    raise InvalidEventError("not a lane and a number", field="cause")


def _references(one: EventType, persisted: msgspec.Struct, more: Refs) -> Refs:
    declared = one.references(persisted)
    if not more and not declared:
        return ()
    for ref in (*declared, *more):
        if type(ref) is not tuple or len(ref) != 2:
            raise InvalidEventError("not pairs of kind and value", field="refs")
        _check_text(ref[0], "refs")
        _check_text(ref[1], "refs")
    refs = tuple(sorted({*declared, *more})) if more else declared
    if len(refs) > MAX_REFS:
        raise InvalidEventError(f"{len(refs)} references, {MAX_REFS} are allowed", field="refs")
    return refs


def _check_text(text: str, field: str) -> None:
    if type(text) is not str or not 0 < len(text) <= MAX_TEXT:
        raise InvalidEventError(f"1 to {MAX_TEXT} characters are allowed", field=field)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidEventError("not Unicode text", field=field) from None

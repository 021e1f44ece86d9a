"""Which extensions are enabled, as pure functions over lane `server` (ACT-1, EXT-7, EXT-8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from web4.extensions.enabling.asking import Asks, guarded_since
from web4.extensions.enabling.enabling_events import (
    MAX_NAMED,
    MAX_PATH,
    ExtensionChanged,
    ExtensionDisabled,
    ExtensionEnabled,
    ExtensionEvent,
    ExtensionQuarantined,
    ExtensionReloaded,
    ExtensionRestored,
)
from web4.extensions.errors import EnablingError
from web4.extensions.quarantine import BreakerState
from web4.foundation.logic import Decision

MAX_ENABLED: Final = 256
MAX_RECORDS: Final = 1_024
"""Extensions that are remembered, disabled ones among them (`=`); the ones disabled longest ago give way."""


class ExtensionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the lane knows of one extension.

    Args:
        name: Its name.
        enabled: Whether it may be started.
        version: That was enabled.
        digest: That was enabled.
        directory: Where it is.
        files: Blob of the digest of every file.
        asks: What was shown when it was enabled.
        names: Of its tools and commands, as they are by the last reload.
        by: Who enabled it.
        at_ms: When it was last enabled or disabled.
        development: Whether its files may change.
        changed: The digest that was last found instead; `unreadable` for none; None if nothing was.
        quarantine: The breaker's state while it is quarantined (EXT-38).
    """

    name: str
    enabled: bool
    version: str
    digest: str
    directory: str
    files: str
    asks: Asks
    names: tuple[str, ...]
    by: str
    at_ms: int
    development: bool = False
    changed: str | None = None
    quarantine: BreakerState | None = None


class ExtensionsState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All extensions that were ever enabled, as far as they are remembered, by name."""

    records: dict[str, ExtensionRecord] = msgspec.field(default_factory=dict)

    def enabled(self) -> list[ExtensionRecord]:
        """Those that may be started, by name."""
        return [one for _, one in sorted(self.records.items()) if one.enabled]


_UNREADABLE: Final = "unreadable"
"""Stands for the digest of what could not be read."""


# --- commands -----------------------------------------------------------------------------------------------


class _Command(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    at: int


class Enable(_Command, frozen=True, kw_only=True):
    """A human enables what was shown. `reserved` are the names of built-in tools (EXT-8). See `ExtensionEnabled`."""

    version: str
    digest: str
    directory: str
    files: str
    file_count: int
    asks: Asks
    by: str
    how: str
    development: bool = False
    reserved: tuple[str, ...] = ()


class Disable(_Command, frozen=True, kw_only=True):
    """A human disables it."""

    by: str
    reason: str | None = None


class NoteChanged(_Command, frozen=True, kw_only=True):
    """The node found something else than was enabled. `digest` None: it could not be read."""

    digest: str | None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    reason: str | None = None


class NoteReloaded(_Command, frozen=True, kw_only=True):
    """A new generation is ready and is to take over; refused, the old one stays. `development` by configuration."""

    version: str
    digest: str
    generation: int
    asks: Asks
    development: bool = False
    reserved: tuple[str, ...] = ()


class NoteBreaker(_Command, frozen=True, kw_only=True):
    """The breaker's state changed: None when it closed. `by` is the human who reset it."""

    state: BreakerState | None
    by: str | None = None


ExtensionCommand = Enable | Disable | NoteChanged | NoteReloaded | NoteBreaker


@dataclass(frozen=True, slots=True)
class EnablingReply:
    """The answer to a command.

    Args:
        refused: Code of `EnablingError` when it was not heard.
        reason: Why, as a sentence.
    """

    refused: str | None = None
    reason: str = ""

    def raise_refusal(self) -> None:
        """Raise what was refused.

        Raises:
            EnablingError: It was.
        """
        if self.refused is not None:
            raise EnablingError(self.reason, code=self.refused)


ExtensionDecision = Decision[ExtensionEvent, EnablingReply]
_DONE: Final = EnablingReply()


def _refuse(code: str, reason: str) -> ExtensionDecision:
    return Decision((), EnablingReply(code, reason))


def clash(state: ExtensionsState, name: str, asks: Asks, reserved: tuple[str, ...]) -> str | None:
    """Which name of `name` something else has already (EXT-8), as a sentence; None if all are free."""
    builtin = sorted(asks.names.intersection(reserved))
    if builtin:
        return f"{builtin[0]!r} is a built-in tool"
    for other in state.enabled():
        both = sorted(asks.names.intersection(other.names)) if other.name != name else []
        if both:
            return f"{both[0]!r} of {name} is there already, in {other.name}"
    return None


@dataclass(frozen=True)
class ExtensionsLogic:
    """Logic of the extensions' part of lane `server`."""

    initial: ExtensionsState = field(default_factory=ExtensionsState)

    def decide(self, state: ExtensionsState, command: ExtensionCommand) -> ExtensionDecision:
        """Say what follows: one event at most."""
        match command:
            case Enable():
                return self._enable(state, command)
            case Disable():
                return self._disable(state, command)
        record = state.records.get(command.name)
        if record is None or not record.enabled:
            return _refuse("not_enabled", f"{command.name} is not enabled")
        match command:
            case NoteChanged():
                return self._changed(record, command)
            case NoteReloaded():
                return self._reloaded(state, record, command)
            case NoteBreaker():
                return self._breaker(record, command)

    def apply(self, state: ExtensionsState, event: ExtensionEvent) -> ExtensionsState:
        """Give the state after `event`."""
        record = state.records.get(event.name)
        if isinstance(event, ExtensionEnabled):
            return _with(state, _enabled(record, event))
        if record is None:  # forgotten since: nothing depends on it
            return state
        return _with(state, _after(record, event))

    def _enable(self, state: ExtensionsState, command: Enable) -> ExtensionDecision:
        record = state.records.get(command.name)
        clashes = clash(state, command.name, command.asks, command.reserved)
        if clashes is not None:
            return _refuse("name_clash", clashes)
        others = [one for one in state.enabled() if one.name != command.name]
        if len(others) >= MAX_ENABLED:
            return _refuse("too_many", f"{MAX_ENABLED} extensions are enabled; disable one")
        event = ExtensionEnabled(
            name=command.name,
            at_ms=command.at,
            version=command.version,
            digest=command.digest,
            directory=command.directory,
            files=command.files,
            file_count=command.file_count,
            asks=command.asks,
            by=command.by,
            how=command.how,
            development=command.development,
        )
        if record is not None and _enabled(record, event) == msgspec.structs.replace(
            record, at_ms=command.at, by=command.by
        ):
            return Decision((), _DONE)  # it is just that already
        return Decision((event,), _DONE)

    def _disable(self, state: ExtensionsState, command: Disable) -> ExtensionDecision:
        record = state.records.get(command.name)
        if record is None or not record.enabled:
            return _refuse("not_enabled", f"{command.name} is not enabled")
        event = ExtensionDisabled(name=command.name, at_ms=command.at, by=command.by, reason=command.reason)
        return Decision((event,), _DONE)

    def _changed(self, record: ExtensionRecord, command: NoteChanged) -> ExtensionDecision:
        if record.changed == (command.digest or _UNREADABLE):
            return Decision((), _DONE)  # told once
        event = ExtensionChanged(
            name=command.name,
            at_ms=command.at,
            digest=command.digest,
            added=_first(command.added),
            removed=_first(command.removed),
            changed=_first(command.changed),
            added_count=len(command.added),
            removed_count=len(command.removed),
            changed_count=len(command.changed),
            reason=command.reason and command.reason[:500],
        )
        return Decision((event,), _DONE)

    def _reloaded(
        self, state: ExtensionsState, record: ExtensionRecord, command: NoteReloaded
    ) -> ExtensionDecision:
        same = command.digest == record.digest
        if not same and not (record.development or command.development):
            return _refuse("changed", f"{command.name} is not what was enabled")
        guarded = guarded_since(record.asks, command.asks)
        if guarded:
            what = "; ".join(map(str, guarded))[:500]
            return _refuse("changed", f"{command.name} asks for something else than was shown: {what}")
        clashes = clash(state, command.name, command.asks, command.reserved)
        if clashes is not None:
            return _refuse("name_clash", clashes)
        event = ExtensionReloaded(
            name=command.name,
            at_ms=command.at,
            version=command.version,
            digest=command.digest,
            generation=command.generation,
            asks=None if command.asks == record.asks else command.asks,
        )
        return Decision((event,), _DONE)

    def _breaker(self, record: ExtensionRecord, command: NoteBreaker) -> ExtensionDecision:
        if command.state == record.quarantine:
            return Decision((), _DONE)
        if command.state is None:
            return Decision((ExtensionRestored(name=command.name, at_ms=command.at, by=command.by),), _DONE)
        event = ExtensionQuarantined(name=command.name, at_ms=command.at, state=command.state)
        return Decision((event,), _DONE)


def _first(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path[:MAX_PATH] for path in paths[:MAX_NAMED])


def _enabled(record: ExtensionRecord | None, event: ExtensionEnabled) -> ExtensionRecord:
    # A human looked at other files than those that failed: they get a fresh start. The same ones do not.
    same = record is not None and record.digest == event.digest
    return ExtensionRecord(
        name=event.name,
        enabled=True,
        version=event.version,
        digest=event.digest,
        directory=event.directory,
        files=event.files,
        asks=event.asks,
        names=tuple(sorted(event.asks.names)),
        by=event.by,
        at_ms=event.at_ms,
        development=event.development,
        quarantine=record.quarantine if record is not None and same else None,
    )


def _after(record: ExtensionRecord, event: ExtensionEvent) -> ExtensionRecord:
    replace = msgspec.structs.replace
    match event:
        case ExtensionDisabled():
            return replace(record, enabled=False, at_ms=event.at_ms)
        case ExtensionChanged():
            return replace(record, changed=event.digest or _UNREADABLE)
        case ExtensionReloaded():
            names = tuple(sorted((event.asks or record.asks).names))
            return replace(record, names=names, changed=None)
        case ExtensionQuarantined():
            return replace(record, quarantine=event.state)
        case ExtensionRestored():
            return replace(record, quarantine=None)
    return record


def _with(state: ExtensionsState, record: ExtensionRecord) -> ExtensionsState:
    records = {**state.records, record.name: record}
    if len(records) > MAX_RECORDS:
        oldest = min((one.at_ms, one.name) for one in records.values() if not one.enabled)
        del records[oldest[1]]
    return ExtensionsState(records=records)

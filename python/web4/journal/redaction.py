"""What becomes of an event on its way to the store, and of a record on its way out (JRN-18, JRN-19).

Classes first, then hooks in the order of their registration, and the search for secrets last, so that what a hook
brings in is looked through too. What cannot be redacted is refused: nothing passes as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from web4.foundation.codec import ENCODER
from web4.foundation.digest import canonical
from web4.journal.errors import ProhibitedDataError, RedactionError
from web4.journal.hashed import Hashed
from web4.journal.secret_search import SecretSearch

if TYPE_CHECKING:
    from web4.journal.event_types import EventType
    from web4.journal.record import Record, Refs

PersistHook = Callable[["EventType", Any], Any]
"""Gets an event's type and the event, a copy of the hook's own; gives the event to persist. Pure (JRN-19a)."""
ExportHook = Callable[["Record", dict[str, Any]], dict[str, Any] | None]
"""Gets a record and its payload, a copy of the hook's own; gives the payload to hand out, None to withhold it."""

_ABSENT: Final[tuple[Any, ...]] = (None, msgspec.UNSET, "", b"", (), [], {}, frozenset())
_TERMINAL: Final = frozenset({"success", "code", "command", "name"})
"""Of an event that ends a command: what no hook may touch, however it is declared (JRN-19a)."""


class Redaction(NamedTuple):
    """One thing that was taken out of a record on its way out: the field of the payload, and by which rule."""

    field: str
    rule: str


class Exported(NamedTuple):
    """A payload as it may be handed out: None when it was erased or is withheld."""

    payload: bytes | None
    redactions: tuple[Redaction, ...]


class _Rules:
    """What the data classes of one event type come to."""

    def __init__(self, one: EventType) -> None:
        self.type = one
        self.attributes = dict(
            zip(one.struct.__struct_encode_fields__, one.struct.__struct_fields__, strict=True)
        )
        self.hashed = tuple(name for name, kind in one.classes.items() if kind == "hashed")
        self.prohibited = tuple(name for name, kind in one.classes.items() if kind == "prohibited")
        named = {one.subject, one.command, one.idempotent, *one.refs.values()}
        if one.phase == "end":
            named |= _TERMINAL
        self.protected = tuple(
            name for name, kind in one.classes.items() if kind != "retainable" or name in named
        )
        self.plain = not self.hashed and not self.prohibited
        self.decoder = msgspec.json.Decoder(one.struct)


class Redactor:
    """The redaction of one journal. Knows the secrets of its node; never says one.

    Args:
        hash_key: The journal's, 32 bytes (JRN-18d).
        secrets: Values that are never stored nor handed out, by name.
        before_persist: Hooks on events, in their order.
        before_export: Hooks on records, in their order.

    Raises:
        ValueError: The key has not 32 bytes, or see `learn`.
    """

    def __init__(
        self,
        hash_key: bytes,
        secrets: Mapping[str, str | bytes] | None = None,
        before_persist: Sequence[PersistHook] = (),
        before_export: Sequence[ExportHook] = (),
    ) -> None:
        if len(hash_key) != 32:
            raise ValueError("a hash key has 32 bytes")
        self._hash_key = hash_key
        self._search = SecretSearch()
        self._before_persist = tuple(before_persist)
        self._before_export = tuple(before_export)
        self._rules: dict[str, _Rules] = {}
        for name, value in (secrets or {}).items():
            self.learn(name, value)

    def __repr__(self) -> str:
        return f"Redactor({len(self._search)} secrets)"

    @property
    def exports_by_hook(self) -> bool:
        """Whether hooks look at what is handed out: then nothing leaves that they cannot be shown."""
        return bool(self._before_export)

    @property
    def replaced(self) -> Mapping[str, int]:
        """How often each secret was found and replaced, by its name."""
        return self._search.replaced

    def learn(self, name: str, value: str | bytes) -> None:
        """Know one secret more. What was stored before is not looked through again.

        Raises:
            ValueError: The name is not 1 to 64 characters of `[a-z0-9_.-]`, or the value has fewer than 6 bytes:
                so short a value would be found everywhere.
        """
        self._search.learn(name, value)

    def forget(self, name: str) -> None:
        """Know a secret no more."""
        self._search.forget(name)

    def hashed(self, value: Any) -> Hashed:
        """What is stored of a hashed-only value: how a command brings it in, and how it is found again (JRN-18b)."""
        return Hashed.of(self._hash_key, value)

    # --- on the way in ----------------------------------------------------------------------------------

    def persist(self, one: EventType, event: msgspec.Struct, payload: bytes) -> tuple[msgspec.Struct, bytes]:
        """Give an event as it is persisted, and its canonical bytes (JRN-19b). Where nothing changes, what came in.

        Raises:
            ProhibitedDataError: A prohibited field has a value, or a known secret stands where nothing can be replaced.
            RedactionError: `hook_raised`, `hook_contract`, `redaction_unfit`.
        """
        rules = self._rules_of(one)
        if not rules.plain:
            event, payload = self._apply_classes(rules, event, payload)
        for hook in self._before_persist:
            event, payload = _apply_hook(rules, hook, payload)
        if self._search:
            scrubbed = self._search.scrub_payload(payload)
            if scrubbed is not payload:
                if touched := _touched(rules, payload, scrubbed):
                    raise ProhibitedDataError(f"{one.name} would name a secret", field=touched[0])
                event, payload = _decoded(rules, scrubbed), scrubbed
        return event, payload

    def check_header(self, principal: str | None, refs: Refs) -> None:
        """Refuse a header that would hold a known secret: it is hashed as it is, nothing can be replaced in it.

        Raises:
            ProhibitedDataError: Names the member.
        """
        if self._search and (principal or refs):
            if principal and self._search.found(principal.encode()):
                raise ProhibitedDataError("a header would hold a secret", field="principal")
            if refs and self._search.found(canonical(refs)):
                raise ProhibitedDataError("a header would hold a secret", field="refs")

    def check_name(self, lane: object, field: str) -> None:
        """Refuse the name of a lane in which a known secret stands: it is in every header of the lane.

        Raises:
            ProhibitedDataError: Names `field`.
        """
        if self._search and self._search.found(str(lane).encode()):
            raise ProhibitedDataError("a header would hold a secret", field=field)

    def scrub_bytes(self, data: bytes) -> bytes:
        """Replace every known secret in a blob (JRN-18f); the same object if there is none.

        Takes about 2 ms for each MiB and secret: long ones belong on a thread.
        """
        return self._search.scrub(data) if self._search else data

    def found(self, data: bytes) -> list[str]:
        """The names of the known secrets that stand in `data`, sorted.

        A snapshot in which there is one is not stored: replacing it there would make the state that is read back
        another than the one that events give.
        """
        return self._search.found(data) if self._search else []

    def _rules_of(self, one: EventType) -> _Rules:
        rules = self._rules.get(one.name)
        if rules is None or rules.type is not one:
            rules = self._rules[one.name] = _Rules(one)
        return rules

    def _apply_classes(
        self, rules: _Rules, event: msgspec.Struct, payload: bytes
    ) -> tuple[msgspec.Struct, bytes]:
        for name in rules.prohibited:
            if getattr(event, rules.attributes[name]) not in _ABSENT:
                raise ProhibitedDataError(f"{rules.type.name} holds what is stored nowhere", field=name)
        hashes = {}
        for name in rules.hashed:
            value = getattr(event, rules.attributes[name])
            if value is not None and value is not msgspec.UNSET and not isinstance(value, Hashed):
                hashes[name] = msgspec.to_builtins(self.hashed(value))
        if not hashes:
            return event, payload
        payload = canonical(msgspec.json.decode(payload) | hashes)
        return _decoded(rules, payload), payload

    # --- on the way out ---------------------------------------------------------------------------------

    def export(self, record: Record, one: EventType | None) -> Exported:
        """Give a record's payload as it may be handed out (JRN-21a).

        Args:
            record: As it is stored.
            one: Its type; None if none is registered, and then the payload is withheld: nobody knows its classes.

        Raises:
            RedactionError: `hook_raised`, `hook_contract`: nothing is exported.
            ProhibitedDataError: A secret that became known since stands in the record's header.
        """
        if self.found(record.header):
            raise ProhibitedDataError(f"the header of {record.lane} {record.seq} holds a secret")
        if record.payload is None:
            return Exported(None, ())
        if one is None:
            return Exported(None, (Redaction("payload", "unregistered"),))
        rules = self._rules_of(one)
        document = msgspec.json.decode(record.payload)
        redactions = self._export_classes(one, document)
        for hook in self._before_export:
            given = _export_hook(rules, hook, record, document)
            rule = f"hook:{_name_of(hook)}"
            if given is None:
                return Exported(None, (*redactions, Redaction("payload", rule)))
            redactions += [Redaction(name, rule) for name in _differences(document, given)]
            document = given
        payload = canonical(document)
        if self._search:
            scrubbed = self._search.scrub_payload(payload)
            if scrubbed is not payload:
                after = msgspec.json.decode(scrubbed)
                redactions += [Redaction(name, "secret") for name in _differences(document, after)]
                payload = scrubbed
        return Exported(record.payload if payload == record.payload else payload, tuple(redactions))

    def _export_classes(self, one: EventType, document: dict[str, Any]) -> list[Redaction]:
        """Hold an old or foreign payload to the classes of today: fields that none names are not handed out."""
        redactions = []
        for name, value in document.items():
            kind = one.classes.get(name)
            if kind == "hashed" and value is not None and not _is_hashed(value):
                document[name] = msgspec.to_builtins(self.hashed(value))
            elif kind == "prohibited" and value not in _ABSENT:
                document[name] = "[redacted:prohibited]"
            elif kind is None and name != one.struct.__struct_config__.tag_field:
                document[name] = "[redacted:unclassified]"
            else:
                continue
            redactions.append(Redaction(name, f"class:{kind or 'none'}"))
        return redactions


def _apply_hook(rules: _Rules, hook: PersistHook, payload: bytes) -> tuple[msgspec.Struct, bytes]:
    where = f"{_name_of(hook)} on {rules.type.name}"
    given = _decoded(rules, payload)
    try:
        result = hook(rules.type, given)
    except Exception as error:
        # The cause may quote what the event says: the name of its class is all that is told.
        raise RedactionError(f"{where} raised {type(error).__name__}", code="hook_raised") from None
    if type(result) is not rules.type.struct:
        raise RedactionError(f"{where} gave no such event", code="hook_contract")
    try:
        after = canonical(result)
        event = rules.decoder.decode(after)
    except (ValueError, TypeError):
        raise RedactionError(f"{where} gave an event that is none", code="hook_contract") from None
    if touched := _touched(rules, payload, after):
        raise RedactionError(f"{where} changed what it may not", code="hook_contract", field=touched[0])
    return event, after


def _export_hook(
    rules: _Rules, hook: ExportHook, record: Record, document: dict[str, Any]
) -> dict[str, Any] | None:
    where = f"{_name_of(hook)} on {record.lane} {record.seq}"
    try:
        result = hook(record, msgspec.json.decode(ENCODER.encode(document)))
    except Exception as error:
        raise RedactionError(f"{where} raised {type(error).__name__}", code="hook_raised") from None
    if result is None:
        return None
    try:
        after = msgspec.json.decode(canonical(result), type=dict[str, Any])
    except (ValueError, TypeError):
        raise RedactionError(f"{where} gave no payload", code="hook_contract") from None
    if after.keys() != document.keys():
        raise RedactionError(f"{where} changed the shape", code="hook_contract")
    for name in _differences(document, after):
        if name in rules.protected:
            raise RedactionError(f"{where} changed what it may not", code="hook_contract", field=name)
    return after


def _decoded(rules: _Rules, payload: bytes) -> msgspec.Struct:
    try:
        event: msgspec.Struct = rules.decoder.decode(payload)
    except msgspec.ValidationError:
        # The text of the error would quote the payload's shape at best; the type is what has to be mended.
        message = f"{rules.type.name} cannot hold what redaction leaves of it"
        raise RedactionError(message, code="redaction_unfit") from None
    return event


def _touched(rules: _Rules, before: bytes, after: bytes) -> list[str]:
    """The protected fields in which two payloads of a type differ."""
    if before == after:
        return []
    differences = _differences(msgspec.json.decode(before), msgspec.json.decode(after))
    return [name for name in differences if name in rules.protected]


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The members in which two documents differ, as JSON tells values apart: `true` is not 1."""
    names = sorted(before.keys() | after.keys())
    return [name for name in names if _spelled(before, name) != _spelled(after, name)]


def _spelled(document: dict[str, Any], name: str) -> bytes | None:
    return canonical(document[name]) if name in document else None


def _is_hashed(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"$hash", "len"}


def _name_of(hook: Callable[..., Any]) -> str:
    return str(getattr(hook, "__name__", type(hook).__name__))

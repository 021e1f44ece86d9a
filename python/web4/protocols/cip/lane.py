"""Lane `peer:<fingerprint>` in a journal: the types of its events, and the one spelling of its state (JRN-7, JRN-9)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec
from immutables import Map

from web4.foundation.digest import canonical
from web4.journal.event_types import EventType
from web4.protocols.cip.handshake import HandshakeState, HandshakeStep
from web4.protocols.cip.outbox.entries import (
    Conclusion,
    Conclusions,
    EnvelopeConcluded,
    EnvelopeQueued,
    EnvelopesQueued,
    MessageSettled,
    MessagesTaken,
    MessageTaken,
    OutboxState,
    Queued,
    Taken,
    TakenState,
)
from web4.protocols.cip.outbox.known_ids import KnownIds, Part
from web4.protocols.cip.peer_state import CauseHeard, IdHeard, PeerState, Rested
from web4.protocols.cip.replay import NEVER_MS, Bucket, Heard, ReplayWindow
from web4.protocols.decisions import DECISION_EVENTS
from web4.trust import TrustRecord
from web4.trust.lane import TRUST_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIC_VERSION: Final = 3
"""Changes with whatever makes `PeerLogic.apply` build another state of the same events, or spells a state otherwise:
snapshots of before are passed over (JRN-7b)."""

PEER_EVENTS: Final = (
    *TRUST_EVENTS,
    *DECISION_EVENTS,
    EventType(
        name="cip.heard",
        struct=IdHeard,
        classes=dict.fromkeys(("key", "content", "envelope", "at_ms", "skew_ms", "anew"), "structural"),
    ),
    EventType(name="cip.rested", struct=Rested, classes=dict.fromkeys(("at_ms", "skew_ms"), "structural")),
    EventType(
        name="cip.caused",
        struct=CauseHeard,
        classes=dict.fromkeys(CauseHeard.__struct_encode_fields__, "structural"),
    ),
    EventType(
        name="outbox.queued",
        struct=EnvelopeQueued,
        classes={
            **dict.fromkeys(EnvelopeQueued.__struct_encode_fields__, "structural"),
            "body": "retainable",
        },
    ),
    EventType(
        name="outbox.queued_together",
        struct=EnvelopesQueued,
        classes={
            **dict.fromkeys(EnvelopesQueued.__struct_encode_fields__, "structural"),
            "bodies": "retainable",
        },
    ),
    EventType(
        name="outbox.concluded",
        struct=EnvelopeConcluded,
        classes={
            **dict.fromkeys(EnvelopeConcluded.__struct_encode_fields__, "structural"),
            "reason": "retainable",
        },
    ),
    EventType(
        name="outbox.taken",
        struct=MessageTaken,
        classes={
            **dict.fromkeys(MessageTaken.__struct_encode_fields__, "structural"),
            "envelope": "retainable",
        },
    ),
    EventType(
        name="outbox.taken_together",
        struct=MessagesTaken,
        classes={
            **dict.fromkeys(MessagesTaken.__struct_encode_fields__, "structural"),
            "envelopes": "retainable",
        },
    ),
    EventType(
        name="outbox.settled",
        struct=MessageSettled,
        classes=dict.fromkeys(MessageSettled.__struct_encode_fields__, "structural"),
    ),
    EventType(
        name="cip.handshake",
        struct=HandshakeStep,
        classes={
            "session_id": "structural",
            "at_ms": "structural",
            "role": "structural",
            "to": "structural",
            "own": "structural",
            "peer": "structural",
            "agreement": "structural",
            "heard_ms": "structural",
            "established": "structural",
            "reason": "retainable",
            "retry_after_ms": "structural",
            "detail": "retainable",
        },
    ),
)
"""Every event type of a peer's lane: trust's, what it decides (MEM-1), and CIP's own."""


class _BucketForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bucket as it is stored: rows of id, content's digest and envelope's, sorted, one after the other in base64.

    Under the three lengths, as `16.32.32`: rows of a kind are together. As an object with a member for each id it
    would be half as long again, and be written and read in one go that holds up the process for most of a second.
    """

    ends_ms: int
    heard: dict[str, str]


_UUID_LENGTH: Final = 36
_UUID_BYTES: Final = 16
_DASHES: Final = (8, 13, 18, 23)


class _PartForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of an index of ids, its rows as those of a bucket."""

    first_ms: int
    last_ms: int
    heard: dict[str, str]


class _EndedForm(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Entries that ended alike: their ids, sorted, 16 bytes each in base64; what is no UUID beside them.

    There are thousands, in every snapshot: an object with a member for each is four times as long.
    """

    how: Conclusion
    ids: str = ""
    others: list[str] = []


class _OutboxForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The outbox: entries in the order of the queue, conclusions of both halves."""

    last: int
    entries: list[Queued] = msgspec.field(default_factory=list)
    newer: list[_EndedForm] = msgspec.field(default_factory=list)
    older: list[_EndedForm] = msgspec.field(default_factory=list)


class _TakenForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    last: int
    messages: list[Taken] = msgspec.field(default_factory=list)


class _StateForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The whole state. What version 2 added is absent where it is empty, so that one of version 1 is read, too."""

    trust: TrustRecord
    handshakes: dict[str, HandshakeState]
    buckets: tuple[_BucketForm, ...]
    forgot_ms: int | None = None
    known: tuple[_PartForm, ...] = ()
    causes: tuple[_PartForm, ...] = ()
    outbox: _OutboxForm | None = None
    taken: _TakenForm | None = None


_FORMS: Final = msgspec.json.Decoder(_StateForm)


def encode_state(state: PeerState) -> bytes:
    """Write a state. Equal states have equal bytes, in every process (TRUST-7)."""
    window = state.replay
    return canonical(
        _StateForm(
            trust=state.trust,
            handshakes=dict(state.handshakes),
            buckets=tuple(_BucketForm(bucket.ends_ms, _rows(bucket.heard)) for bucket in window.buckets),
            forgot_ms=None if window.forgot_ms == NEVER_MS else window.forgot_ms,
            known=_part_forms(state.known),
            causes=_part_forms(state.causes),
            outbox=_outbox_form(state.outbox),
            taken=_taken_form(state.taken),
        )
    )


def decode_state(data: bytes) -> PeerState:
    """Read what `encode_state` writes.

    Raises:
        ValueError: It is something else.
    """
    try:
        form = _FORMS.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    buckets = tuple(Bucket(bucket.ends_ms, _map(bucket.heard)) for bucket in form.buckets)
    forgot_ms = NEVER_MS if form.forgot_ms is None else form.forgot_ms
    return PeerState(
        trust=form.trust,
        replay=ReplayWindow(buckets, forgot_ms),
        handshakes=Map(form.handshakes),
        known=_known_ids(form.known),
        outbox=_outbox(form.outbox),
        taken=_taken(form.taken),
        causes=_known_ids(form.causes),
    )


def _part_forms(known: KnownIds) -> tuple[_PartForm, ...]:
    return tuple(_PartForm(part.first_ms, part.last_ms, _rows(part.heard)) for part in known.parts)


def _known_ids(forms: tuple[_PartForm, ...]) -> KnownIds:
    return KnownIds(tuple(Part(form.first_ms, form.last_ms, _map(form.heard)) for form in forms))


def _outbox_form(out: OutboxState) -> _OutboxForm | None:
    if out.last == 0:
        return None
    return _OutboxForm(
        last=out.last,
        entries=sorted(out.entries.values(), key=_number),
        newer=_ended_forms(out.concluded.newer),
        older=_ended_forms(out.concluded.older),
    )


def _outbox(form: _OutboxForm | None) -> OutboxState:
    if form is None:
        return OutboxState()
    entries = Map((one.msg_id, one) for one in form.entries)
    size = sum([one.size for one in form.entries])
    concluded = Conclusions(Map(_ended(form.newer)), Map(_ended(form.older)))
    return OutboxState(entries, size, form.last, concluded)


def _ended_forms(ended: Map[str, Conclusion]) -> list[_EndedForm]:
    """Write conclusions by when and how the entries ended."""
    # Entries that ended together have one and the same conclusion: looked up by what it is, not by what it says.
    alike: dict[int, tuple[Conclusion, list[str]]] = {}
    for msg_id, how in ended.items():
        one = alike.get(id(how))
        if one is None:
            one = alike[id(how)] = (how, [])
        one[1].append(msg_id)
    merged: dict[Conclusion, list[str]] = {}
    for how, ids in alike.values():
        merged.setdefault(how, []).extend(ids)
    groups = sorted(merged.items(), key=lambda one: (one[0].at_ms, one[0].outcome, repr(one[0].reason)))
    return [_ended_form(how, sorted(ids)) for how, ids in groups]


def _ended_form(how: Conclusion, ids: list[str]) -> _EndedForm:
    packed, others = _packed(ids), list[str]()
    if packed is None:
        others = [one for one in ids if _packed([one]) is None]
        packed = _packed([one for one in ids if one not in others]) or b""
    return _EndedForm(how, b64encode(packed).decode(), others)


def _packed(ids: list[str]) -> bytes | None:
    """The bytes of these lowercase UUIDs, if they are some. Checked all at once: there are thousands of them."""
    count, text = len(ids), "".join(ids)
    digits, dashes = text.replace("-", ""), "-" * count
    if (
        set(map(len, ids)) != {_UUID_LENGTH}
        or any(text[at::_UUID_LENGTH] != dashes for at in _DASHES)
        or len(digits) != 2 * _UUID_BYTES * count
        or digits != digits.lower()
    ):
        return None
    try:
        packed = bytes.fromhex(digits)
    except ValueError:
        return None
    return packed if len(packed) == _UUID_BYTES * count else None


def _ended(forms: list[_EndedForm]) -> Iterator[tuple[str, Conclusion]]:
    for form in forms:
        digits = b64decode(form.ids, validate=True).hex()
        if len(digits) % 32:
            raise ValueError("ids of 16 bytes each are needed")
        for at in range(0, len(digits), 32):
            one = digits[at : at + 32]
            yield f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}", form.how
        for msg_id in form.others:
            yield msg_id, form.how


def of_version_2(state: Any) -> Any:
    """Bring a decoded state of version 2 up to version 3: conclusions stand by how entries ended."""
    outbox = state.get("outbox")
    if outbox is None:
        return state
    halves = {
        half: [{"how": how, "others": [msg_id]} for msg_id, how in outbox[half].items()]
        for half in ("newer", "older")
        if half in outbox
    }
    return {**state, "outbox": {**outbox, **halves}}


def _taken_form(taken: TakenState) -> _TakenForm | None:
    if taken.last == 0:
        return None
    return _TakenForm(last=taken.last, messages=sorted(taken.messages.values(), key=_number))


def _taken(form: _TakenForm | None) -> TakenState:
    if form is None:
        return TakenState()
    size = sum([one.size for one in form.messages])
    return TakenState(Map((one.msg_id, one) for one in form.messages), size, form.last)


def _number(one: Queued | Taken) -> int:
    return one.number


def _map(rows_by_shape: dict[str, str]) -> Map[bytes, Heard]:
    return Map([row for shape, rows in rows_by_shape.items() for row in _heard(shape, rows)])


def _rows(heard: Map[bytes, Heard]) -> dict[str, str]:
    rows: defaultdict[str, list[bytes]] = defaultdict(list)
    for key, one in heard.items():
        shape = f"{len(key)}.{len(one.content)}.{len(one.envelope)}"
        rows[shape].append(key + one.content + one.envelope)
    return {shape: b64encode(b"".join(sorted(of_shape))).decode() for shape, of_shape in rows.items()}


def _heard(shape: str, rows: str) -> Iterator[tuple[bytes, Heard]]:
    key, content, envelope = [int(size) for size in shape.split(".")]
    data, middle, end = b64decode(rows, validate=True), key + content, key + content + envelope
    if end <= 0 or len(data) % end:
        raise ValueError(f"{len(data)} bytes are no rows of {shape}")
    for at in range(0, len(data), end):
        row = data[at : at + end]
        yield row[:key], Heard(row[key:middle], row[middle:])

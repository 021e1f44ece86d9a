"""Lane `peer:<fingerprint>` in a journal: the types of its events, and the one spelling of its state (JRN-7, JRN-9)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import msgspec
from immutables import Map

from web4.foundation.digest import canonical
from web4.journal.event_types import EventType
from web4.protocols.cip.handshake import HandshakeState, HandshakeStep
from web4.protocols.cip.peer_logic import IdHeard, PeerState, Rested
from web4.protocols.cip.replay import NEVER_MS, Bucket, Heard, ReplayWindow
from web4.trust import TrustRecord
from web4.trust.lane import TRUST_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIC_VERSION: Final = 1
"""Changes with whatever makes `PeerLogic.apply` build another state of the same events: snapshots of before are
passed over (JRN-7b)."""

PEER_EVENTS: Final = (
    *TRUST_EVENTS,
    EventType(
        name="cip.heard",
        struct=IdHeard,
        classes=dict.fromkeys(("key", "content", "envelope", "at_ms", "skew_ms"), "structural"),
    ),
    EventType(name="cip.rested", struct=Rested, classes=dict.fromkeys(("at_ms", "skew_ms"), "structural")),
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
"""Every event type of a peer's lane: trust's, and CIP's own."""


class _BucketForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bucket as it is stored: rows of id, content's digest and envelope's, sorted, one after the other in base64.

    Under the three lengths, as `16.32.32`: rows of a kind are together. As an object with a member for each id it
    would be half as long again, and be written and read in one go that holds up the process for most of a second.
    """

    ends_ms: int
    heard: dict[str, str]


class _StateForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    trust: TrustRecord
    handshakes: dict[str, HandshakeState]
    buckets: tuple[_BucketForm, ...]
    forgot_ms: int | None = None


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
    buckets = []
    for bucket in form.buckets:
        heard = [row for shape, rows in bucket.heard.items() for row in _heard(shape, rows)]
        buckets.append(Bucket(bucket.ends_ms, Map(heard)))
    forgot_ms = NEVER_MS if form.forgot_ms is None else form.forgot_ms
    return PeerState(form.trust, ReplayWindow(tuple(buckets), forgot_ms), Map(form.handshakes))


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

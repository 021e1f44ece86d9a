"""Lane `peer:<fingerprint>` in a journal: the types of its events, and the one spelling of its state (JRN-7, JRN-9)."""

from __future__ import annotations

from base64 import b64decode, b64encode
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


_KEY_SIZES: Final = (16, 32)
"""A UUID's bytes, and a nonce's."""
_DIGESTS: Final = 64


class _BucketForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A bucket as it is stored: rows of key, content's digest and envelope's, sorted, one after the other in base64.

    As an object with a member for each id it would be half as long again, and written and read in one go that holds
    up the whole process for most of a second.
    """

    ends_ms: int
    ids: str = ""
    nonces: str = ""


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
            buckets=tuple(
                _BucketForm(bucket.ends_ms, *[_rows(bucket.heard, size) for size in _KEY_SIZES])
                for bucket in window.buckets
            ),
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
        heard = [*_heard(bucket.ids, _KEY_SIZES[0]), *_heard(bucket.nonces, _KEY_SIZES[1])]
        buckets.append(Bucket(bucket.ends_ms, Map(heard)))
    forgot_ms = NEVER_MS if form.forgot_ms is None else form.forgot_ms
    return PeerState(form.trust, ReplayWindow(tuple(buckets), forgot_ms), Map(form.handshakes))


def _rows(heard: Map[bytes, Heard], size: int) -> str:
    rows = [key + one.content + one.envelope for key, one in heard.items() if len(key) == size]
    return b64encode(b"".join(sorted(rows))).decode()


def _heard(text: str, size: int) -> Iterator[tuple[bytes, Heard]]:
    rows, middle, step = b64decode(text, validate=True), size + _DIGESTS // 2, size + _DIGESTS
    if len(rows) % step:
        raise ValueError(f"{len(rows)} bytes are no rows of {step}")
    for at in range(0, len(rows), step):
        yield rows[at : at + size], Heard(rows[at + size : at + middle], rows[at + middle : at + step])

"""Lane `peer:<fingerprint>` in a journal: the types of its events, and the one spelling of its state (JRN-7, JRN-9)."""

from __future__ import annotations

from typing import Final

import msgspec
from immutables import Map

from web4.foundation.digest import canonical
from web4.journal.event_types import EventType
from web4.protocols.cip.handshake import HandshakeState, HandshakeStep
from web4.protocols.cip.peer_logic import IdHeard, PeerState, Rested
from web4.protocols.cip.replay import NEVER_MS, Bucket, Heard, ReplayWindow
from web4.trust import TrustRecord
from web4.trust.lane import TRUST_EVENTS

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
    """A bucket as it is stored: id to digests of content and envelope, all in hex, the two parted by a point."""

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
            buckets=tuple(
                _BucketForm(
                    bucket.ends_ms,
                    {
                        key.hex(): f"{heard.content.hex()}.{heard.envelope.hex()}"
                        for key, heard in bucket.heard.items()
                    },
                )
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
        heard = {}
        for key, digests in bucket.heard.items():
            content, envelope = digests.split(".")
            heard[bytes.fromhex(key)] = Heard(bytes.fromhex(content), bytes.fromhex(envelope))
        buckets.append(Bucket(bucket.ends_ms, Map(heard)))
    forgot_ms = NEVER_MS if form.forgot_ms is None else form.forgot_ms
    return PeerState(form.trust, ReplayWindow(tuple(buckets), forgot_ms), Map(form.handshakes))

"""What a peer's lane holds of messages on their way, out and in, and the events that move them (section 18)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from immutables import Map

from web4.protocols.gates import Admission
from web4.protocols.messages.vocabulary import ChannelKind
from web4.trust import TrustState

DAY_MS: Final = 24 * 60 * 60 * 1_000
INLINE_BYTES: Final = 32 * 1024
"""Longer envelopes are kept as blobs: a record's payload has a bound (JRN-2)."""
TOGETHER_BYTES: Final = 96 * 1024
"""Bytes of bodies or envelopes that one event holds: quoted once more they are up to twice as long."""
MAX_IDS: Final = 1_024
"""Ids that one event names; more become several."""
_TOLD: Final = 8_192
"""Conclusions that are held at least; the lane itself tells of those before."""

ConclusionKind = Literal["delivered", "refused", "expired", "purged"]
SettledStatus = Literal["handled", "deferred", "refused", "failed", "unhandled", "purged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLimits:
    """Limits of an outbox and of what remembers it at the other end.

    Args:
        entries: Envelopes that may wait for one peer (OUT-6).
        bytes: And their bytes.
        ttl_ms: How long one waits before it is `expired` (OUT-5).
        retention_ms: How long ids of outbox types are remembered (REP-1); longer than `ttl_ms`.
    """

    entries: int = 10_000
    bytes: int = 64 * 1024 * 1024
    ttl_ms: int = 5 * DAY_MS
    retention_ms: int = 7 * DAY_MS

    def __post_init__(self) -> None:
        if min(self.entries, self.bytes, self.ttl_ms) <= 0:
            raise ValueError("the limits of an outbox are positive")
        if self.retention_ms <= self.ttl_ms:
            raise ValueError("ids must be remembered for longer than envelopes are sent again")


class Queued(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """An envelope that waits to be delivered: an entry of the outbox.

    Args:
        number: Its place in the queue; later ones have greater numbers.
        msg_id: Its id.
        type: Its type.
        channel: The kind of channel it travels on.
        at_ms: When it was queued, Unix milliseconds.
        size: Bytes of its body.
        body: Canonical JSON of the envelope without `timestamp` and `sign`; absent if it is a blob.
        blob: The blob that holds the body.
        corr_id: The conversation it belongs to.
        low: Whether it waits while the peer is busy (PACE-4).
        humans: The humans it is from and for, if it is about humans.
    """

    number: int
    msg_id: str
    type: str
    channel: ChannelKind
    at_ms: int
    size: int
    body: str | None = None
    blob: str | None = None
    corr_id: str | None = None
    low: bool = False
    humans: tuple[str, ...] = ()


class Conclusion(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """How an entry of the outbox ended (OUT-5). `reason` is the code of `refused`, or why it was `purged`."""

    outcome: ConclusionKind
    at_ms: int
    reason: str | None = None


class Conclusions(msgspec.Struct, frozen=True):
    """The newest conclusions by msg_id: when the newer half is full, the older one goes."""

    newer: Map[str, Conclusion] = Map()
    older: Map[str, Conclusion] = Map()

    def get(self, msg_id: str) -> Conclusion | None:
        """How an entry ended, if that is still held."""
        return self.newer.get(msg_id) or self.older.get(msg_id)

    def adding(self, msg_ids: tuple[str, ...], one: Conclusion) -> Conclusions:
        """Give the conclusions with these too."""
        newer, older = self.newer, self.older
        if len(newer) >= _TOLD:
            newer, older = Map(), newer
        change = newer.mutate()
        for msg_id in msg_ids:
            change[msg_id] = one
        return Conclusions(change.finish(), older)


class OutboxState(msgspec.Struct, frozen=True):
    """What waits to be delivered to one peer."""

    entries: Map[str, Queued] = Map()
    bytes: int = 0
    last: int = 0
    """Number of the entry that was queued last."""
    concluded: Conclusions = Conclusions()


class Taken(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """A message that was let in, and that the application has not dealt with yet (OUT-3).

    Args:
        number: Its place among those that were taken.
        msg_id: Its id.
        type: Its type.
        at_ms: When it came.
        admission: How the gate let it in.
        trust: How far its sender was trusted then.
        digest: BLAKE3-256 of the envelope.
        size: Its bytes.
        envelope: The whole envelope as it came; absent if it is a blob.
        blob: The blob that holds it.
        answered: Whether an INTENT has got its first answer already (LOOP-5).
    """

    number: int
    msg_id: str
    type: str
    at_ms: int
    admission: Admission
    trust: TrustState
    digest: str
    size: int
    envelope: str | None = None
    blob: str | None = None
    answered: bool = False


class TakenState(msgspec.Struct, frozen=True):
    """What was let in of one peer and is not settled."""

    messages: Map[str, Taken] = Map()
    bytes: int = 0
    last: int = 0


# --- events ---------------------------------------------------------------------------------------------


class EnvelopeQueued(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """An envelope is to be sent (OUT-1). See `Queued` for the fields; `answers` is the INTENT it answers first."""

    number: int
    msg_id: str
    type: str
    channel: ChannelKind
    at_ms: int
    size: int
    body: str | None = None
    blob: str | None = None
    corr_id: str | None = None
    low: bool = False
    humans: tuple[str, ...] = ()
    answers: str | None = None


class QueuedRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One envelope of `EnvelopesQueued`. See `Queued` for the fields."""

    msg_id: str
    type: str
    channel: ChannelKind
    size: int
    corr_id: str | None
    low: bool


class EnvelopesQueued(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """Envelopes that were asked for at once are to be sent, one after the other: as an `EnvelopeQueued` of each.

    Args:
        number: The place of the first in the queue; the others follow.
        at_ms: When they were queued.
        envelopes: What is known of each, in order.
        bodies: The body of each.
    """

    number: int
    at_ms: int
    envelopes: tuple[QueuedRow, ...]
    bodies: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.bodies) != len(
            self.envelopes
        ):  # a hook withheld some: nobody can say whose the others are
            raise ValueError("each envelope needs its body")


class EnvelopeConcluded(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """Entries of the outbox have ended alike (OUT-5)."""

    msg_ids: tuple[str, ...]
    outcome: ConclusionKind
    at_ms: int
    reason: str | None = None


class MessageTaken(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """A message of an outbox type was let in: it is here from now on, and its id is used (OUT-3, REP-2).

    See `Taken` for the fields; `content` is its content digest (SIG-5), and the last two say what the index of ids
    does: begins a new part, and lets the oldest ones go.
    """

    number: int
    msg_id: str
    type: str
    at_ms: int
    admission: Admission
    trust: TrustState
    content: str
    digest: str
    size: int
    envelope: str | None = None
    blob: str | None = None
    begins: bool = False
    lets_go: int = 0


class TakenRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One message of `MessagesTaken`. See `MessageTaken` for the fields."""

    msg_id: str
    type: str
    admission: Admission
    content: str
    digest: str
    size: int


class MessagesTaken(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """Messages that came at once were let in, one after the other: as a `MessageTaken` of each, in one record.

    Args:
        number: The place of the first among those that were taken; the others follow.
        at_ms: When they came.
        trust: How far their sender was trusted then.
        messages: What is known of each, in order.
        envelopes: Each as it came.
        begins: Whether the index of ids begins a new part with the first of them.
        lets_go: How many of its oldest parts it lets go before.
    """

    number: int
    at_ms: int
    trust: TrustState
    messages: tuple[TakenRow, ...]
    envelopes: tuple[str, ...]
    begins: bool = False
    lets_go: int = 0

    def __post_init__(self) -> None:
        if len(self.envelopes) != len(self.messages):  # see `EnvelopesQueued`
            raise ValueError("each message needs its envelope")


class MessageSettled(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """The application is through with messages: they are not delivered again after a restart."""

    msg_ids: tuple[str, ...]
    status: SettledStatus
    at_ms: int


OutboxEvent = (
    EnvelopeQueued | EnvelopesQueued | EnvelopeConcluded | MessageTaken | MessagesTaken | MessageSettled
)


def weight(event: object) -> int:
    """How many records an event stands for: one that is about several messages is written, held and applied as they."""
    if isinstance(event, MessagesTaken):
        return len(event.messages)
    return len(event.envelopes) if isinstance(event, EnvelopesQueued) else 1

"""What a peer's lane is told about messages on their way (section 18)."""

from __future__ import annotations

import msgspec

from web4.protocols.cip.outbox.entries import ConclusionKind, SettledStatus
from web4.protocols.decisions import DecisionRecord
from web4.protocols.messages.vocabulary import ChannelKind


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="outbox", omit_defaults=True, gc=False):
    at_ms: int


class Enqueue(_Command, frozen=True, tag="enqueue", gc=False):
    """Queue an envelope (OUT-1); once, however often it is said.

    Args:
        msg_id, type, channel, body, blob, size, corr_id, low, humans: See `Queued`.
        answers: The INTENT that this answers at once; it gets one such answer.
        settles: The message that is settled with it, and how: an INTENT that was deferred or refused.
        decided: What to write down of the decision that this answer tells (MEM-1).
    """

    msg_id: str
    type: str
    channel: ChannelKind
    size: int
    body: str | None = None
    blob: str | None = None
    corr_id: str | None = None
    low: bool = False
    humans: tuple[str, ...] = ()
    answers: str | None = None
    settles: SettledStatus | None = None
    decided: DecisionRecord | None = None


class EnqueueTogether(_Command, frozen=True, tag="enqueue_together", gc=False):
    """Queue envelopes that were asked for at once: as one `Enqueue` of each, in this order, at this one time.

    `PeerOutcome.queueings` says of each whether it is queued. None of them answers an INTENT.
    """

    commands: tuple[Enqueue, ...]


class Conclude(_Command, frozen=True, tag="conclude"):
    """Entries have ended; those that are not there any more are passed over.

    `expired` counts only for entries that are old enough.
    """

    msg_ids: tuple[str, ...]
    outcome: ConclusionKind
    reason: str | None = None


class Settle(_Command, frozen=True, tag="settle"):
    """The application is through with messages."""

    msg_ids: tuple[str, ...]
    status: SettledStatus = "handled"


OutboxCommand = Enqueue | EnqueueTogether | Conclude | Settle

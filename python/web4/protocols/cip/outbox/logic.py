"""The outbox as pure functions: what a command leads to, and what an event changes (ACT-1, section 18)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from web4.protocols.cip.outbox.commands import Conclude, Enqueue, EnqueueTogether, OutboxCommand, Settle
from web4.protocols.cip.outbox.entries import (
    MAX_IDS,
    TOGETHER_BYTES,
    Conclusion,
    ConclusionKind,
    EnvelopeConcluded,
    EnvelopeQueued,
    EnvelopesQueued,
    MessageSettled,
    MessagesTaken,
    MessageTaken,
    OutboxEvent,
    OutboxLimits,
    OutboxState,
    Queued,
    QueuedRow,
    SettledStatus,
    Taken,
    TakenState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Queueing = Literal["queued", "known", "full", "answered"]
"""`known`: it was queued before; `answered`: the INTENT has its answer, or is settled."""


@dataclass(frozen=True)
class OutboxLogic:
    """What a peer's lane decides about messages on their way, for given limits."""

    limits: OutboxLimits = field(default_factory=OutboxLimits)

    # --- out --------------------------------------------------------------------------------------------

    def enqueue(
        self, out: OutboxState, taken: TakenState, command: Enqueue
    ) -> tuple[tuple[OutboxEvent, ...], Queueing]:
        """Queue an envelope, or say why not."""
        if command.answers is not None:
            intent = taken.messages.get(command.answers)
            if intent is None or intent.answered:
                return (), "answered"
        if command.msg_id in out.entries or out.concluded.get(command.msg_id) is not None:
            return (), "known"
        if len(out.entries) >= self.limits.entries or out.bytes + command.size > self.limits.bytes:
            return (), "full"
        queued = _queued(command, out.last + 1, command.at_ms)
        if command.settles is None or command.answers is None:
            return (queued,), "queued"
        settled = MessageSettled(msg_ids=(command.answers,), status=command.settles, at_ms=command.at_ms)
        return (queued, settled), "queued"

    def enqueue_together(
        self, out: OutboxState, command: EnqueueTogether
    ) -> tuple[tuple[OutboxEvent, ...], tuple[Queueing, ...]]:
        """Queue envelopes as `enqueue` would one after the other, in few events; of each whether it is queued."""
        entries, concluded, limits = out.entries, out.concluded, self.limits
        room, left = limits.entries - len(entries), limits.bytes - out.bytes
        fresh: dict[str, Enqueue] = {}
        queueings: list[Queueing] = []
        for one in command.commands:
            msg_id = one.msg_id
            if msg_id in fresh or msg_id in entries or concluded.get(msg_id) is not None:
                queueings.append("known")
            elif len(fresh) >= room or one.size > left:
                queueings.append("full")
            else:
                fresh[msg_id] = one
                left -= one.size
                queueings.append("queued")
        return _queued_events(list(fresh.values()), out.last + 1, command.at_ms), tuple(queueings)

    def conclude(self, out: OutboxState, command: Conclude) -> tuple[EnvelopeConcluded, ...]:
        """End the entries that are there; expired only those that are old enough (OUT-5)."""
        entries = out.entries
        known = [entries[msg_id] for msg_id in dict.fromkeys(command.msg_ids) if msg_id in entries]
        if command.outcome == "expired":
            known = [one for one in known if one.at_ms + self.limits.ttl_ms <= command.at_ms]
        return concluded(
            [one.msg_id for one in known], command.outcome, at_ms=command.at_ms, reason=command.reason
        )

    # --- in ---------------------------------------------------------------------------------------------

    def settle(self, taken: TakenState, command: Settle) -> tuple[MessageSettled, ...]:
        """Settle the messages that are not settled yet."""
        known = [msg_id for msg_id in dict.fromkeys(command.msg_ids) if msg_id in taken.messages]
        return settled(known, command.status, at_ms=command.at_ms)

    def purge(self, out: OutboxState, taken: TakenState, reason: str, at_ms: int) -> tuple[OutboxEvent, ...]:
        """End everything that is on its way, in the order of the queue (TRUST-8)."""
        leaving = sorted(out.entries.values(), key=lambda one: one.number)
        here = sorted(taken.messages.values(), key=lambda one: one.number)
        return (
            *concluded([one.msg_id for one in leaving], "purged", at_ms=at_ms, reason=reason),
            *settled([one.msg_id for one in here], "purged", at_ms=at_ms),
        )


def decide(
    logic: OutboxLogic, out: OutboxState, taken: TakenState, command: OutboxCommand
) -> tuple[tuple[OutboxEvent, ...], Queueing | tuple[Queueing, ...] | None]:
    """What `command` leads to, and of one that queues whether it did, or whether it did for each."""
    if isinstance(command, Enqueue):
        return logic.enqueue(out, taken, command)
    if isinstance(command, EnqueueTogether):
        return logic.enqueue_together(out, command)
    if isinstance(command, Conclude):
        return logic.conclude(out, command), None
    return logic.settle(taken, command), None


def _queued(command: Enqueue, number: int, at_ms: int) -> EnvelopeQueued:
    return EnvelopeQueued(
        number=number,
        msg_id=command.msg_id,
        type=command.type,
        channel=command.channel,
        at_ms=at_ms,
        size=command.size,
        body=command.body,
        blob=command.blob,
        corr_id=command.corr_id,
        low=command.low,
        humans=command.humans,
        answers=command.answers,
    )


def _queued_events(commands: list[Enqueue], number: int, at_ms: int) -> tuple[OutboxEvent, ...]:
    """The events that queue these, the first as `number`."""
    events: list[OutboxEvent] = []
    for run in _runs(commands):
        if len(run) == 1:
            events.append(_queued(run[0], number, at_ms))
        else:
            rows = [
                QueuedRow(one.msg_id, one.type, one.channel, one.size, one.corr_id, one.low) for one in run
            ]
            bodies = tuple([one.body or "" for one in run])
            events.append(EnvelopesQueued(number=number, at_ms=at_ms, envelopes=tuple(rows), bodies=bodies))
        number += len(run)
    return tuple(events)


def _runs(commands: list[Enqueue]) -> Iterable[list[Enqueue]]:
    """Parts of `commands` that one event can name: not too long together; what it cannot say of one stands alone."""
    run: list[Enqueue] = []
    size = 0
    for one in commands:
        alone = one.body is None or bool(one.humans) or one.answers is not None
        if run and (alone or size + one.size > TOGETHER_BYTES):
            yield run
            run, size = [], 0
        run.append(one)
        size += TOGETHER_BYTES if alone else one.size
    if run:
        yield run


def concluded(
    msg_ids: list[str], outcome: ConclusionKind, *, at_ms: int, reason: str | None = None
) -> tuple[EnvelopeConcluded, ...]:
    """The events that end these entries alike."""
    return tuple(
        EnvelopeConcluded(msg_ids=part, outcome=outcome, at_ms=at_ms, reason=reason)
        for part in _parts(msg_ids)
    )


def settled(msg_ids: list[str], status: SettledStatus, *, at_ms: int) -> tuple[MessageSettled, ...]:
    """The events that settle these messages alike."""
    return tuple(MessageSettled(msg_ids=part, status=status, at_ms=at_ms) for part in _parts(msg_ids))


def _parts(msg_ids: list[str]) -> Iterable[tuple[str, ...]]:
    return (tuple(msg_ids[at : at + MAX_IDS]) for at in range(0, len(msg_ids), MAX_IDS))


# --- apply ----------------------------------------------------------------------------------------------


def queued(out: OutboxState, event: EnvelopeQueued) -> OutboxState:
    """The outbox with one entry more."""
    entry = Queued(
        number=event.number,
        msg_id=event.msg_id,
        type=event.type,
        channel=event.channel,
        at_ms=event.at_ms,
        size=event.size,
        body=event.body,
        blob=event.blob,
        corr_id=event.corr_id,
        low=event.low,
        humans=event.humans,
    )
    entries = out.entries.set(event.msg_id, entry)
    return OutboxState(entries, out.bytes + event.size, event.number, out.concluded)


def queued_together(out: OutboxState, event: EnvelopesQueued) -> OutboxState:
    """The outbox with some entries more."""
    change, size, number, at_ms = out.entries.mutate(), out.bytes, event.number, event.at_ms
    for row, body in zip(event.envelopes, event.bodies, strict=True):
        change[row.msg_id] = Queued(
            number=number,
            msg_id=row.msg_id,
            type=row.type,
            channel=row.channel,
            at_ms=at_ms,
            size=row.size,
            body=body,
            corr_id=row.corr_id,
            low=row.low,
        )
        size += row.size
        number += 1
    return OutboxState(change.finish(), size, number - 1, out.concluded)


def without_entries(out: OutboxState, event: EnvelopeConcluded) -> OutboxState:
    """The outbox without what has ended."""
    left, size = out.entries.mutate(), out.bytes
    for msg_id in event.msg_ids:
        size -= left.pop(msg_id).size
    one = Conclusion(event.outcome, event.at_ms, event.reason)
    return OutboxState(left.finish(), size, out.last, out.concluded.adding(event.msg_ids, one))


def with_message(taken: TakenState, event: MessageTaken) -> TakenState:
    """What was taken, with one message more."""
    one = Taken(
        number=event.number,
        msg_id=event.msg_id,
        type=event.type,
        at_ms=event.at_ms,
        admission=event.admission,
        trust=event.trust,
        digest=event.digest,
        size=event.size,
        envelope=event.envelope,
        blob=event.blob,
    )
    return TakenState(taken.messages.set(event.msg_id, one), taken.bytes + event.size, event.number)


def with_messages(taken: TakenState, event: MessagesTaken) -> TakenState:
    """What was taken, with some messages more."""
    change, size, number = taken.messages.mutate(), taken.bytes, event.number
    for row, envelope in zip(event.messages, event.envelopes, strict=True):
        change[row.msg_id] = Taken(
            number=number,
            msg_id=row.msg_id,
            type=row.type,
            at_ms=event.at_ms,
            admission=row.admission,
            trust=event.trust,
            digest=row.digest,
            size=row.size,
            envelope=envelope,
        )
        size += row.size
        number += 1
    return TakenState(change.finish(), size, number - 1)


def without_messages(taken: TakenState, event: MessageSettled) -> TakenState:
    """What was taken, without what is settled."""
    left, size = taken.messages.mutate(), taken.bytes
    for msg_id in event.msg_ids:
        size -= left.pop(msg_id).size
    return TakenState(left.finish(), size, taken.last)


def answered(taken: TakenState, msg_id: str) -> TakenState:
    """What was taken, with an INTENT that has its first answer."""
    one = msgspec.structs.replace(taken.messages[msg_id], answered=True)
    return TakenState(taken.messages.set(msg_id, one), taken.bytes, taken.last)

"""A lane's unfinished work after a restart: classified, and what follows made durable with it (JRN-13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from web4.actors.definition import Effect, Origin
from web4.journal.errors import JournalError
from web4.journal.journal import NewEvent
from web4.journal.lane import SERVER
from web4.journal.recovery import RecoveryClassified, Verdict, classify

if TYPE_CHECKING:
    from web4.actors.lane_writer import LaneWriter
    from web4.journal.journal import Journal
    from web4.journal.lane import Lane
    from web4.journal.record import OpenWork, Record
    from web4.journal.recovery import RecoverySummary

_ROOM = 1_024


class _Found(NamedTuple):
    work: list[OpenWork]
    records: dict[int, Record]
    """Of the work, as far as they can be read."""

    @property
    def erased(self) -> set[int]:
        return {seq for seq, record in self.records.items() if record.erased}

    def type_of(self, work: OpenWork) -> str:
        record = self.records.get(work.seq)
        return "" if record is None else record.type


async def _find(journal: Journal, lane: Lane, work: list[OpenWork]) -> _Found:
    found = _Found(work, {})
    for one in work:
        try:
            records = await journal.read(lane, after=one.seq - 1, limit=1)
        except JournalError:
            continue
        if records and records[0].seq == one.seq:
            found.records[one.seq] = records[0]
    return found


async def recover_lane(
    journal: Journal, writer: LaneWriter[Any, Any, Any, Any], summary: RecoverySummary
) -> list[Any]:
    """Classify the unfinished work of a lane that was just rebuilt; append what follows (JRN-13c).

    What is recoverable stays open: its effects are to be performed again, and the commands that this returns
    are to be decided before any other. A verdict that the lane holds already is not appended again.

    Raises:
        JournalError: It could not be made durable.
    """
    if not writer.unfinished:
        return []
    found = await _find(journal, writer.lane, writer.unfinished)
    definition, at = writer.definition, writer.at
    unfinished = {one.subject for one in found.work if one.kind == "command"}
    unowned = [one for one in writer.effects.values() if one.command not in unfinished]
    gone = {one.id for one in unowned if definition.requester_gone(writer.state, one)}
    commands: list[Any] = []
    for verdict in classify(found.work, erased=found.erased, gone=gone):
        work = verdict.work
        summary.add(verdict, found.type_of(work))
        if not await _is_recorded(journal, verdict, writer.lane):
            writer.record(_classified(journal, verdict), Origin(at), ((work.kind, work.subject),))
        record = found.records[work.seq]
        event = None if record.erased else journal.registry.decode(record)
        if verdict.class_ == "failed":
            _fail(writer, verdict, event, at)
        elif work.kind == "command" and verdict.reason == "not_started":
            command = definition.resume(work.subject, event, at)
            commands += [] if command is None else [command]
        if writer.full:
            await writer.durable()
    await writer.durable()
    return commands


def _fail(writer: LaneWriter[Any, Any, Any, Any], verdict: Verdict, begin: Any, at: int) -> None:
    """End a command, then whatever of its effects the lane's logic has left open (JRN-13a)."""
    definition = writer.definition
    if verdict.work.kind == "command":
        writer.decide(definition.fail(verdict.work.subject, begin, verdict.reason, at))
    outcome = "cancelled" if verdict.reason == "requester_gone" else "abandoned"
    for request in verdict.requests:
        effect: Effect | None = writer.effects.get(request.subject)
        if effect is not None:
            writer.decide(definition.conclude(effect, outcome, verdict.reason, at))  # type: ignore[arg-type]


def _classified(journal: Journal, verdict: Verdict, lane: str | None = None) -> RecoveryClassified:
    return RecoveryClassified(
        boot=journal.backend.boot,
        subject=verdict.work.subject,
        kind=verdict.work.kind,
        class_=verdict.class_,
        reason=verdict.reason,
        lane=lane,
    )


async def _is_recorded(journal: Journal, verdict: Verdict, where: Lane) -> bool:
    """Whether an earlier boot came to the same verdict on the same work (JRN-13d)."""
    ref, before = (verdict.work.kind, verdict.work.subject), None
    while records := await journal.backend.find(ref, reverse=True, before=before):
        for record in records:
            if record.lane == verdict.work.lane and record.seq <= verdict.work.seq:
                return False
            if record.lane == where and record.type == "recovery.classified" and not record.erased:
                said: RecoveryClassified = journal.registry.decode(record)
                lane = where if said.lane is None else said.lane
                if (said.kind, str(lane)) == (verdict.work.kind, str(verdict.work.lane)):
                    return (said.class_, said.reason) == (verdict.class_, verdict.reason)
        before = records[-1].position
    return False


async def record_halted(journal: Journal, lane: Lane, summary: RecoverySummary) -> None:
    """Classify the unfinished work of a halted lane, in the `server` lane, while nobody else writes that.

    Raises:
        JournalError: It could not be made durable.
    """
    unfinished: list[OpenWork] = []
    while page := await journal.open_work(lane, after=unfinished[-1] if unfinished else None):
        unfinished.extend(page)
    found = await _find(journal, lane, unfinished)
    events = []
    at = max((await journal.head(SERVER)).at, (await journal.head(lane)).at)
    for verdict in classify(found.work, halted=True):
        summary.add(verdict, found.type_of(verdict.work))
        if SERVER not in journal.halted and not await _is_recorded(journal, verdict, SERVER):
            refs = ((verdict.work.kind, verdict.work.subject),)
            events.append(NewEvent(_classified(journal, verdict, str(lane)), at, refs=refs))
    for start in range(0, len(events), _ROOM):
        head = await journal.head(SERVER)
        await journal.append(SERVER, events[start : start + _ROOM], expected_seq=head.seq)

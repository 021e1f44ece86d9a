"""A lane's state from the newest material that can be used: a snapshot, and the records after it (JRN-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple

import msgspec

from web4 import _core
from web4.actors.aside import aside
from web4.actors.definition import State
from web4.journal.errors import CorruptJournalError

if TYPE_CHECKING:
    from web4.actors.definition import LaneDefinition
    from web4.journal.journal import Journal
    from web4.journal.lane import Lane
    from web4.journal.record import Head, Record, Snapshot

_PAGE: Final = 1_000
TRANSPARENT: Final = ("journal.", "recovery.", "effect.")
"""Events whose names begin so are the runtime's own: no lane's logic sees them, unless it declares them itself."""


class Rebuilt(NamedTuple, Generic[State]):
    """A lane as it was rebuilt.

    Args:
        state: After its last record.
        head: Where it ends.
        snapshot_seq: Of the snapshot it was built from; 0 if from the beginning.
        snapshot_bytes: Size of that snapshot's state.
        tail_records: Records that were applied to it.
        tail_bytes: Size of their payloads.
    """

    state: State
    head: Head
    snapshot_seq: int
    snapshot_bytes: int
    tail_records: int
    tail_bytes: int


async def rebuild(
    journal: Journal, lane: Lane, definition: LaneDefinition[State, Any, Any, Any]
) -> Rebuilt[State]:
    """Build the state of `lane` as its records have it.

    Snapshots that cannot be used are passed over with an event `snapshot_passed_over` (JRN-7b).

    Raises:
        CorruptJournalError: An event that cannot be read or applied, or a base snapshot that does not hold. The
            lane must be halted: repeating cannot help (ACT-5e).
        JournalError: The lane cannot be read.
    """
    head = await journal.head(lane)
    state, seq, size = definition.logic.initial, 0, 0
    for snapshot in await journal.snapshots(lane):
        found = await _state_of(journal, definition, snapshot, head)
        if not isinstance(found, str):
            state, seq, size = found[0], snapshot.seq, len(snapshot.state)
            break
        if snapshot.seq == head.base_seq:
            raise CorruptJournalError(
                f"{lane} {snapshot.seq}: its base snapshot cannot be used ({found})",
                code="snapshot",
                lane=lane,
                seq=snapshot.seq,
            )
        journal.emit(
            "snapshot_passed_over", severity="warning", lane=str(lane), lane_seq=snapshot.seq, reason=found
        )
    if seq < head.base_seq:
        raise CorruptJournalError(
            f"{lane} {head.base_seq}: its base snapshot is missing",
            code="snapshot",
            lane=lane,
            seq=head.base_seq,
        )
    after, tail = seq, 0
    while after < head.seq:
        for record in await journal.read(lane, after=after, limit=min(_PAGE, head.seq - after)):
            state = apply_record(journal, definition, state, record)
            tail += len(record.payload or b"")
            after = record.seq
    return Rebuilt(state, head, seq, size, head.seq - seq, tail)


def apply_record(
    journal: Journal, definition: LaneDefinition[State, Any, Any, Any], state: State, record: Record
) -> State:
    """The state after `record`; the runtime's own events leave it as it is.

    Raises:
        CorruptJournalError: `future_event` or `undecodable`, with lane and number.
    """
    if record.type not in definition.event_names:
        if record.type.startswith(TRANSPARENT):
            return state
        raise CorruptJournalError(
            f"{record.lane} {record.seq}: {record.type} is none of the lane's events",
            code="future_event",
            lane=record.lane,
            seq=record.seq,
        )
    event = journal.registry.decode(record)
    try:
        return definition.logic.apply(state, event)
    except Exception as error:
        raise CorruptJournalError(
            f"{record.lane} {record.seq}: {record.type} cannot be applied ({type(error).__name__})",
            code="undecodable",
            lane=record.lane,
            seq=record.seq,
        ) from error


async def _state_of(
    journal: Journal, definition: LaneDefinition[State, Any, Any, Any], snapshot: Snapshot, head: Head
) -> tuple[State] | str:
    """A snapshot's state, or why it cannot be used."""
    if not snapshot.intact:
        return "hash"
    if await _record_hash(journal, snapshot, head) != snapshot.record_hash:
        return "record"
    if (
        snapshot.logic_version != definition.version
        and snapshot.seq != head.base_seq
        and not await _stands(journal, snapshot, head)
    ):
        return "logic_version"
    try:
        return (await aside(len(snapshot.state), _carried, definition, snapshot),)
    except LookupError:
        return "logic_version"
    except (ValueError, TypeError, ArithmeticError, AttributeError):
        return "undecodable"


async def _record_hash(journal: Journal, snapshot: Snapshot, head: Head) -> bytes | None:
    """The hash of the record that a snapshot says it follows; None if there is none."""
    if snapshot.seq == head.base_seq:
        return head.base_hash
    if not head.base_seq < snapshot.seq <= head.seq:
        return None
    records = await journal.read(snapshot.lane, after=snapshot.seq - 1, limit=1)
    return records[0].hash if records else None


async def _stands(journal: Journal, snapshot: Snapshot, head: Head) -> bool:
    """Whether payloads before a snapshot were erased (JRN-16a): like a base, it is then all there is of them."""
    records = await journal.read(snapshot.lane, after=head.base_seq, limit=1)
    return bool(records) and records[0].erased


def _carried(definition: LaneDefinition[State, Any, Any, Any], snapshot: Snapshot) -> State:
    """A snapshot's state, brought up to the logic's version (JRN-9d).

    Raises:
        LookupError: No way leads from its version to this one.
        ValueError: It is no state.
    """
    if snapshot.logic_version == definition.version:
        return definition.decode(snapshot.state)
    if snapshot.logic_version > definition.version:
        raise LookupError(snapshot.logic_version)
    steps = [definition.upcasters[version] for version in range(snapshot.logic_version, definition.version)]
    document = msgspec.json.decode(snapshot.state)
    for step in steps:
        document = step(document)
    return definition.decode(_core.canonicalize(msgspec.json.encode(document)))

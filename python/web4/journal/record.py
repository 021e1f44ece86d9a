"""What a journal holds: records, heads, snapshots, unfinished work (JRN-2, JRN-7, JRN-13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from web4 import _core
from web4.journal.errors import CorruptJournalError, InvalidEventError
from web4.journal.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

Refs = tuple[tuple[str, str], ...]
"""What history can find a record by: up to eight pairs (kind, value), sorted."""
Cause = tuple[Lane, int]
"""The record that led to another: its lane and number."""
Phase = Literal["begin", "start", "end", "request", "conclusion"]
"""How an event moves the work it belongs to: a command's begin, start and end; an effect's request and conclusion."""


class Head(NamedTuple):
    """Where a lane ends, and where what is kept of it begins. The default is that of a lane nobody wrote.

    Args:
        seq: Number of the last record; 0 before the first.
        hash: Its hash; before the first the lane's genesis (JRN-3d).
        at: Its time, Unix milliseconds.
        base_seq: Number of the last record that was compacted away; 0 if none was (JRN-17).
        base_hash: Its hash; the lane's genesis if none was.
    """

    seq: int
    hash: bytes
    at: int
    base_seq: int
    base_hash: bytes


class Record(msgspec.Struct, frozen=True):
    """One event with its place (JRN-2). Immutable, except that its payload may be erased (JRN-16).

    `header`, the canonical bytes that the chain covers, is held as it is stored; the fields are read from it.
    `commit` is the group commit that carried it and `position` its place in the order of history: both never
    decrease within a journal, and are no part of the chain. In what a follower gets straight from the writer
    `position` is 0: it is not known there.
    """

    lane: Lane
    seq: int
    type: str
    v: int
    at: int
    cause: Cause | None
    principal: str | None
    refs: Refs
    payload: bytes | None
    salt: bytes | None
    payload_hash: bytes
    hash: bytes
    header: bytes
    commit: int
    position: int

    @property
    def erased(self) -> bool:
        """Whether the payload is gone."""
        return self.payload is None


class _Header(msgspec.Struct, frozen=True):
    """The members of a header. Edition 1 had neither `principal` nor `refs` (JRN-10a)."""

    at: int
    lane: str
    seq: int
    type: str
    v: int
    cause: tuple[str, int] | None = None
    principal: str | None = None
    refs: Refs = ()


class RawRecord(NamedTuple):
    """A record as it is stored, whatever is left of it: what repair looks at and keeps (JRN-23b)."""

    seq: int
    header: bytes
    payload: bytes | None
    salt: bytes | None
    payload_hash: bytes
    hash: bytes
    commit: int
    position: int


_HEADERS: Final = msgspec.json.Decoder(_Header)


def read_refs(header: bytes) -> Refs:
    """The refs of a stored header; none of a damaged one."""
    try:
        return _HEADERS.decode(header).refs
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ()


def read_record(
    lane: Lane,
    seq: int,
    *,
    header: bytes,
    payload: bytes | None,
    salt: bytes | None,
    payload_hash: bytes,
    hash: bytes,  # noqa: A002 - the name of the field it fills
    commit: int,
    position: int,
) -> Record:
    """Make a record of what a backend stored.

    Raises:
        CorruptJournalError: `chain_broken`: the header is damaged.
    """
    try:
        head = _HEADERS.decode(header)
        cause = None if head.cause is None else (Lane.parse(head.cause[0]), head.cause[1])
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidEventError):
        raise CorruptJournalError(
            f"{lane} {seq}: the header is damaged",
            code="chain_broken",
            lane=lane,
            seq=seq,
            position=position,
        ) from None
    return Record(
        lane=lane,
        seq=seq,
        type=head.type,
        v=head.v,
        at=head.at,
        cause=cause,
        principal=head.principal,
        refs=head.refs,
        payload=payload,
        salt=salt,
        payload_hash=payload_hash,
        hash=hash,
        header=header,
        commit=commit,
        position=position,
    )


class Work(NamedTuple):
    """How one record moves unfinished work (JRN-13).

    Args:
        phase: See `Phase`.
        subject: Id of the command or of the effect.
        command: The command that an effect belongs to, if it belongs to one.
        idempotent: Whether an effect may be performed again.
    """

    phase: Phase
    subject: str
    command: str | None = None
    idempotent: bool = False


class OpenWork(NamedTuple):
    """A command without an end, or an effect without a conclusion.

    Args:
        lane: Where it began.
        seq: Number of the record that began or requested it.
        kind: `command` or `effect`.
        subject: Its id.
        started: Whether a command was started.
        command: The command that an effect belongs to, if it belongs to one.
        idempotent: Whether an effect may be performed again.
    """

    lane: Lane
    seq: int
    kind: Literal["command", "effect"]
    subject: str
    started: bool
    command: str | None
    idempotent: bool


class Sealed(NamedTuple):
    """A record on its way to a backend, place and chain included."""

    lane: Lane
    seq: int
    at: int
    header: bytes
    payload: bytes
    salt: bytes
    payload_hash: bytes
    hash: bytes
    refs: Refs
    work: Work | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a lane after one record (JRN-7).

    Args:
        lane: Whose state it is.
        seq: The record after which the lane was in this state.
        record_hash: That record's hash.
        state: Canonical JSON.
        state_hash: BLAKE3-256 of `state`.
        logic_version: Of the logic that built it.
    """

    lane: Lane
    seq: int
    record_hash: bytes
    state: bytes
    state_hash: bytes
    logic_version: int

    @classmethod
    def of(cls, lane: Lane, seq: int, record_hash: bytes, state: bytes, logic_version: int) -> Snapshot:
        """Make one of a state's canonical bytes."""
        return cls(
            lane=lane,
            seq=seq,
            record_hash=record_hash,
            state=state,
            state_hash=_core.blake3(state),
            logic_version=logic_version,
        )

    @property
    def intact(self) -> bool:
        """Whether the state is the one that was hashed."""
        return _core.blake3(self.state) == self.state_hash


class HeadMove(NamedTuple):
    """A lane's head before and after a commit. `before` is what the lane must end with, or nothing is written."""

    lane: Lane
    before: Head
    after: Head


class Commit(NamedTuple):
    """What becomes durable as a whole or not at all (JRN-4b, c).

    Args:
        records: Sorted by lane and number.
        heads: One move for each lane that changes.
        bases: Base snapshots that take a prefix's place: records up to each one's `seq` are gone from then on (JRN-17).
        erasures: (lane, seq): payloads and salts of that lane's records up to that number go (JRN-16).
    """

    records: Sequence[Sealed]
    heads: Sequence[HeadMove]
    bases: Sequence[Snapshot] = ()
    erasures: Sequence[tuple[Lane, int]] = ()


class Appended(NamedTuple):
    """Where an append went: its first and last number, and the hash of the last record."""

    first_seq: int
    last_seq: int
    hash: bytes

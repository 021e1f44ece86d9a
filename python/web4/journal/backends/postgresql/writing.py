"""Commits: one round trip, one transaction, which asserts owner, epoch and head of every lane it moves (JRN-24b)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.journal.backends.postgresql.encoding import (
    boolean_array,
    bytea_array,
    int8,
    int8_array,
    read_int,
    read_text,
    rows,
    text,
    text_array,
)
from web4.journal.backends.postgresql.tables import PLACES_BITS
from web4.journal.backends.postgresql.wire import Statement, StatementRefusedError
from web4.journal.errors import NotWriterError, WrongExpectedSeq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from web4.journal.backends.postgresql.leases import Held, Leases
    from web4.journal.backends.postgresql.wire import Call, Connection
    from web4.journal.lane import Lane
    from web4.journal.record import Commit, HeadMove, Sealed, Snapshot, Work

ASSERTION_FAILED: Final = "22012"
"""The server's word for a division by zero: how a statement of ours refuses without a round trip of its own."""

# A record's position is its commit's number and, in the lowest 16 bits (`tables.PLACES_BITS`), its place in the commit.

_MOVE: Final = Statement(
    # `IS TRUE` keeps the planner from walking all lanes of the owner, for each lane of the commit.
    "move_heads",
    """WITH moved AS (
        UPDATE @.lanes AS l SET seq = m.seq, hash = m.hash, at = m.at
        FROM (SELECT unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::bytea[]),
            unnest($6::bigint[]), unnest($7::bytea[]), unnest($8::bigint[]))
            AS m (lane, epoch, was_seq, was_hash, seq, hash, at)
        WHERE l.lane = m.lane AND (l.owner = $1) IS TRUE AND l.epoch = m.epoch
            AND l.seq = m.was_seq AND l.hash = m.was_hash
        RETURNING 1)
    SELECT pg_current_xact_id()::text::bigint / ((SELECT count(*) FROM moved) = $9::bigint)::integer""",
)
_REBASE: Final = Statement(
    "rebase",
    """WITH moved AS (
        UPDATE @.lanes AS l SET base_seq = b.seq, base_hash = b.hash
        FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[]) AS b (lane, epoch, seq, hash)
        WHERE l.lane = b.lane AND (l.owner = $1) IS TRUE AND l.epoch = b.epoch
            AND b.seq BETWEEN l.base_seq AND l.seq
        RETURNING 1)
    SELECT 1 / ((SELECT count(*) FROM moved) = $6::bigint)::integer""",
)
_INSERT: Final = Statement(
    "insert_records",
    """INSERT INTO @.records (lane, seq, position, header, payload, salt, payload_hash, hash)
    SELECT unnest($2::bigint[]), unnest($3::bigint[]),
        (($1::bigint + (SELECT pg_current_xact_id()::text::bigint)) << 16) + generate_subscripts($2::bigint[], 1) - 1,
        unnest($4::bytea[]), unnest($5::bytea[]), unnest($6::bytea[]), unnest($7::bytea[]), unnest($8::bytea[])""",
)
_INSERT_REFS: Final = Statement(
    "insert_refs",
    """INSERT INTO @.refs (kind, value, position)
    SELECT r.kind, r.value, (($1::bigint + (SELECT pg_current_xact_id()::text::bigint)) << 16) + r.place
    FROM unnest($2::bytea[], $3::bytea[], $4::bigint[]) AS r (kind, value, place)""",
)
_OPEN_WORK: Final = Statement(
    "insert_work",
    """INSERT INTO @.open_work AS o (lane, kind, subject, seq, started, command, idempotent)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bigint[], $5::boolean[], $6::bytea[],
        $7::boolean[])
    ON CONFLICT (lane, kind, subject) DO UPDATE SET seq = excluded.seq, started = excluded.started,
        command = excluded.command, idempotent = excluded.idempotent""",
)
_START_WORK: Final = Statement(
    "start_work",
    """UPDATE @.open_work AS o SET started = true FROM unnest($1::bigint[], $2::bytea[]) AS s (lane, subject)
    WHERE o.lane = s.lane AND o.kind = 'command' AND o.subject = s.subject""",
)
_CLOSE_WORK: Final = Statement(
    "close_work",
    """DELETE FROM @.open_work AS o USING unnest($1::bigint[], $2::text[], $3::bytea[]) AS d (lane, kind, subject)
    WHERE o.lane = d.lane AND o.kind = d.kind AND o.subject = d.subject""",
)
_PUT_BASES: Final = Statement(
    "put_bases",
    """INSERT INTO @.snapshots AS s (lane, seq, record_hash, state, state_hash, logic_version)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[])
    ON CONFLICT (lane, seq) DO UPDATE SET record_hash = excluded.record_hash, state = excluded.state,
        state_hash = excluded.state_hash, logic_version = excluded.logic_version""",
)
_DROP_OLDER: Final = Statement(
    "drop_older_snapshots",
    """DELETE FROM @.snapshots AS s USING unnest($1::bigint[], $2::bigint[]) AS b (lane, seq)
    WHERE s.lane = b.lane AND s.seq < b.seq""",
)
_ERASE: Final = Statement(
    "erase",
    """UPDATE @.records AS r SET payload = NULL, salt = NULL
    FROM unnest($1::bigint[], $2::bigint[]) AS e (lane, seq)
    WHERE r.lane = e.lane AND r.seq <= e.seq AND r.payload IS NOT NULL""",
)
_STATE: Final = Statement(
    "lane_states",
    """SELECT l.kind, l.id, l.owner, l.epoch, l.seq, l.hash FROM unnest($1::text[], $2::text[]) AS asked (kind, id)
    JOIN @.lanes AS l ON l.kind = asked.kind AND l.id = asked.id""",
)
_NUMBERS: Final = Statement(
    "lane_numbers",
    """SELECT l.kind, l.id, l.lane FROM unnest($1::text[], $2::text[]) AS asked (kind, id)
    JOIN @.lanes AS l ON l.kind = asked.kind AND l.id = asked.id""",
)
_READ_BACK: Final = Statement(
    "read_back",
    """SELECT r.position >> 16 FROM @.records AS r JOIN @.lanes AS l ON l.lane = r.lane
    WHERE l.kind = $1 AND l.id = $2 AND r.seq = $3::bigint AND r.hash = $4""",
)
_BASES_BACK: Final = Statement(
    "read_bases_back",
    """SELECT coalesce(bool_and(s.state_hash IS NOT NULL AND l.base_seq >= asked.seq), false),
        (SELECT pg_current_xact_id()::text::bigint)
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[]) AS asked (kind, id, seq, state_hash)
    LEFT JOIN @.lanes AS l ON l.kind = asked.kind AND l.id = asked.id
    LEFT JOIN @.snapshots AS s ON s.lane = l.lane AND s.seq = asked.seq AND s.state_hash = asked.state_hash""",
)


def check_held(leases: Leases, commit: Commit) -> Mapping[Lane, Held]:
    """The lanes this opening holds, all of the commit's among them.

    Raises:
        NotWriterError: `lease_lost`: it may not commit to one of them.
    """
    held = leases.held
    for lane in _lanes(commit):
        if lane not in held:
            raise _lost(lane, leases.node)
    return held


async def write(connection: Connection, leases: Leases, commit: Commit, *, offset: int) -> int:
    """Commit; the number.

    Raises:
        NotWriterError: `lease_lost`.
        WrongExpectedSeq: A lane ends elsewhere.
        ValueError: A commit that contradicts itself, or has more records than positions hold: 65 536.
        StatementRefusedError, ConnectionLostError: As `Connection.run`.
    """
    held = check_held(leases, commit)
    if len(commit.records) > 1 << PLACES_BITS:
        raise ValueError(f"a commit of {len(commit.records)} records")
    try:
        answers = await connection.run(*_calls(commit, held, leases.node, offset))
    except StatementRefusedError as refusal:
        if refusal.sqlstate == ASSERTION_FAILED:
            await _explain(connection, leases, commit)
        raise
    return offset + read_int(answers[0].get_value(0, 0))


async def read_back(connection: Connection, leases: Leases, commit: Commit, *, offset: int) -> int | None:
    """The number of a commit whose outcome nobody knows, if it is there; when it is not, it never will be.

    A record's hash tells whose commit it was: it covers a salt of 16 random bytes.
    """
    lanes = sorted(_lanes(commit))
    kinds, ids = text_array([lane.kind for lane in lanes]), text_array([lane.id for lane in lanes])
    (numbers,) = await connection.run((_NUMBERS, (kinds, ids)))
    await leases.fence(connection, [read_int(number) for _, _, number in rows(numbers)])
    if commit.records:
        last = commit.records[-1]
        parameters = (text(last.lane.kind), text(last.lane.id), int8(last.seq), last.hash)
        (found,) = await connection.run((_READ_BACK, parameters))
        return read_int(found.get_value(0, 0)) if found.ntuples else None
    if not commit.bases:
        return None  # to erase what is erased changes nothing
    parameters = (
        text_array([base.lane.kind for base in commit.bases]),
        text_array([base.lane.id for base in commit.bases]),
        int8_array([base.seq for base in commit.bases]),
        bytea_array([base.state_hash for base in commit.bases]),
    )
    (found,) = await connection.run((_BASES_BACK, parameters))
    there, number = rows(found)[0]
    return offset + read_int(number) if there == b"\x01" else None


def _calls(commit: Commit, held: Mapping[Lane, Held], node: str, offset: int) -> list[Call]:
    calls = [_move(commit.heads, held, node)]
    number = {lane: held[lane].number for lane in _lanes(commit)}
    if commit.records:
        calls.append(_insert(commit.records, number, offset))
        if any(record.refs for record in commit.records):
            calls.append(_insert_refs(commit.records, offset))
        calls.extend(_work(commit.records, number))
    if commit.bases:
        calls += _rebase(commit.bases, held, node)
    if commit.erasures:
        lanes = int8_array([number[lane] for lane, _ in commit.erasures])
        calls.append((_ERASE, (lanes, int8_array([seq for _, seq in commit.erasures]))))
    return calls


def _lanes(commit: Commit) -> set[Lane]:
    moved = {move.lane for move in commit.heads}
    return moved.union((base.lane for base in commit.bases), (lane for lane, _ in commit.erasures))


def _move(heads: Sequence[HeadMove], held: Mapping[Lane, Held], node: str) -> Call:
    parameters = (
        text(node),
        int8_array([held[move.lane].number for move in heads]),
        int8_array([held[move.lane].epoch for move in heads]),
        int8_array([move.before.seq for move in heads]),
        bytea_array([move.before.hash for move in heads]),
        int8_array([move.after.seq for move in heads]),
        bytea_array([move.after.hash for move in heads]),
        int8_array([move.after.at for move in heads]),
        int8(len(heads)),
    )
    return _MOVE, parameters


def _rebase(bases: Sequence[Snapshot], held: Mapping[Lane, Held], node: str) -> list[Call]:
    lanes = int8_array([held[base.lane].number for base in bases])
    epochs = int8_array([held[base.lane].epoch for base in bases])
    seqs = int8_array([base.seq for base in bases])
    hashes = bytea_array([base.record_hash for base in bases])
    states = bytea_array([base.state for base in bases])
    digests = bytea_array([base.state_hash for base in bases])
    versions = int8_array([base.logic_version for base in bases])
    return [
        (_REBASE, (text(node), lanes, epochs, seqs, hashes, int8(len(bases)))),
        (_PUT_BASES, (lanes, seqs, hashes, states, digests, versions)),
        (_DROP_OLDER, (lanes, seqs)),
    ]


def _insert(records: Sequence[Sealed], number: Mapping[Lane, int], offset: int) -> Call:
    parameters = (
        int8(offset),
        int8_array([number[record.lane] for record in records]),
        int8_array([record.seq for record in records]),
        bytea_array([record.header for record in records]),
        bytea_array([record.payload for record in records]),
        bytea_array([record.salt for record in records]),
        bytea_array([record.payload_hash for record in records]),
        bytea_array([record.hash for record in records]),
    )
    return _INSERT, parameters


def _insert_refs(records: Sequence[Sealed], offset: int) -> Call:
    flat = [
        (kind.encode(), value.encode(), place)
        for place, record in enumerate(records)
        for kind, value in dict.fromkeys(record.refs)
    ]
    kinds, values, places = zip(*flat, strict=True)
    return _INSERT_REFS, (int8(offset), bytea_array(kinds), bytea_array(values), int8_array(places))


def _work(records: Sequence[Sealed], number: Mapping[Lane, int]) -> list[Call]:
    """What a batch does to unfinished work, as a whole: each subject once, as its last word on it leaves it."""
    opened: dict[tuple[int, str, str], tuple[int, Work, bool]] = {}
    started: dict[tuple[int, str], None] = {}
    closed: dict[tuple[int, str, str], None] = {}
    for record in records:
        if record.work is None:
            continue
        work, lane = record.work, number[record.lane]
        kind = "effect" if work.phase in {"request", "conclusion"} else "command"
        key = (lane, kind, work.subject)
        if work.phase in {"begin", "request"}:
            opened[key] = (record.seq, work, False)
            closed.pop(key, None)
        elif work.phase == "start":
            if key in opened:
                opened[key] = (*opened[key][:2], True)
            else:
                started[lane, work.subject] = None
        else:
            opened.pop(key, None)
            closed[key] = None
    calls: list[Call] = []
    if opened:
        parameters = (
            int8_array([lane for lane, _, _ in opened]),
            text_array([kind for _, kind, _ in opened]),
            bytea_array([subject.encode() for _, _, subject in opened]),
            int8_array([seq for seq, _, _ in opened.values()]),
            boolean_array([has_started for _, _, has_started in opened.values()]),
            bytea_array([work.command.encode() if work.command else None for _, work, _ in opened.values()]),
            boolean_array([work.idempotent for _, work, _ in opened.values()]),
        )
        calls.append((_OPEN_WORK, parameters))
    if started:
        subjects = bytea_array([subject.encode() for _, subject in started])
        calls.append((_START_WORK, (int8_array([lane for lane, _ in started]), subjects)))
    if closed:
        gone = (
            int8_array([lane for lane, _, _ in closed]),
            text_array([kind for _, kind, _ in closed]),
            bytea_array([subject.encode() for _, _, subject in closed]),
        )
        calls.append((_CLOSE_WORK, gone))
    return calls


async def _explain(connection: Connection, leases: Leases, commit: Commit) -> None:
    """Say why an assertion failed: which lane, and what about it."""
    lanes = sorted(_lanes(commit))
    kinds, ids = text_array([lane.kind for lane in lanes]), text_array([lane.id for lane in lanes])
    (answer,) = await connection.run((_STATE, (kinds, ids)))
    found = {(read_text(kind), read_text(name)): rest for kind, name, *rest in rows(answer)}
    for lane in lanes:
        owner, epoch, _, _ = found.get((lane.kind, lane.id), [None] * 4)
        held = leases.held.get(lane)
        if held is None or read_text(owner) != leases.node or read_int(epoch) != held.epoch:
            leases.forget(lane)
            raise _lost(lane, leases.node)
    for move in commit.heads:
        _, _, seq, hash_ = found[move.lane.kind, move.lane.id]
        if (read_int(seq), hash_) != (move.before.seq, move.before.hash):
            raise WrongExpectedSeq(move.lane, expected=move.before.seq, actual=read_int(seq))
    raise ValueError("a base that its lane cannot have")


def _lost(lane: Lane, node: str) -> NotWriterError:
    return NotWriterError(f"node {node} does not own {lane} any more", code="lease_lost", lane=lane)

"""What a store should hold, said as plainly as can be: the model that crashes are judged by."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from web4 import _core
from web4.journal.lane import Lane
from web4.journal.record import Commit, Head, HeadMove, OpenWork, Refs, Sealed, Snapshot, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.backends.backend import Backend


def genesis(journal_id: bytes, lane: Lane) -> Head:
    """The head of a lane that nobody wrote."""
    digest = _core.lane_genesis(journal_id, str(lane))
    return Head(0, digest, 0, 0, digest)


def seal(
    lane: Lane,
    head: Head,
    payloads: Sequence[bytes],
    *,
    at: int = 1,
    refs: Refs = (),
    works: Sequence[Work | None] | None = None,
    salt: bytes = bytes(16),
) -> tuple[list[Sealed], HeadMove]:
    """Records with these payloads behind `head`, and the move of the head."""
    drafts: Any = [(at, None, None, refs, "test.said", 1, payload, salt) for payload in payloads]
    sealed = _core.seal_records(str(lane), head.seq + 1, head.hash, drafts)
    records = [
        Sealed(
            lane, seq, at, header, payload, salt, payload_hash, digest, refs, works[index] if works else None
        )
        for index, ((header, payload_hash, digest), payload, seq) in enumerate(
            zip(sealed, payloads, range(head.seq + 1, head.seq + 1 + len(sealed)), strict=True)
        )
    ]
    after = head._replace(seq=records[-1].seq, hash=records[-1].hash, at=at)
    return records, HeadMove(lane, head, after)


def one_commit(*parts: tuple[list[Sealed], HeadMove]) -> Commit:
    """A commit of what `seal` made for several lanes."""
    ordered = sorted(parts, key=lambda part: part[1].lane)
    return Commit([record for records, _ in ordered for record in records], [move for _, move in ordered])


@dataclass
class ModelLane:
    """One lane: every record it ever had, and what of it is still there."""

    head: Head
    records: list[Sealed] = field(default_factory=list)
    erased: int = 0
    snapshots: dict[int, Snapshot] = field(default_factory=dict)


@dataclass
class Model:
    """A store as it should be. Only grows; `copy.deepcopy` makes a twin."""

    journal_id: bytes
    lanes: dict[Lane, ModelLane] = field(default_factory=dict)
    work: dict[tuple[Lane, str, str], OpenWork] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def twin(self) -> Model:
        """A copy that goes its own way."""
        other = Model(self.journal_id, {}, dict(self.work), dict(self.blobs))
        for lane, known in self.lanes.items():
            other.lanes[lane] = ModelLane(
                known.head, list(known.records), known.erased, dict(known.snapshots)
            )
        return other

    def head(self, lane: Lane) -> Head:
        """Where a lane ends."""
        known = self.lanes.get(lane)
        return known.head if known else genesis(self.journal_id, lane)

    def apply(self, commit: Commit) -> None:
        """Take a commit in."""
        for move in commit.heads:
            known = self.lanes.setdefault(move.lane, ModelLane(move.before))
            assert known.head.seq == move.before.seq
            known.head = known.head._replace(seq=move.after.seq, hash=move.after.hash, at=move.after.at)
        for record in commit.records:
            self.lanes[record.lane].records.append(record)
            if record.work is not None:
                self._move(record, record.work)
        for base in commit.bases:
            known = self.lanes[base.lane]
            known.head = known.head._replace(base_seq=base.seq, base_hash=base.record_hash)
            known.snapshots = {seq: one for seq, one in known.snapshots.items() if seq > base.seq}
            known.snapshots[base.seq] = base
        for lane, seq in commit.erasures:
            self.lanes[lane].erased = max(self.lanes[lane].erased, seq)

    def _move(self, record: Sealed, work: Work) -> None:
        kind = "effect" if work.phase in {"request", "conclusion"} else "command"
        key = (record.lane, kind, work.subject)
        if work.phase in {"begin", "request"}:
            self.work[key] = OpenWork(
                record.lane,
                record.seq,
                "effect" if kind == "effect" else "command",
                work.subject,
                False,
                work.command,
                work.idempotent,
            )
        elif work.phase == "start":
            if key in self.work:
                self.work[key] = self.work[key]._replace(started=True)
        else:
            self.work.pop(key, None)


async def difference(backend: Backend, model: Model) -> str | None:
    """The first thing in which a store is not as its model says; None if there is none."""
    heads = dict(await backend.heads(limit=10_000))
    expected = {lane: known.head for lane, known in model.lanes.items()}
    if heads != expected:
        return f"heads: {heads} instead of {expected}"
    for lane, known in model.lanes.items():
        base = known.head.base_seq
        records = await backend.read(lane, after=0, limit=10_000)
        if [record.seq for record in records] != list(range(base + 1, known.head.seq + 1)):
            return f"{lane}: numbers {[record.seq for record in records]}"
        for record, sealed in zip(records, known.records[base:], strict=True):
            payload, salt = (None, None) if record.seq <= known.erased else (sealed.payload, sealed.salt)
            if (record.header, record.payload, record.salt, record.payload_hash, record.hash) != (
                sealed.header,
                payload,
                salt,
                sealed.payload_hash,
                sealed.hash,
            ):
                return f"{lane} {record.seq}: another record"
        chain = [(one.header, one.payload, one.salt, one.payload_hash, one.hash) for one in records]
        if _core.first_broken_record(known.head.base_hash, chain) is not None:
            return f"{lane}: a broken chain"
        found = {one.seq: one for one in await backend.snapshots(lane)}
        if found != known.snapshots:
            return f"{lane}: snapshots {sorted(found)} instead of {sorted(known.snapshots)}"
    return await _difference_of_all(backend, model)


async def _difference_of_all(backend: Backend, model: Model) -> str | None:
    history = await backend.scan(limit=100_000)
    order = [(record.commit, record.lane, record.seq) for record in history]
    if order != sorted(order) or len(history) != sum(
        known.head.seq - known.head.base_seq for known in model.lanes.values()
    ):
        return "history out of order, or of another length"
    by_ref: dict[tuple[str, str], list[int]] = {}
    for record in history:
        for ref in record.refs:
            by_ref.setdefault(ref, []).append(record.position)
    for ref, positions in by_ref.items():
        if [record.position for record in await backend.find(ref, limit=100_000)] != positions:
            return f"{ref}: not all of its records"
    work = await backend.open_work(limit=10_000)
    if work != sorted(model.work.values(), key=lambda one: (one.lane, one.seq)):
        return f"open work: {work} instead of {list(model.work.values())}"
    for name, data in model.blobs.items():
        if await backend.blob(name) != data:
            return f"{name}: another blob"
    return None


LANES = (Lane("server"), Lane("knowledge"), Lane("session", "a"), Lane("session", "b"), Lane("peer", "c"))


class Chooser:
    """Draws what happens next. Every payload is unlike any other, so that it can be searched for."""

    def __init__(self, seed: object) -> None:
        self.random = random.Random(str(seed))
        self._drawn = 0

    def payload(self) -> bytes:
        """A payload of its own."""
        self._drawn += 1
        text = f"{self._drawn:08d}" + "x" * self.random.choice((0, 20, 200, 5000))
        return b'{"text":"' + text.encode() + b'"}'

    def append(self, model: Model) -> Commit:
        """Records on one to three lanes."""
        parts = []
        for lane in self.random.sample(LANES, self.random.choice((1, 1, 2, 3))):
            count = self.random.choice((1, 1, 2, 5, 40))
            works = [self._work(model, lane, index) for index in range(count)]
            refs: Refs = self.random.choice(
                ((), (("session", "s1"),), (("command", "c1"), ("session", "s2")))
            )
            salt = self.random.randbytes(16)
            payloads = [self.payload() for _ in range(count)]
            parts.append(seal(lane, model.head(lane), payloads, refs=refs, works=works, salt=salt))
        return one_commit(*parts)

    def _work(self, model: Model, lane: Lane, index: int) -> Work | None:
        if self.random.random() < 0.5:
            return None
        phase = self.random.choice(("begin", "start", "end", "request", "conclusion"))
        return Work(phase, f"w{self.random.randrange(6)}-{index}", "c1", self.random.random() < 0.5)  # type: ignore[arg-type]

    def snapshot(self, model: Model, lane: Lane) -> Snapshot:
        """A snapshot somewhere above the lane's base."""
        known = model.lanes[lane]
        seq = self.random.randint(known.head.base_seq + 1, known.head.seq)
        state = b'{"seq":%d,"pad":"%s"}' % (seq, b"s" * self.random.choice((0, 9000)))
        return Snapshot.of(lane, seq, known.records[seq - 1].hash, state, 1)

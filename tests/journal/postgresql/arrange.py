"""Commits made by hand: what the journal's front would give to a backend."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from web4 import _core
from web4.journal.record import Commit, Head, HeadMove, Refs, Sealed, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.backends.backend import Backend
    from web4.journal.lane import Lane

SAFETY = 60.0


def sealed(
    lane: Lane,
    before: Head,
    payloads: Sequence[bytes],
    *,
    at: int = 1_000,
    refs: Refs = (),
    works: Sequence[Work | None] = (),
) -> tuple[list[Sealed], HeadMove]:
    """Records that follow `before`, and the move of the head."""
    salts = [os.urandom(16) for _ in payloads]
    drafts = [
        (at, None, None, refs, "test.happened", 1, payload, salt)
        for payload, salt in zip(payloads, salts, strict=True)
    ]
    results = _core.seal_records(str(lane), before.seq + 1, before.hash, drafts)  # type: ignore[arg-type]
    records = [
        Sealed(
            lane,
            before.seq + 1 + index,
            at,
            header,
            payloads[index],
            salts[index],
            payload_hash,
            hash_,
            refs,
            works[index] if works else None,
        )
        for index, (header, payload_hash, hash_) in enumerate(results)
    ]
    after = before._replace(seq=records[-1].seq, hash=records[-1].hash, at=at)
    return records, HeadMove(lane, before, after)


def commit_of(*parts: tuple[Sequence[Sealed], HeadMove]) -> Commit:
    """One commit of several lanes' records."""
    ordered = sorted(parts, key=lambda part: part[1].lane)
    return Commit([record for records, _ in ordered for record in records], [move for _, move in ordered])


async def append(backend: Backend, lane: Lane, before: Head, *payloads: bytes) -> Head:
    """Commit payloads to one lane; where it ends then."""
    records, move = sealed(lane, before, payloads)
    await backend.commit(commit_of((records, move)))
    return move.after

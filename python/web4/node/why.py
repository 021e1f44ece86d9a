"""Why it is as it is: of a message, a peer's trust or a claim, the events that decided it (OBS-7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from web4.journal.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from web4.foundation.events import Event
    from web4.journal.backends.backend import Backend
    from web4.journal.event_types import EventRegistry
    from web4.journal.record import Record

_REFS: Final = ("about", "claim", "decision")
_PAGE: Final = 250
_REFUSING: Final = (
    "envelope_rejected", "envelope_unhandled", "envelope_concluded", "envelope_routed", "intent_deferred",
    "gate_result", "hook_veto", "task_cancelled", "mesh_dropped", "error",
)  # fmt: skip
"""Events of a message that say what became of it. A message that was refused before its lane has nothing else."""


@dataclass(frozen=True, slots=True)
class Because:
    """One of the events that decided.

    Args:
        at_ms: When, Unix milliseconds.
        type: An event type of a lane, or of OBS-2.
        lane: Of what is in the journal: where it stands.
        seq: Its number on that lane; in the ring its number on this node.
        event: What is recorded, or the payload as the hub's redaction left it; None if it was erased.
    """

    at_ms: int
    type: str
    lane: Lane | None
    seq: int
    event: Any


async def why(
    backend: Backend,
    registry: EventRegistry,
    about: str,
    *,
    memory: Iterable[Event] = (),
    limit: int = 100,
) -> list[Because]:
    """The newest events that decided on `about`, oldest first.

    Args:
        backend: An open store; that of a running node, too.
        registry: The event types of its lanes.
        about: A `msg_id`, a peer's fingerprint, a claim's key, or the id of a decision.
        memory: The newest events of a running node: `hub.memory`. It alone knows of messages that were refused.
        limit: At most so many of the journal's, and of the ring's.

    Raises:
        CorruptJournalError: A record cannot be read.
    """
    found: dict[tuple[Lane, int], Record] = {}
    for ref in _REFS:
        for record in await backend.find((ref, about), limit=limit, reverse=True):
            found[record.lane, record.seq] = record
    if len(about) == 64:
        for record in await _trust_log(backend, Lane("peer", about), limit):
            found[record.lane, record.seq] = record
    kept = sorted(found.values(), key=lambda one: (one.at, one.position))[-limit:]
    told = [
        Because(one.at, one.type, one.lane, one.seq, None if one.erased else registry.decode(one))
        for one in kept
    ]
    seen = list(_seen(memory, about))[-limit:]
    return sorted((*told, *seen), key=lambda one: one.at_ms)


async def _trust_log(backend: Backend, lane: Lane, limit: int) -> list[Record]:
    """The newest entries of a peer's trust log, looked for among the lane's newest 10 000 records."""
    found: list[Record] = []
    before: int | None = None
    for _ in range(40):
        page = await backend.read(lane, limit=_PAGE, reverse=True, before=before)
        found += [record for record in page if record.type == "trust.recorded"]
        if len(page) < _PAGE or len(found) >= limit:
            break
        before = page[-1].seq
    return found[:limit]


def _seen(memory: Iterable[Event], about: str) -> Iterator[Because]:
    for event in memory:
        refused = event.msg_id == about and event.type in _REFUSING
        of_trust = event.peer == about and event.type.startswith("trust_")
        of_claim = event.type.startswith("claim_") and event.payload.get("key") == about
        if refused or of_trust or of_claim:
            at_ms = int(datetime.fromisoformat(event.ts).timestamp() * 1_000)
            yield Because(at_ms, event.type, None, event.seq, dict(event.payload))

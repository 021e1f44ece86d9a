"""How far peers are trusted, and why: `trust_ls`, `trust_show`, `trust_why` (UX-10, TRUST-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from web4.doors.control.commands import Nothing
from web4.doors.views.naming import peers_of
from web4.journal.lane import Lane
from web4.trust import TrustLogic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.views.reading import Reading
    from web4.journal.record import Record
    from web4.trust import TrustEvent, TrustRecord

RECORDED: Final = "trust.recorded"
PAGE: Final = 2_000
"""Records of a lane that one answer looks at: at most one event each."""


class WhichPeer(msgspec.Struct, frozen=True):
    """The payload of `trust_show`: a peer, however it is named."""

    peer: str


class WhyPeer(msgspec.Struct, frozen=True):
    """The payload of `trust_why`.

    Args:
        peer: However it is named.
        after: Number of the record on its lane after which to begin; the `next` of the page before.
        moved: Only what changed the state.
    """

    peer: str
    after: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    moved: bool = False


async def trust_ls(reading: Reading, _: Nothing) -> Mapping[str, Any]:
    """`{peers: [row], unreadable: [lane]}`, by name and fingerprint."""
    peers = await peers_of(reading)
    records = await reading.trust()
    rows = [trust_row(one, record, peers.alias(one)) for one, record in records.items()]
    rows.sort(key=lambda row: (row["name"] is None, row["name"] or "", row["fingerprint"]))
    return {"peers": rows, "unreadable": sorted(reading.unreadable)}


async def trust_show(reading: Reading, asked: WhichPeer) -> Mapping[str, Any]:
    """A row, with all that is held about the peer."""
    peers = await peers_of(reading)
    peer = peers.find(asked.peer)
    record = await reading.trust_of(peer)
    return {
        **trust_row(peer, record, peers.alias(peer)),
        "cooldown_ms": TrustLogic().cooldown_left_ms(record, reading.now_ms()),
        "demotions": record.demotions,
        "grave_conflicts": record.grave_conflicts,
        "unverifiable": len(record.unverifiable_at_ms),
        "evidence_bytes": record.evidence_bytes,
        "counts": {name: record.counts[name] for name in sorted(record.counts)},
    }


def trust_row(peer: str, record: TrustRecord, alias: str | None) -> dict[str, Any]:
    """A peer in brief.

    Args:
        peer: Its fingerprint.
        record: What its lane says.
        alias: What the operator calls it.
    """
    return {
        "fingerprint": peer,
        "name": alias,
        "state": record.state,
        "since_seq": record.seq,
        "at_ms": record.at_ms or None,
        "handshaken": record.handshaken,
        "introducer": record.introducer,
        "revoked": record.revoked,
    }


async def trust_why(reading: Reading, asked: WhyPeer) -> Mapping[str, Any]:
    """A page of the peer's trust log, oldest first, as its lane has it: the same while it runs and at rest.

    `{fingerprint, name, state, compacted, events, next}`. `compacted` is the number of the last record that is
    not kept any more, 0 if all are; `next` is where the next page begins, None at the end.
    """
    peers = await peers_of(reading)
    peer = peers.find(asked.peer)
    lane = Lane("peer", peer)
    head = await reading.journal.head(lane)
    after = max(asked.after, head.base_seq)
    records = [] if after >= head.seq else await reading.journal.read(lane, after=after, limit=PAGE)
    end = records[-1].seq if records else head.seq
    events = [_told(reading, one) for one in records if one.type == RECORDED]
    record = await reading.trust_of(peer)
    return {
        "fingerprint": peer,
        "name": peers.alias(peer),
        "state": record.state,
        "compacted": head.base_seq,
        "events": [one for one in events if not asked.moved or one["moved"] is not False],
        "next": end if end < head.seq else None,
    }


def _told(reading: Reading, record: Record) -> dict[str, Any]:
    """One record of the trust log. Of one whose payload was erased only place and time are known."""
    told: dict[str, Any] = {"lane_seq": record.seq, "at_ms": record.at, "moved": None}
    if record.erased:
        return told
    event: TrustEvent = reading.journal.registry.decode(record)
    evidence = [
        {"kind": one.kind, "blake3": one.blake3, "msg_id": one.msg_id, "kept": one.blob is not None}
        for one in event.evidence
    ]
    return told | {
        "seq": event.seq,
        "at_ms": event.at_ms,
        "from": event.from_,
        "to": event.to,
        "moved": event.moved,
        "event": event.event,
        "reason": event.reason,
        "actor": event.actor,
        "cooldown_until_ms": event.cooldown_until_ms,
        "evidence": evidence,
    }


QUESTIONS: Final = {
    "trust_ls": (Nothing, trust_ls),
    "trust_show": (WhichPeer, trust_show),
    "trust_why": (WhyPeer, trust_why),
}

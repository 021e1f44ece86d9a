"""What a lane records of its fetches: each is requested, concluded once, and if a peer asked, answered (FETCH-1)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from web4.journal.event_types import EventType
from web4.protocols.lip.fetching.record import FetchRecord, Hop

FetchOutcome = Literal["ok", "refused", "failed"]
"""`refused`: a rule of this node, or of the host's robots.txt; `failed`: everything else."""


class Asker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The peer whose LIP_FETCH it is. Ids of answers are chosen before: sent again, they are the same messages.

    Args:
        peer: Its fingerprint.
        msg_id: Of the LIP_FETCH.
        corr_id: Its conversation, if it named one.
        reply_id: The `msg_id` that the REPLY gets.
        evidence_id: The `msg_id` that the LIP_EVIDENCE gets.
    """

    peer: str
    msg_id: str
    corr_id: str | None
    reply_id: str
    evidence_id: str


class FetchRequested(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URI is to be fetched. Durable before a packet is sent; done again after a crash (FETCH-1).

    Args:
        fetch_id: Unique in the lane; begins with `fetch:`.
        uri: As it was given.
        constraints: As they were given (FETCH-2).
        asker: The peer that asked; None for this node itself.
        claim: The key of the claim that is checked again (LIP-6); None otherwise.
        idempotent: Always true.
    """

    fetch_id: str
    uri: str
    constraints: tuple[str, ...]
    asker: Asker | None = None
    claim: str | None = None
    idempotent: bool = True


class FetchConcluded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a fetch ended (FETCH-10).

    Args:
        fetch_id: Which.
        outcome: See `FetchOutcome`.
        code: Of the error; None when it is `ok`.
        reason: The error's sentence.
        field: What the error is about, if it says so.
        record: Of an `ok`.
        hops: The answers that came before it failed; of an `ok` they are in the record.
        exceptions: Of FETCH-11 that were used, also by a fetch that failed.
        body_blake3: Of an `ok`, to be found by.
        claim: As it was requested.
    """

    fetch_id: str
    outcome: FetchOutcome
    code: str | None
    reason: str | None
    field: str | None
    record: FetchRecord | None
    hops: tuple[Hop, ...]
    exceptions: tuple[str, ...]
    body_blake3: str | None
    claim: str | None


class AnswerRequested(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The peer that asked is to be told. Done again after a crash, with the same ids: the outbox knows them.

    Args:
        answer_id: Unique in the lane; begins with `fetch:`.
        asker: Whom to tell.
        concluded: What.
        idempotent: Always true.
    """

    answer_id: str
    asker: Asker
    concluded: FetchConcluded
    idempotent: bool = True


class AnswerConcluded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answers are queued for the peer, or will never be: `code` says why."""

    answer_id: str
    code: str | None


FETCH_EVENTS: Final = (
    EventType(
        name="lip.fetch_requested",
        struct=FetchRequested,
        classes={
            "fetch_id": "structural",
            "uri": "retainable",
            "constraints": "retainable",
            "asker": "structural",
            "claim": "structural",
            "idempotent": "structural",
        },
        phase="request",
        subject="fetch_id",
        idempotent="idempotent",
        refs={"claim": "claim"},
    ),
    EventType(
        name="lip.fetch_concluded",
        struct=FetchConcluded,
        classes={
            "fetch_id": "structural",
            "outcome": "structural",
            "code": "structural",
            "reason": "retainable",
            "field": "structural",
            "record": "retainable",
            "hops": "retainable",
            "exceptions": "structural",
            "body_blake3": "structural",
            "claim": "structural",
        },
        phase="conclusion",
        subject="fetch_id",
        refs={"evidence": "body_blake3", "claim": "claim", "fetch": "outcome"},
    ),
    EventType(
        name="lip.answer_requested",
        struct=AnswerRequested,
        classes={
            "answer_id": "structural",
            "asker": "structural",
            "concluded": "retainable",
            "idempotent": "structural",
        },
        phase="request",
        subject="answer_id",
        idempotent="idempotent",
    ),
    EventType(
        name="lip.answer_concluded",
        struct=AnswerConcluded,
        classes={"answer_id": "structural", "code": "structural"},
        phase="conclusion",
        subject="answer_id",
    ),
)
"""Every event type of a lane that fetches. A lane made of more than that adds them to its own."""

"""Decision records (MEM-1): what a lane decided, between what, why, and what came of it.

Every accept, reject or dispute of a claim, accept or defer of an intent, trust change and human act writes one
`DecisionRecord` on the lane that decides, in the same batch as the events that carry the decision out. What came of it
follows as a `DecisionOutcome`. Lanes are hash-chained, so records are too. Any lane's definition may add
`DECISION_EVENTS` to its own events; the state of the lane need not know of them.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from web4 import _core
from web4.foundation.digest import blake3_hex, canonical
from web4.journal.event_types import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_ITEMS: Final = 16
"""Alternatives, reasons and pieces of evidence that a record keeps of each."""
MOST_TEXT: Final = 512
"""Characters of each text that a record keeps."""
MOST_CONTEXT: Final = 8_192
"""Canonical bytes of a context; of a larger one its BLAKE3 and its size are kept."""

DecisionKind = Literal["claim", "intent", "trust", "human"]
"""What was decided on: a claim, an intent, a peer's trust, or what a human did."""

_Text = Annotated[str, Meta(max_length=MOST_TEXT)]
_Word = Annotated[str, Meta(min_length=1, max_length=MOST_TEXT)]
_Ref = Annotated[str, Meta(min_length=1, max_length=256)]


class DecisionEvidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a decision rests on.

    Args:
        kind: `envelope` (a `msg_id`, or the BLAKE3 of its bytes), `claim` (its key), `decision`, `memory` (a record of
            causal memory), `fetch` (the BLAKE3 of a body) or `human` (who).
        ref: Which one.
    """

    kind: Literal["envelope", "claim", "decision", "memory", "fetch", "human"]
    ref: _Ref


class DecisionState(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """How things stood when it was decided; what the deciding lane does not know is None.

    Args:
        trust: Of the peer concerned.
        presence: Of this node.
        lri: Load of this node, 0 to 100.
    """

    trust: Literal["unknown", "untrusted", "probing", "trusted", "blacklisted"] | None = None
    presence: Literal["focused", "diffuse", "overloaded", "engaged"] | None = None
    lri: Annotated[int, Meta(ge=0, le=100)] | None = None


class DecisionRecord(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One decision (MEM-1). Make it with `decision_record`, which keeps it within its bounds.

    Args:
        decision_id: A UUID that came with the command, or was derived from what came (`derive_decision_id`). It joins
            this record, the `dmp_trace` of messages, and edges of causal memory.
        kind: What was decided on.
        about: Which one: a claim's key, a `msg_id`, a fingerprint, a human's id.
        choice: What was chosen: `accepted`, `deferred`, `trusted`, or a human's own words.
        alternatives: What could have been chosen instead.
        reasons: Why: code words first, then words.
        context: What else was known; JSON.
        evidence: What it rests on.
        state: How things stood.
        actor: Who decided: `node`, a rule, or a named human.
        at_ms: When, Unix milliseconds.
    """

    decision_id: Annotated[str, Meta(min_length=36, max_length=36)]
    kind: DecisionKind
    about: _Ref
    choice: _Word
    alternatives: Annotated[tuple[_Text, ...], Meta(max_length=MOST_ITEMS)] = ()
    reasons: Annotated[tuple[_Text, ...], Meta(max_length=MOST_ITEMS)] = ()
    context: dict[str, Any] = {}
    evidence: Annotated[tuple[DecisionEvidence, ...], Meta(max_length=MOST_ITEMS)] = ()
    state: DecisionState = DecisionState()
    actor: _Word = "node"
    at_ms: int


class DecisionOutcome(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What came of a decision, on the lane that holds its record. Make it with `decision_outcome`.

    Args:
        decision_id: Of its record.
        outcome: What came of it, in a word or a few.
        success: Whether it turned out well; None if that cannot be said.
        detail: What else there is to say; JSON.
        at_ms: When it was known, Unix milliseconds.
    """

    decision_id: Annotated[str, Meta(min_length=36, max_length=36)]
    outcome: _Word
    success: bool | None = None
    detail: dict[str, Any] = {}
    at_ms: int


DECISION_EVENTS: Final = (
    EventType(
        name="decision.made",
        struct=DecisionRecord,
        classes={
            **dict.fromkeys(("decision_id", "kind", "about", "state", "at_ms"), "structural"),
            # What people and peers put in words, and names of people.
            **dict.fromkeys(
                ("choice", "alternatives", "reasons", "context", "evidence", "actor"), "retainable"
            ),
        },
        refs={"decision": "decision_id", "about": "about"},
    ),
    EventType(
        name="decision.outcome",
        struct=DecisionOutcome,
        classes={
            **dict.fromkeys(("decision_id", "success", "at_ms"), "structural"),
            **dict.fromkeys(("outcome", "detail"), "retainable"),
        },
        refs={"decision": "decision_id"},
    ),
)
"""The event types of decisions, for any lane: history finds them by `decision`, records also by `about`."""


def decision_record(
    *,
    decision_id: str,
    kind: DecisionKind,
    about: str,
    choice: str,
    at_ms: int,
    alternatives: Iterable[str] = (),
    reasons: Iterable[str] = (),
    context: dict[str, Any] | None = None,
    evidence: Iterable[DecisionEvidence] = (),
    state: DecisionState | None = None,
    actor: str = "node",
) -> DecisionRecord:
    """Make a record that every journal takes: texts and lists are cut to their bounds. Pure.

    See `DecisionRecord` for the arguments.

    Raises:
        ValueError: The context has no canonical form.
    """
    return DecisionRecord(
        decision_id=decision_id,
        kind=kind,
        about=about[:256],
        choice=_cut(choice),
        alternatives=tuple(_cut(one) for one in tuple(alternatives)[:MOST_ITEMS]),
        reasons=tuple(_cut(one) for one in tuple(reasons)[:MOST_ITEMS]),
        context=_kept(context or {}),
        evidence=tuple(evidence)[:MOST_ITEMS],
        state=state or DecisionState(),
        actor=_cut(actor),
        at_ms=at_ms,
    )


def decision_outcome(
    *,
    decision_id: str,
    outcome: str,
    at_ms: int,
    success: bool | None = None,
    detail: dict[str, Any] | None = None,
) -> DecisionOutcome:
    """Make an outcome that every journal takes. Pure. See `DecisionOutcome` for the arguments.

    Raises:
        ValueError: The detail has no canonical form.
    """
    return DecisionOutcome(
        decision_id=decision_id,
        outcome=_cut(outcome),
        success=success,
        detail=_kept(detail or {}),
        at_ms=at_ms,
    )


def derive_decision_id(*parts: str) -> str:
    """Give the UUID (version 8) that `parts` stand for: the same parts, the same id.

    For a lane that takes several decisions on one command: the id that came with the command, and what each is about.
    """
    return str(uuid.UUID(bytes=_version_8(_core.blake3(canonical(parts))[:16])))


def _version_8(digest: bytes) -> bytes:
    """Set version and variant as RFC 9562 wants them of a UUID whose other bits are its maker's own."""
    octets = bytearray(digest)
    octets[6] = (octets[6] & 0x0F) | 0x80
    octets[8] = (octets[8] & 0x3F) | 0x80
    return bytes(octets)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"


def _kept(context: dict[str, Any]) -> dict[str, Any]:
    data = canonical(context)
    if len(data) <= MOST_CONTEXT:
        return context
    return {"blake3": blake3_hex(data), "bytes": len(data)}

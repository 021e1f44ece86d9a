"""Social trust: how far a human here and one at a peer have come with each other (HCP-8). Pure.

A scale of its own: it never moves a peer's trust (TRUST-9). It is kept per remote human, for each human here that the
remote one has to do with: what one person withdraws does not close the door of another.
"""

# ruff: noqa: E501 - a table is read by its columns

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

SocialState = Literal["untrusted", "probing", "trusted", "restricted"]
SocialEvent = Literal["hellos", "validated", "misunderstood", "revoked", "regranted"]
Cause = Literal["local", "remote", "act"]
"""Why a relation is restricted: consent revoked here, consent revoked there, or the human here said so."""

# fmt: off
TABLE: Final[dict[SocialEvent, dict[SocialState, SocialState]]] = {
    #                                   untrusted                 probing                   trusted                   restricted
    "hellos":        {"untrusted": "probing",    "probing": "probing",    "trusted": "trusted",    "restricted": "restricted"},
    "validated":     {"untrusted": "untrusted",  "probing": "trusted",    "trusted": "trusted",    "restricted": "restricted"},
    "misunderstood": {"untrusted": "untrusted",  "probing": "probing",    "trusted": "probing",    "restricted": "restricted"},
    "revoked":       {"untrusted": "restricted", "probing": "restricted", "trusted": "restricted", "restricted": "restricted"},
    "regranted":     {"untrusted": "untrusted",  "probing": "probing",    "trusted": "trusted",    "restricted": "probing"},
}
# fmt: on
"""Where each event leads from each state. Nothing else changes it."""

SIGNALS: Final = frozenset({"HCP_HELLO", "HCP_STATE_UPDATE"})
"""What says how a human is and asks nothing of one."""
ALWAYS: Final = SIGNALS | {"HCP_FEEDBACK"}
"""What stays allowed after a revocation (HCP-3)."""
ALLOWED: Final[dict[SocialState, frozenset[str]]] = {
    "untrusted": ALWAYS,
    "restricted": ALWAYS,
    "probing": ALWAYS | {"HCP_INTENT", "HCP_CONTEXT"},
    "trusted": ALWAYS | {"HCP_INTENT", "HCP_CONTEXT", "HCP_DECISION"},
}
"""The types that each state allows; the others are DENY(social_trust)."""

GOOD: Final = 70
"""Satisfaction from which on a feedback without corrections validates."""
BAD: Final = 40
"""Satisfaction below which a feedback is a misunderstanding; corrections make any feedback one."""
WITHIN_MS: Final = 86_400_000
"""Two misunderstandings within this time demote."""
MOST_MARKS: Final = 64
"""Intents whose feedback is remembered while one side's is missing; the oldest are forgotten."""

Mark = Literal["local", "remote"]


class Relation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One remote human and one here.

    Args:
        state: See `SocialState`.
        hello_said: Whether HCP_HELLO was sent for the human here.
        hello_heard: Whether one came.
        restricted_by: Why it is restricted; empty otherwise.
        marks: Intents and the side whose validating feedback is there while the other's is not, oldest first.
        bad_ms: When a misunderstanding was last noticed that has not been paired.
    """

    state: SocialState = "untrusted"
    hello_said: bool = False
    hello_heard: bool = False
    restricted_by: tuple[Cause, ...] = ()
    marks: tuple[tuple[str, Mark], ...] = ()
    bad_ms: int | None = None

    @property
    def acquainted(self) -> bool:
        """Whether either has said hello."""
        return self.hello_said or self.hello_heard


def moved(relation: Relation, event: SocialEvent) -> Relation:
    """The relation after one event of the table."""
    return msgspec.structs.replace(relation, state=TABLE[event][relation.state])


def greeted(relation: Relation, *, by: Mark) -> Relation:
    """After an HCP_HELLO of one side; with both the relation may be probed."""
    said = relation.hello_said or by == "local"
    heard = relation.hello_heard or by == "remote"
    relation = msgspec.structs.replace(relation, hello_said=said, hello_heard=heard)
    return moved(relation, "hellos") if said and heard else relation


def rated(
    relation: Relation, *, by: Mark, intent: str, satisfaction: int, corrected: bool, at_ms: int
) -> Relation:
    """After an HCP_FEEDBACK of one side."""
    if satisfaction < BAD or corrected:
        return _misunderstood(relation, intent, at_ms)
    # Feedback on what happened before a restriction ended must not lift anybody after it.
    if satisfaction < GOOD or relation.state in {"untrusted", "restricted"}:
        return relation
    other = dict(relation.marks).get(intent)
    marks = _without(relation, intent)
    if other not in {None, by}:
        return moved(msgspec.structs.replace(relation, marks=marks), "validated")
    return msgspec.structs.replace(relation, marks=(*marks, (intent, by))[-MOST_MARKS:])


def _misunderstood(relation: Relation, intent: str, at_ms: int) -> Relation:
    marks = _without(relation, intent)
    before = relation.bad_ms
    if before is None or at_ms - before > WITHIN_MS:
        return msgspec.structs.replace(relation, marks=marks, bad_ms=at_ms)
    # The second has had its effect: the next demotion takes two more.
    return moved(msgspec.structs.replace(relation, marks=marks, bad_ms=None), "misunderstood")


def restricted(relation: Relation, *, by: Cause) -> Relation:
    """After consent was revoked on either side, or the human here closed the door."""
    causes = tuple(sorted({*relation.restricted_by, by}))
    return moved(msgspec.structs.replace(relation, restricted_by=causes, marks=(), bad_ms=None), "revoked")


def regranted(relation: Relation, causes: Iterable[Cause]) -> Relation:
    """After an act of the human here took back these causes; with the last one the restriction ends (HCP-4)."""
    if not relation.restricted_by:
        return relation
    left = tuple(sorted(set(relation.restricted_by) - set(causes)))
    relation = msgspec.structs.replace(relation, restricted_by=left)
    return relation if left else moved(relation, "regranted")


def _without(relation: Relation, intent: str) -> tuple[tuple[str, Mark], ...]:
    return tuple(mark for mark in relation.marks if mark[0] != intent)

"""What may be done for, or sent to, a human: the table of HCP-1, as data. Pure.

Both humans are looked at, the one here and the one at the peer. Every row that holds for either is a reason; the
strictest result wins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec

from web4.protocols.gates import GATES
from web4.protocols.hcp.scope import in_scope, standing
from web4.protocols.hcp.social import ALLOWED, SIGNALS, SocialState
from web4.protocols.hcp.values import PACE_MS, Facts
from web4.trust import TrustState

Result = Literal["DENY", "DEFER", "CHECK_IN", "SLOW", "ALLOW"]
STRICTNESS: Final[tuple[Result, ...]] = ("DENY", "DEFER", "CHECK_IN", "SLOW", "ALLOW")
"""Strictest first."""
Whose = Literal["local", "remote", "both"]

PRESSED: Final = 80
"""Pressure from which on it is high."""
UNCLEAR: Final = 30
"""Clarity up to which it is low."""
DEFER_MS: Final = 60_000
"""When to ask again of a human who is overloaded; nobody knows better."""


class Reason(msgspec.Struct, frozen=True):
    """Why the gate says what it says: a code word, and on whose account."""

    code: str
    whose: Whose


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the gate says, with its reasons.

    Args:
        result: The strictest that applies.
        reasons: Of that result, in the order of the table; none with ALLOW.
        slow: Whether SLOW applies too: one that was checked in passes at that pace.
        retry_after_ms: With DEFER: earliest sensible time to ask again.
        interval_ms: With SLOW: one message in that time.
    """

    result: Result
    reasons: tuple[Reason, ...] = ()
    slow: tuple[Whose, ...] = ()
    retry_after_ms: int | None = None
    interval_ms: int | None = None

    @property
    def code(self) -> str:
        """The first reason's word; empty with ALLOW."""
        return self.reasons[0].code if self.reasons else ""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate is asked.

    Args:
        type: The message's type; work for a human is asked for as `HCP_INTENT`.
        topic: What it is about; None if nobody knows.
        trust: How far the peer is trusted.
        social: How far the remote human is, by the one here (HCP-8).
        local: The human here.
        remote: The one at the peer.
        now_ms: Unix milliseconds.
        confirm: Whether it decides something in a human's place, so that the human must say yes first (HCP-10).
        answered: Whether the human was asked, and said yes.
    """

    type: str
    topic: str | None
    trust: TrustState
    social: SocialState
    local: Facts
    remote: Facts
    now_ms: int
    confirm: bool = False
    answered: bool = False


_Holds = Callable[[Facts, Question], bool]


def _consent(wanted: str | None) -> _Holds:
    return lambda facts, asked: standing(facts, asked.now_ms) == wanted


def _out_of_scope(facts: Facts, asked: Question) -> bool:
    return standing(facts, asked.now_ms) == "limited" and not in_scope(facts.scope, asked.topic)


def _peer_trust(_: Facts, asked: Question) -> bool:
    return GATES[asked.type][asked.trust] in {"no", "drop"}


def _social_trust(_: Facts, asked: Question) -> bool:
    return asked.type not in ALLOWED[asked.social]


def _overloaded(facts: Facts, _: Question) -> bool:
    return facts.said.presence == "overloaded"


def _pressed(facts: Facts, _: Question) -> bool:
    return facts.said.pressure >= PRESSED


def _unclear(facts: Facts, _: Question) -> bool:
    return facts.said.clarity <= UNCLEAR


def _pressed_and_unclear(facts: Facts, asked: Question) -> bool:
    return _pressed(facts, asked) and _unclear(facts, asked)


def _uneasy(facts: Facts, asked: Question) -> bool:
    return facts.said.affect in {"tense", "anxious"} and not asked.answered


def _decides(_: Facts, asked: Question) -> bool:
    return asked.confirm and not asked.answered


def _asks_for_slowness(facts: Facts, _: Question) -> bool:
    return "slow_pacing" in facts.flags


class Row(NamedTuple):
    """One line of the table.

    Args:
        result: What it leads to.
        code: Its reason.
        holds: Whether it holds for one human.
        each: Whether it is looked at for either human, or once.
        left: Whether it applies to HCP_FEEDBACK too, which HCP-3 leaves to everybody.
    """

    result: Result
    code: str
    holds: _Holds
    each: bool
    left: bool


# fmt: off
TABLE: Final = (
    #   result      reason             condition                    for either  feedback too
    Row("DENY",     "consent_revoked", _consent("revoked"),         True,       False),
    Row("DENY",     "no_consent",      _consent(None),              True,       False),
    Row("DENY",     "out_of_scope",    _out_of_scope,               True,       False),
    Row("DENY",     "peer_trust",      _peer_trust,                 False,      True),
    Row("DENY",     "social_trust",    _social_trust,               False,      False),
    Row("DEFER",    "overloaded",      _overloaded,                 True,       True),
    Row("DEFER",    "under_pressure",  _pressed_and_unclear,        True,       True),
    Row("CHECK_IN", "uneasy",          _uneasy,                     True,       True),
    Row("CHECK_IN", "decides",         _decides,                    False,      True),
    Row("SLOW",     "pressed",         _pressed,                    True,       True),
    Row("SLOW",     "unclear",         _unclear,                    True,       True),
    Row("SLOW",     "slow_pacing",     _asks_for_slowness,          True,       True),
)
# fmt: on


def gate(asked: Question) -> Verdict:
    """Say what may be done (HCP-1).

    HCP_HELLO and HCP_STATE_UPDATE say how a human is, and ask nothing of one: of them the peer's trust is looked at
    alone. HCP_FEEDBACK is what HCP-3 leaves: consent, scope and social trust do not close it.
    """
    found = [
        (row.result, Reason(row.code, whose))
        for row in TABLE
        if _concerns(row, asked.type)
        for whose in _whom(row, asked)
    ]
    slow = tuple(dict.fromkeys(reason.whose for result, reason in found if result == "SLOW"))
    for result in STRICTNESS[:-1]:
        reasons = tuple(reason for one, reason in found if one == result)
        if reasons:
            return Verdict(
                result=result,
                reasons=reasons,
                slow=slow,
                retry_after_ms=DEFER_MS if result == "DEFER" else None,
                interval_ms=PACE_MS if result == "SLOW" else None,
            )
    return Verdict(result="ALLOW")


def _concerns(row: Row, type_name: str) -> bool:
    if type_name in SIGNALS:
        return row.code == "peer_trust"
    return row.left or type_name != "HCP_FEEDBACK"


def _whom(row: Row, asked: Question) -> tuple[Whose, ...]:
    """On whose account a row holds."""
    if not row.each:
        return ("both",) if row.holds(asked.local, asked) else ()
    holding: list[Whose] = []
    if row.holds(asked.local, asked):
        holding.append("local")
    if row.holds(asked.remote, asked):
        holding.append("remote")
    return tuple(holding)

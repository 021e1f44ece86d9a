"""The table of section 9, as data: fourteen events by five states (TRUST-1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

TrustState = Literal["unknown", "untrusted", "probing", "trusted", "blacklisted"]
TRUST_STATES: Final[tuple[TrustState, ...]] = get_args(TrustState)

TrustEventName = Literal[
    "handshake_ok",
    "introduced",
    "introducer_lost",
    "knowledge_verified",
    "local_alignment",
    "unverifiable",
    "conflict",
    "severe_conflict",
    "auth_failure",
    "malicious_evidence",
    "anchored",
    "operator_promote",
    "operator_block",
    "manual_override",
]
TRUST_EVENTS: Final[tuple[TrustEventName, ...]] = get_args(TrustEventName)

# ruff: noqa: E501 - a table is read by its columns

# Written as the specification writes it. `=`: the state stays, the event is counted. The guards that an event
# has in every state (its evidence, its human, the third in ten minutes) are in `guards`.
# fmt: off
_ROWS: Final[dict[TrustEventName, tuple[str, str, str, str, str]]] = {
    #                      unknown        untrusted                 probing                trusted                blacklisted
    "handshake_ok":       ("probing",     "probing; in cooldown =", "=",                   "=",                   "="),
    "introduced":         ("probing",     "=",                      "=",                   "=",                   "="),
    "introducer_lost":    ("=",           "=",                      "untrusted",           "=",                   "="),
    "knowledge_verified": ("=",           "=",                      "trusted",             "=",                   "="),
    "local_alignment":    ("=",           "=",                      "trusted",             "=",                   "="),
    "unverifiable":       ("=",           "=",                      "untrusted, cooldown", "probing",             "="),
    "conflict":           ("=",           "=",                      "untrusted, cooldown", "probing",             "="),
    "severe_conflict":    ("=",           "=",                      "blacklisted",         "blacklisted",         "="),
    "auth_failure":       ("=",           "=, cooldown anew",       "untrusted, cooldown", "untrusted, cooldown", "="),
    "malicious_evidence": ("blacklisted", "blacklisted",            "blacklisted",         "blacklisted",         "="),
    "anchored":           ("trusted",     "trusted",                "trusted",             "=",                   "="),
    "operator_promote":   ("probing",     "probing",                "trusted",             "=",                   "="),
    "operator_block":     ("blacklisted", "blacklisted",            "blacklisted",         "blacklisted",         "="),
    "manual_override":    ("=",           "=",                      "=",                   "=",                   "probing"),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Cell:
    """What one event does in one state."""

    to: TrustState
    starts_cooldown: bool = False
    barred_by_cooldown: bool = False


def _cell(state: TrustState, text: str) -> Cell:
    match text:
        case "=":
            return Cell(state)
        case "=, cooldown anew":
            return Cell(state, starts_cooldown=True)
        case "untrusted, cooldown":
            return Cell("untrusted", starts_cooldown=True)
        case "probing; in cooldown =":
            return Cell("probing", barred_by_cooldown=True)
        case "untrusted" | "probing" | "trusted" | "blacklisted":
            return Cell(text)
    raise ValueError(f"the table has no meaning for {text!r}")


TABLE: Final[dict[tuple[TrustEventName, TrustState], Cell]] = {
    (event, state): _cell(state, text)
    for event, row in _ROWS.items()
    for state, text in zip(TRUST_STATES, row, strict=True)
}

"""From load to the presence that peers are told, without flapping: pure (PACE-2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from web4.agent.pacing.lri import KERNEL_OVERLOAD

if TYPE_CHECKING:
    from collections.abc import Container

    from web4.protocols.messages.fields import Presence

OVERLOADED_FROM: Final = 85
DIFFUSE_FROM: Final = 60
FOCUSED_UP_TO: Final = 30
MARGIN: Final = 5
HOLD_MS: Final = 5_000
_RANK: Final[dict[Presence, int]] = {"focused": 0, "engaged": 1, "diffuse": 2, "overloaded": 3}


@dataclass(frozen=True, slots=True)
class Level:
    """Where the presence stands.

    Args:
        presence: What peers are told.
        since_ms: Since when, without a break, the load has been beyond the level's bound; None while it is not.
    """

    presence: Presence = "engaged"
    since_ms: int | None = None


def level_of(lri: int, signals: Container[str] = ()) -> Presence:
    """The presence that a load calls for, whatever was before."""
    if KERNEL_OVERLOAD in signals or lri >= OVERLOADED_FROM:
        return "overloaded"
    if lri >= DIFFUSE_FROM:
        return "diffuse"
    return "focused" if lri <= FOCUSED_UP_TO else "engaged"


def following(level: Level, lri: int, signals: Container[str], at_ms: int) -> Level:
    """The level after one more measurement.

    Getting worse than `engaged` counts at once. A level that has a bound of its own (overloaded 85, diffuse 60, focused
    30) is left towards `engaged` only when the load was 5 points beyond that bound for 5 s; engaged has none.

    Args:
        level: Before.
        lri: Measured now.
        signals: Named now.
        at_ms: Time of the measurement; may jump back, which only makes the level last longer.
    """
    wanted = level_of(lri, signals)
    if wanted == level.presence:
        return Level(wanted)
    if _RANK[wanted] > max(_RANK[level.presence], _RANK["engaged"]):
        return Level(wanted)
    if level.presence == "engaged":
        return Level(wanted)
    if not _beyond(level.presence, lri, signals):
        return replace(level, since_ms=None)
    if level.since_ms is None or at_ms < level.since_ms:
        return replace(level, since_ms=at_ms)
    return Level(wanted) if at_ms - level.since_ms >= HOLD_MS else level


def _beyond(presence: Presence, lri: int, signals: Container[str]) -> bool:
    """Whether a load is 5 points beyond the bound of the level that it would leave."""
    match presence:
        case "overloaded":
            return lri <= OVERLOADED_FROM - MARGIN and KERNEL_OVERLOAD not in signals
        case "diffuse":
            return lri <= DIFFUSE_FROM - MARGIN
        case _:
            return lri >= FOCUSED_UP_TO + MARGIN

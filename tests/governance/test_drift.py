"""Drift as a matter of statistics (DRIFT-3): what must be noticed, and what must not."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from web4.governance import DriftRules
from web4.governance.judging import Course, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SEED = int(os.environ.get("WEB4_SEED", "20270115"))
SEQUENCES = 1_000
LENGTH = 400
RULES = DriftRules()


def uniform(chance: random.Random) -> float:
    return chance.random()


def good(chance: random.Random) -> float:
    return min(1.0, max(0.0, chance.gauss(0.8, 0.12)))


def steps(chance: random.Random) -> float:
    """As term overlap scores short texts: few values, far apart."""
    return chance.choice([0.0, 1 / 3, 0.5, 0.5, 2 / 3, 1.0, 1.0])


def coin(chance: random.Random) -> float:
    return float(chance.random() < 0.5)


def rarely_nothing(chance: random.Random) -> float:
    return 0.9 if chance.random() < 0.9 else 0.0


def levels(scores: Iterable[float], rules: DriftRules = RULES) -> list[Level]:
    course = Course()
    level: Level = "clear"
    found: list[Level] = []
    for score in scores:
        course = course.after(score, rules)
        level = course.level(level, rules)
        found.append(level)
    return found


def test_stationary_sequences_do_not_warn() -> None:
    """DRIFT-3: of 1,000 stationary sequences at most 2 % warn and none blocks, over five ways to scatter."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    kinds = (uniform, good, steps, coin, rarely_nothing)
    warned = blocked = 0
    for number in range(SEQUENCES):
        draw = kinds[number % len(kinds)]
        seen = set(levels(draw(chance) for _ in range(LENGTH)))
        warned += "warn" in seen or "block" in seen
        blocked += "block" in seen
    print(f"{warned} of {SEQUENCES} warned, {blocked} blocked")
    assert warned <= SEQUENCES * 0.02
    assert blocked == 0


def shifted(chance: random.Random, draw: Callable[[random.Random], float], share: float) -> list[float]:
    """A sequence that loses a share of its scores somewhere in its middle."""
    at = chance.randrange(100, 200)
    return [draw(chance) * (1 - share if number >= at else 1) for number in range(LENGTH)]


def deepest(scores: Iterable[float], rules: DriftRules = RULES) -> float:
    """How far the average falls below the baseline at worst: what the levels are bounds of."""
    course, fall = Course(), 0.0
    for score in scores:
        course = course.after(score, rules)
        if course.count >= rules.judged_from:
            fall = max(fall, course.baseline(rules) - course.average)
    return fall


def area_under_curve(positive: list[float], negative: list[float]) -> float:
    """The share of pairs that are ranked rightly: the area under the ROC curve."""
    ranked = sum((one > other) + 0.5 * (one == other) for one in positive for other in negative)
    return ranked / (len(positive) * len(negative))


@pytest.mark.parametrize("draw", [uniform, good, steps, coin, rarely_nothing])
def test_drift_detects_shift(draw: Callable[[random.Random], float]) -> None:
    """DRIFT-3: labelled shifts, to a half or less, are told from none, AUC >= 0.9, however the scores scatter."""
    print(f"seed {SEED}")
    chance = random.Random(f"{SEED} {draw.__name__}")
    shifts = [deepest(shifted(chance, draw, chance.uniform(0.5, 0.9))) for _ in range(100)]
    none = [deepest(draw(chance) for _ in range(LENGTH)) for _ in range(100)]
    area = area_under_curve(shifts, none)
    print(f"{draw.__name__}: AUC {area:.3f}")
    assert area >= 0.9


def test_drift_detects_shift_and_says_so() -> None:
    """DRIFT-3: of shifts to a half nearly all block, by a quarter nearly all warn, none before it comes."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    found = {"warn": 0, "block": 0}
    early = 0
    for share, level in ((0.25, "warn"), (0.5, "block")):
        for _ in range(100):
            seen = levels(shifted(chance, good, share))
            found[level] += level in seen
            early += seen[99] != "clear"
    print(found, early)
    assert found["warn"] >= 95
    assert found["block"] >= 95
    assert early <= 4


def test_bounds_are_exact() -> None:
    """DRIFT-3: without scatter, warn below 0.15, block below 0.30, left 0.05 above; not judged before 20 scores."""
    rules = DriftRules(baseline=0.8, window=2)  # the average follows quickly
    assert levels([0.0] * 19, rules) == ["clear"] * 19
    assert levels([0.0] * 20, rules)[-1] == "block"

    def after(start: list[float], then: float) -> Level:
        return levels(start + [then] * 60, rules)[-1]

    begin = [0.8] * 20
    for score, level in ((0.66, "clear"), (0.64, "warn"), (0.51, "warn"), (0.49, "block")):
        assert after(begin, score) == level
    warned, blocked = begin + [0.6] * 60, begin + [0.4] * 60
    for score, level in ((0.69, "warn"), (0.71, "clear")):
        assert after(warned, score) == level
    for score, level in ((0.54, "block"), (0.56, "warn"), (0.69, "warn"), (0.71, "clear")):
        assert after(blocked, score) == level


def test_first_score_does_not_count_for_fifty() -> None:
    """DRIFT-3: the average of few scores is nearly their mean."""
    course = Course()
    for score in (0.0, *[1.0] * 19):
        course = course.after(score, RULES)
    assert 0.93 < course.average < 0.98
    assert course.mean == pytest.approx(0.95)


def test_baseline_is_of_the_first_fifty() -> None:
    """DRIFT-3: the mean of the first 50, whatever comes after, unless it is configured."""
    course = Course()
    for number in range(200):
        course = course.after(1.0 if number < 50 else 0.0, RULES)
    assert course.baseline(RULES) == pytest.approx(1.0)
    assert course.baseline(DriftRules(baseline=0.25)) == 0.25
    assert course.average < 0.01

"""Whether what a node does moves away from its mission, judged from scores alone (DRIFT-3). Pure."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Level = Literal["clear", "warn", "block"]

_Share = Annotated[float, Meta(ge=0, le=1)]


class DriftRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is judged by. Recorded with the mission, so that replay judges alike (WEB-2).

    Args:
        window: N: the span of the moving average, the number of scores that the baseline is the mean of, and the
            number of scores that contributors are looked for in.
        baseline: What scores are expected to be; None: the mean of the first `window`.
        judged_from: The number of scores from which on it is judged.
        warn_below: How far the average may fall below the baseline before it is a warning.
        block_below: How far before it blocks.
        cleared_above: How far above its bound the average must be for a level to be left.
        warn_errors: A fall counts as none if it is within so many standard errors of scores that scatter as these do:
            noise alone must not warn, however wide it is.
        block_errors: The same for blocking.
        flip_flop_within: Decisions among which a choice that is taken back and taken again is a flip-flop (DRIFT-4).
    """

    window: Annotated[int, Meta(ge=2, le=1_000)] = 50
    baseline: _Share | None = None
    judged_from: Annotated[int, Meta(ge=2, le=1_000)] = 20
    warn_below: _Share = 0.15
    block_below: _Share = 0.30
    cleared_above: _Share = 0.05
    warn_errors: Annotated[float, Meta(ge=0, le=10)] = 4.0
    block_errors: Annotated[float, Meta(ge=0, le=10)] = 5.0
    flip_flop_within: Annotated[int, Meta(ge=3, le=100)] = 10

    @property
    def share(self) -> float:
        """What one score weighs in the moving average."""
        return 2.0 / (self.window + 1)


class Course(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the scores went so far.

    Args:
        count: How many there were.
        weighted: Moving sum of the scores, each weighing less than the one after it.
        squared: The same of their squares.
        weight: What these weigh together: less than 1 at first, so that the first score does not count for fifty.
        first: How many of them the baseline is of.
        mean: Mean of those.
        squares: Sum of their squared distances from their mean.
    """

    count: int = 0
    weighted: float = 0.0
    squared: float = 0.0
    weight: float = 0.0
    first: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def after(self, score: float, rules: DriftRules) -> Course:
        """The course after one more score."""
        share = rules.share
        first, mean, squares = self.first, self.mean, self.squares
        if first < rules.window:
            first += 1
            away = score - mean
            mean += away / first
            squares += away * (score - mean)
        return Course(
            count=self.count + 1,
            weighted=self.weighted + share * (score - self.weighted),
            squared=self.squared + share * (score * score - self.squared),
            weight=self.weight + share * (1.0 - self.weight),
            first=first,
            mean=mean,
            squares=squares,
        )

    @property
    def average(self) -> float:
        """The exponentially weighted moving average; 0 before the first score."""
        return self.weighted / self.weight if self.weight else 0.0

    def baseline(self, rules: DriftRules) -> float:
        """What the average is held against."""
        return self.mean if rules.baseline is None else rules.baseline

    def error(self, rules: DriftRules) -> float:
        """The standard error of the fall, if scores only scatter; 0 if the baseline is configured.

        Of the average and of the baseline together. The scatter is that of the baseline's scores, or that of the moving
        average's if it is wider: what comes seldom may not have come among the first.
        """
        if rules.baseline is not None or self.first < 2:
            return 0.0
        scatter = max(
            self.squares / (self.first - 1), self.squared / self.weight - self.average * self.average
        )
        return math.sqrt(scatter * (1.0 / self.first + rules.share / (2.0 - rules.share)))

    def level(self, before: Level, rules: DriftRules) -> Level:
        """The level after `before`: up at once, down only well above the bound."""
        if self.count < rules.judged_from:
            return before
        fall, error = self.baseline(rules) - self.average, self.error(rules)
        block = max(rules.block_below, rules.block_errors * error)
        warn = min(max(rules.warn_below, rules.warn_errors * error), block)
        if fall > block or (before == "block" and fall > block - rules.cleared_above):
            return "block"
        if fall > warn or (before != "clear" and fall > warn - rules.cleared_above):
            return "warn"
        return "clear"

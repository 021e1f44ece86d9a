"""When what crashed is started again, and when no more (ACT-5)."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How often and how soon.

    Args:
        limit: Restarts within `within_seconds` that are allowed; one more escalates.
        within_seconds: The window in which they are counted.
        first_seconds: Pause before the first restart; it doubles with each further one in the window.
        most_seconds: The longest pause, jitter aside.
        jitter: By how much of itself a pause is lengthened at most, so that many do not come back at once.
    """

    limit: int = 5
    within_seconds: float = 60.0
    first_seconds: float = 0.1
    most_seconds: float = 10.0
    jitter: float = 0.25


class RestartBudget:
    """The crashes of one actor, or of one supervisor.

    Args:
        policy: See `RestartPolicy`.
        seed: Of the jitter: equal seeds give equal pauses.
    """

    def __init__(self, policy: RestartPolicy, seed: int | str) -> None:
        self._policy = policy
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._crashes: deque[float] = deque()

    def crashed(self, now: float) -> float | None:
        """Note a crash at `now` (seconds); the pause before the restart, or None: escalate."""
        policy = self._policy
        while self._crashes and self._crashes[0] <= now - policy.within_seconds:
            self._crashes.popleft()
        self._crashes.append(now)
        count = len(self._crashes)
        if count > policy.limit:
            return None
        pause = min(policy.first_seconds * 2.0 ** (count - 1), policy.most_seconds)
        return pause * (1 + policy.jitter * self._random.random())

"""What may go wrong with a write to memory, by the test's choice: scripted, or drawn from a seed (JRN-24c)."""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, get_args

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import trio

Operation = Literal["own", "commit", "recover", "put_snapshot", "prune", "put_blob", "delete_blob"]
"""A write that can be made to fail."""
FaultKind = Literal["none", "not_committed", "no_space", "reply_lost", "unknown", "torn"]
"""`not_committed`, `no_space`: refused, nothing is there. `reply_lost`: everything is there, and the writer is told
that nobody knows. `unknown`: nothing is there, and the writer is told the same. `torn`: as `unknown`, with a part of
the commit left to be discarded. The last three happen to commits; elsewhere they refuse."""

KINDS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)


class Fault(NamedTuple):
    """What happens to one attempt at a write.

    Args:
        kind: What becomes of it; `none` lets it pass.
        delay: Seconds that pass first.
        until: An event that is waited for first, so that a test holds a write for as long as it wants.
    """

    kind: FaultKind = "none"
    delay: float = 0.0
    until: trio.Event | None = None


class Faults(Protocol):
    """Says what happens to the next attempt. Called once for each, in the order of the attempts."""

    def __call__(self, operation: Operation, /) -> Fault | None:
        """The fault of this attempt; None for none."""
        ...


class ScriptedFaults:
    """Faults in the order in which the test plans them, for each operation by itself; without a plan nothing fails."""

    def __init__(self, plan: Mapping[Operation, Collection[Fault | FaultKind]] | None = None) -> None:
        self._plans: dict[Operation, deque[Fault]] = {}
        self.attempts: dict[Operation, int] = {}
        """How often each operation was tried."""
        for operation, faults in (plan or {}).items():
            self.plan(operation, *faults)

    def plan(self, operation: Operation, *faults: Fault | FaultKind, times: int = 1) -> None:
        """Let the attempts after those that are planned already meet `faults`, the whole of them `times` times."""
        wanted = [one if isinstance(one, Fault) else Fault(one) for one in faults]
        self._plans.setdefault(operation, deque()).extend(wanted * times)

    def clear(self) -> None:
        """Drop what is planned: from now on nothing fails."""
        self._plans.clear()

    def __call__(self, operation: Operation, /) -> Fault | None:
        """See `Faults`."""
        self.attempts[operation] = self.attempts.get(operation, 0) + 1
        plan = self._plans.get(operation)
        return plan.popleft() if plan else None


class RandomFaults:
    """Faults drawn from a seed: each attempt of `operations` meets one of `kinds` with probability `rate`."""

    def __init__(
        self,
        seed: int | str,
        *,
        rate: float,
        kinds: Collection[FaultKind] = KINDS[1:],
        operations: Collection[Operation] = ("commit", "recover"),
        longest_delay: float = 0.0,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._rate = rate
        self._kinds = tuple(kinds)
        self._operations = frozenset(operations)
        self._longest = longest_delay
        self.met: dict[FaultKind, int] = dict.fromkeys(self._kinds, 0)
        """How many attempts met each kind."""

    def __call__(self, operation: Operation, /) -> Fault | None:
        """See `Faults`."""
        if operation not in self._operations:
            return None
        delay = self._random.random() * self._longest
        if self._random.random() >= self._rate:
            return Fault(delay=delay) if delay else None
        kind = self._random.choice(self._kinds)
        self.met[kind] += 1
        return Fault(kind, delay)

"""How the work on a task stands: local, and nothing that is told to peers (LOOP-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

Phase = Literal[
    "perceive",
    "interpreting",
    "interpret",
    "analyze",
    "validating",
    "plan",
    "act",
    "checking",
    "reflect",
]
"""Phases in their order, with the thresholds `interpreting`, `validating` and `checking` between them."""

PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
THRESHOLDS: Final = frozenset({"interpreting", "validating", "checking"})


def following(phase: Phase) -> Phase:
    """The phase after one more signal of progress; after `reflect` comes `perceive`."""
    return PHASES[(PHASES.index(phase) + 1) % len(PHASES)]


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """What a working presence says.

    Args:
        goal: Of the task.
        phase: See `Phase`.
        focus: What is looked at.
        intent: What is about to be done.
        context: What it is done in.
        task_id: The task; None when idle.
        confidence: 0 to 1.
    """

    goal: str = ""
    phase: Phase = "perceive"
    focus: str = ""
    intent: str = ""
    context: str = ""
    task_id: str | None = None
    confidence: float = 0.0


class WorkingPresence:
    """The working presence of one task. Its handler moves it on; when the lane is idle again it is reset.

        task.presence.progress(focus="the forecast")
        task.presence.reach("act")

    Args:
        task_id: The task.
    """

    def __init__(self, task_id: str | None = None) -> None:
        self.now = Working(task_id=task_id)
        self.observer: Callable[[Working], None] | None = None
        """Told after each change of phase."""

    def __repr__(self) -> str:
        return f"<WorkingPresence {self.now.phase} of {self.now.task_id}>"

    def progress(self, **said: str | float) -> Phase:
        """Signal progress: go on to the next phase, or leave the threshold; where it stands now.

        Args:
            said: `goal`, `focus`, `intent`, `context`, `confidence`, as far as they are new.

        Raises:
            TypeError: There is no such field.
            ValueError: A confidence outside 0 to 1.
        """
        self._to(following(self.now.phase), said)
        return self.now.phase

    def reach(self, phase: Phase, **said: str | float) -> None:
        """Signal progress until the work is in `phase`, through every phase and threshold before it.

        Raises:
            TypeError, ValueError: As `progress`; also for a phase that there is not.
        """
        if phase not in PHASES:
            raise ValueError(f"there is no phase {phase!r}")
        while self.now.phase != phase:
            self._to(following(self.now.phase), {})
        self.say(**said)

    def say(self, **said: str | float) -> None:
        """Say more without moving on.

        Raises:
            TypeError, ValueError: As `progress`.
        """
        confidence = said.get("confidence", 0)
        if not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
            raise ValueError("confidence is a number from 0 to 1")
        if said.keys() - {"goal", "focus", "intent", "context", "confidence"}:
            raise TypeError(f"a working presence says nothing of {sorted(said)}")
        self.now = msgspec.structs.replace(self.now, **said)

    def reset(self) -> None:
        """Be idle: nothing is worked on."""
        self.now = Working()

    def _to(self, phase: Phase, said: dict[str, str | float]) -> None:
        self.say(**said)
        self.now = msgspec.structs.replace(self.now, phase=phase)
        if self.observer is not None:
            self.observer(self.now)

"""The numbers of the agent loop, checked when they are set (LIM-1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """How tasks are worked on.

    Args:
        waiting_per_lane: Tasks that wait in a lane; more are answered REPLY(deferred) (LOOP-1).
        retry_after_ms: The patience asked for then.
        task_ms: How long a task may take, waiting included, from the arrival of its message on.
        cancel_grace_ms: How long a cancelled handler may take to end before it is killed (LOOP-4).
        hook_ms: How long one hook may take (LOOP-6).
        asked: Questions of this agent that wait for an answer at once.
    """

    waiting_per_lane: int = 256
    retry_after_ms: int = 5_000
    task_ms: int = 600_000
    cancel_grace_ms: int = 1_000
    hook_ms: int = 1_000
    asked: int = 4_096

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")

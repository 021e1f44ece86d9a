"""What a node connects to the agent loop: consent, mission, memory."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.agent.tasks import Result, Task


@dataclass(frozen=True, slots=True)
class MissionVerdict:
    """What the mission says to a task (DRIFT-3).

    Args:
        passes: Whether it may be taken on.
        reason: Why not, for the asker.
    """

    passes: bool
    reason: str = "mission_drift"


class Consent(Protocol):
    """Where work for a human runs (HCP-3): `HcpRuntime.running`, of `task.human`."""

    def __call__(self, task: Task) -> AbstractAsyncContextManager[trio.CancelScope]:
        """A scope that is cancelled when consent is revoked. Asked only for tasks that concern a human.

        Raises:
            Web4Error: On entering: there is no consent; its code is told to the asker.
        """
        ...


class Mission(Protocol):
    """Judges and records what is about to be taken on (DRIFT-2)."""

    async def __call__(self, task: Task) -> MissionVerdict:
        """Whether a task passes; its score is durable then."""
        ...


class Remember(Protocol):
    """Keeps what came of a task (MEM-1, MEM-2)."""

    async def __call__(self, task: Task, result: Result) -> None:
        """Record it; called after the asker was answered."""
        ...


@asynccontextmanager
async def without_consent(task: Task) -> AsyncIterator[trio.CancelScope]:
    """For tasks that concern no human, and nodes without humans: nobody can revoke anything."""
    with trio.CancelScope() as scope:
        yield scope


async def no_mission(task: Task) -> MissionVerdict:
    """For a node without a mission."""
    return MissionVerdict(passes=True)


async def no_memory(task: Task, result: Result) -> None:
    """For a node that keeps nothing but its lanes."""

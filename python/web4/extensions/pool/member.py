"""A worker as its pool sees it: what it can do, and its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from web4.extensions.outcome import CallOutcome

Call = TypeVar("Call")
Call_contra = TypeVar("Call_contra", contravariant=True)


class PoolWorker(Protocol[Call_contra]):
    """What a pool knows of a worker that is ready: it serves one call at a time until it is not usable any more."""

    @property
    def usable(self) -> bool:
        """Whether it may get another call: it lives, and no call was left behind in it."""
        ...

    @property
    def resident(self) -> int:
        """Bytes it held when it was last looked at."""
        ...

    def call(self, call: Call_contra, waited: float, /) -> Awaitable[CallOutcome]:
        """Make the call, which waited so many seconds for this worker."""
        ...

    def cpu_seconds(self) -> float | None:
        """Processor time since it started, as far as known."""
        ...

    def unfit(self) -> str | None:
        """Why it should not serve on after the call it has just served (EXT-25); None when it may."""
        ...

    def cancel(self, reason: str) -> None:
        """End its call as EXT-19 says; never blocks."""
        ...

    async def drain(self) -> None:
        """Tell it to end, and see that it does in its time; cancelled, it is killed at once."""
        ...

    def kill(self, reason: str) -> None:
        """Kill its whole tree; never blocks; nothing when it is dead."""
        ...

    async def wait(self) -> object:
        """Until no process of it exists. Many may wait."""
        ...


class Member(Generic[Call]):
    """A worker and its place in the pool."""

    __slots__ = (
        "busy",
        "calls",
        "gone",
        "leaving",
        "ready_at",
        "resident",
        "seen",
        "session",
        "used_at",
        "worker",
    )

    def __init__(self, worker: PoolWorker[Call], now: float) -> None:
        self.worker = worker
        self.busy = False
        self.calls = 0
        self.gone = False
        """No process of it exists any more."""
        self.leaving = False
        """It was killed, or told to end."""
        self.ready_at = now
        self.resident = 0
        """Bytes, as last seen."""
        self.seen: tuple[float, float] | None = None
        """Processor seconds when it was last looked at, and when that was; None since its last call began."""
        self.session: str | None = None
        """Whose call it served last."""
        self.used_at = now
        """When its last call ended; a spare has had none."""

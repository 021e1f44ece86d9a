"""How the extensions of a node stand, for `health` and the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from web4.extensions.pool.pool_health import PoolHealth
from web4.extensions.quarantine import Mode

if TYPE_CHECKING:
    from web4.extensions.hosting.reloading import Seat


class ExtensionHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One extension at one moment.

    Args:
        name: Its name.
        version: Of the generation that takes calls.
        generation: Its number.
        digest: Of its files as they were read.
        development: Whether it is loaded anew when they change.
        quarantine: `closed` is the good one (EXT-38).
        retry_after_ms: Until a trial call is let through.
        older: Generations that still finish their calls.
        failure: Why the last reload failed.
        pool: Of the generation that takes calls.
        metrics: See `ExtensionMetrics.summary`.
    """

    name: str
    version: str
    generation: int
    digest: str
    development: bool
    quarantine: Mode
    retry_after_ms: int
    older: int
    failure: str | None
    pool: PoolHealth
    metrics: dict[str, Any]


class HostHealth(msgspec.Struct, frozen=True, kw_only=True):
    """All extensions of a node at one moment.

    Args:
        extensions: By name.
        workers: Worker processes of which something lives.
        memory_bytes: What workers were last seen to hold, in all.
        memory_ceiling: What they may (EXT-37).
        starts_without_room: How often a worker was not started for want of it.
    """

    extensions: list[ExtensionHealth]
    workers: int
    memory_bytes: int
    memory_ceiling: int | None
    starts_without_room: int


def health_of(seat: Seat, now: int) -> ExtensionHealth:
    """How one extension stands at a moment, Unix milliseconds."""
    current = seat.current
    state = seat.breaker.state
    return ExtensionHealth(
        name=seat.name,
        version=current.manifest.version,
        generation=current.number,
        digest=current.extension.digest,
        development=current.extension.development,
        quarantine=seat.breaker.mode(now),
        retry_after_ms=max(0, state.until - now) if state.is_open else 0,
        older=sum(one is not current for one in seat.generations),
        failure=seat.failure,
        pool=current.pool.health(),
        metrics=seat.metrics.summary(),
    )

"""How a pool stands."""

from __future__ import annotations

import msgspec


class PoolHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A pool at one moment, and what it has counted.

    Args:
        busy: Workers with a call.
        free: Workers without one.
        starting: On their way.
        leaving: Killed or told to end, not gone yet.
        waiting: Calls without a worker.
        started: Workers that became ready.
        failed: Starts that failed.
        retired: Workers let go after a call (EXT-25).
        lost: Workers that died while they had no call.
        failure: Why the last start failed; None when it did not.
    """

    busy: int
    free: int
    starting: int
    leaving: int
    waiting: int
    started: int
    failed: int
    retired: int
    lost: int
    failure: str | None = None

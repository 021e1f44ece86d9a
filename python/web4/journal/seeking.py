"""Finding a place in a lane by what is known of its order: times never decrease, erasures are prefixes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.journal.backends.backend import Backend
    from web4.journal.lane import Lane
    from web4.journal.record import Record


async def last_where(
    backend: Backend, lane: Lane, low: int, high: int, holds: Callable[[Record], bool]
) -> int:
    """The last number in `low` < seq <= `high` for which `holds` is true, `low` if there is none.

    `holds` must be true of a prefix and false of the rest. Reads one record per halving. A record that has been
    compacted away meanwhile counts as one for which it is true.
    """
    while low < high:
        middle = (low + high + 1) // 2
        records = await backend.read(lane, after=middle - 1, limit=1)
        if not records or records[0].seq != middle or holds(records[0]):
            low = middle
        else:
            high = middle - 1
    return low


async def last_before(backend: Backend, lane: Lane, low: int, high: int, at: int) -> int:
    """The last number in `low` < seq <= `high` whose record is older than `at`; `low` if there is none."""
    return await last_where(backend, lane, low, high, lambda record: record.at < at)


async def last_erased(backend: Backend, lane: Lane, low: int, high: int) -> int:
    """The last number in `low` < seq <= `high` whose payload was erased; `low` if there is none."""
    return await last_where(backend, lane, low, high, lambda record: record.erased)

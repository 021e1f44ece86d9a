"""A store whose reading is watched, for those that tell no progress of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.journal.backends.backend import Backend
    from web4.journal.lane import Lane
    from web4.journal.record import Record


class Counted:
    """`source`, and `step` is told how many records were read of it."""

    def __init__(self, source: Any, step: Callable[[int], None]) -> None:
        self._source = source
        self._step = step
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def read(self, lane: Lane, **options: Any) -> list[Record]:
        """As the source's."""
        records: list[Record] = await self._source.read(lane, **options)
        self._count += len(records)
        self._step(self._count)
        return records


def counted(source: Backend, step: Callable[[int], None]) -> Backend:
    """`source` as a backend that is counted."""
    watched: Any = Counted(source, step)
    return watched  # type: ignore[no-any-return]

"""One caller's batch on its way into a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.draft import Prepared
    from web4.journal.lane import Lane
    from web4.journal.record import Snapshot

Part = tuple["Lane", "Sequence[Prepared]", int]
"""What goes to one lane, and the head that was decided on."""
ANYWHERE: Final = -1
"""The `expected_seq` of what the journal itself says: after whatever is there."""


class Waiting:
    """A batch, and the task that waits for it; none if nobody does, or does any more (JRN-5e)."""

    __slots__ = ("alone", "appends", "bases", "bytes", "erasures", "first", "own", "records", "task")

    def __init__(
        self,
        appends: Sequence[Part],
        *,
        own: bool = False,
        bases: Sequence[Snapshot] = (),
        erasures: Sequence[tuple[Lane, int]] = (),
    ) -> None:
        self.appends = appends
        self.own = own
        self.bases = bases
        self.erasures = erasures
        records = size = 0
        for _, events, _ in appends:
            records += len(events)
            for event in events:
                size += len(event.payload)
        self.records = records
        self.bytes = size
        self.first = 0
        """Where its first part is among what became of all parts of a commit, which is what its task is given."""
        self.task: trio.lowlevel.Task | None = None
        self.alone = bool(bases or erasures)
        """Whether it needs a commit of its own."""

    def abandon(self, _: object) -> trio.lowlevel.Abort:
        """Let nobody wait for it any more; it is written all the same."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

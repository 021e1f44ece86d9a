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

    __slots__ = ("alone", "appends", "bases", "bytes", "erasures", "own", "records", "task")

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
        self.records = self.bytes = 0
        for _, events, _ in appends:
            self.records += len(events)
            for event in events:
                self.bytes += len(event.payload)
        self.task: trio.lowlevel.Task | None = None
        self.alone = bool(bases or erasures)
        """Whether it needs a commit of its own."""

    def abandon(self, _: object) -> trio.lowlevel.Abort:
        """Let nobody wait for it any more; it is written all the same."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

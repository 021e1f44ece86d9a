"""Unfinished work as records tell it, against which what a store keeps of it is checked (JRN-13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.foundation.errors import Web4Error
from web4.journal.record import OpenWork

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.journal.event_types import EventRegistry
    from web4.journal.record import Record


class OpenWorkOf:
    """The unfinished work of one lane, built from its records in their order.

    Erased and compacted records are of finished work only (JRN-16b): an end whose begin is gone ends nothing.
    """

    def __init__(self, registry: EventRegistry) -> None:
        self._registry = registry
        self._open: dict[tuple[str, str], OpenWork] = {}

    def add(self, record: Record) -> None:
        """Take the next record into account. One that cannot be read is passed over: the schema check names it."""
        one = self._registry.named(record.type)
        if one is None or one.phase is None or record.payload is None:
            return
        try:
            work = one.work(self._registry.decode(record))
        except Web4Error:
            return
        assert work is not None
        kind = "effect" if work.phase in {"request", "conclusion"} else "command"
        key = (kind, work.subject)
        if work.phase == "start":
            if key in self._open:
                self._open[key] = self._open[key]._replace(started=True)
            return
        self._open.pop(key, None)
        if work.phase in {"begin", "request"}:
            self._open[key] = OpenWork(
                record.lane,
                record.seq,
                "effect" if kind == "effect" else "command",
                work.subject,
                started=False,
                command=work.command,
                idempotent=work.idempotent,
            )

    def unfinished(self) -> list[OpenWork]:
        """What is open, in the order of its records."""
        return sorted(self._open.values(), key=lambda one: one.seq)

    def differences(self, kept: Iterable[OpenWork]) -> list[tuple[int, str]]:
        """(number of the record, what is wrong) of all in which `kept` is another."""
        told = {(one.kind, one.subject): one for one in self._open.values()}
        wrong = []
        for one in kept:
            expected = told.pop((one.kind, one.subject), None)
            if expected is None:
                wrong.append((one.seq, f"{one.kind} is kept as unfinished and is finished"))
            elif expected != one:
                wrong.append((one.seq, f"{one.kind} is kept otherwise than its records say"))
        wrong += [(one.seq, f"{one.kind} is unfinished and not kept as such") for one in told.values()]
        return sorted(wrong)

"""Checks of a backend whose lanes can be cut (JRN-23b); one that cannot be repaired leaves them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from web4.journal.lane import SERVER
from web4.journal.record import OpenWork, Work
from web4.testing.journal.arena import reopened
from web4.testing.journal.scribe import Draft, Scribe, require, same_records
from web4.testing.journal.storing import ONE, TWO, fact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.backends.backend import Backend
    from web4.journal.repair import Repairable
    from web4.testing.journal.arena import Arena

_REF = ("command", "c")


async def is_repaired(arena: Arena) -> None:
    """JRN-23b: a lane is cut after one of its records; what it had beyond is gone, everything else is as it was."""
    async with arena.store("a lane cut in its middle") as store:
        async with store.open() as backend:
            if not (hasattr(backend, "raw") and hasattr(backend, "cut")):
                arena.leave_out()
                return
            scribe = Scribe(backend)
            await scribe.write({ONE: [fact(n) for n in range(60)], TWO: [fact(n) for n in range(60)]})
            works = [Work("begin", "kept"), Work("begin", "ends later"), None, Work("end", "ends later")]
            await scribe.write({ONE: [Draft(refs=(_REF,), work=work) for work in works], SERVER: [fact(1)]})
            for seq in (50, 63):
                await backend.put_snapshot(scribe.snapshot(ONE, seq), keep=5)
        async with reopened(store, scribe) as backend:
            backend = cast("Repairable", backend)
            raw = [one for after in (0, 30, 60) for one in await backend.raw(ONE, after=after, limit=30)]
            same = [(one.header, one.payload, one.salt, one.hash) for one in await backend.read(ONE)]
            require(
                [(one.header, one.payload, one.salt, one.hash) for one in raw] == same, "raw rows are others"
            )
            require([one.seq for one in raw] == list(range(1, 65)), "raw rows have other numbers")
            await _cut(backend, scribe, 62, _open(61, "kept"), _open(62, "ends later"))
            await _cut(backend, scribe, 45)
            await scribe.write({ONE: [fact(2)], TWO: [fact(3)]})
            await scribe.check_all()
        async with reopened(store, scribe) as backend:
            await scribe.check_all()
            same_records(await backend.scan(limit=10_000), scribe.expected(), what="history")
            require(await backend.open_work(ONE) == [], "work of records that were cut off is unfinished")


def _open(seq: int, subject: str) -> OpenWork:
    return OpenWork(ONE, seq, "command", subject, started=False, command=None, idempotent=False)


async def _cut(backend: Repairable, scribe: Scribe, seq: int, *work: OpenWork) -> None:
    """Cut the lane after `seq`, with this work unfinished then."""
    last = (await backend.read(ONE, after=seq - 1, limit=1))[0]
    head = scribe.heads[ONE]._replace(seq=seq, hash=last.hash, at=last.at)
    gone = await backend.cut(ONE, head, work)
    require(gone == scribe.heads[ONE].seq - seq, f"{gone} rows were there beyond {seq}")
    scribe.heads[ONE] = head
    scribe.written = [one for one in scribe.written if one.sealed.lane != ONE or one.sealed.seq <= seq]
    await scribe.own(ONE)
    await scribe.check_all()
    await _shown(backend, scribe, list(work))


async def _shown(backend: Backend, scribe: Scribe, work: list[OpenWork]) -> None:
    same_records(await backend.scan(limit=10_000), scribe.expected(), what="history")
    expected = [one for one in scribe.expected() if _REF in one.sealed.refs]
    same_records(await backend.find(_REF), expected, what="records by reference")
    require(await backend.open_work(ONE) == work, "unfinished work is not what it was said to be")
    left = [one.seq for one in await backend.snapshots(ONE)]
    require(
        left == [seq for seq in (63, 50) if seq <= scribe.heads[ONE].seq], f"snapshots are left at {left}"
    )


REPAIRING: dict[str, Callable[[Arena], Awaitable[None]]] = {"is repaired": is_repaired}

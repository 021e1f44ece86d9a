"""Numbered messages while somebody damages the way: what arrives of what was accepted, and when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from scripts.bench.figures import END, Measurement, Task
from scripts.bench.ledger import Ledger
from scripts.bench.meter import peak, resident

if TYPE_CHECKING:
    from scripts.bench.link import Link
    from scripts.bench.side import Side

RESETS = 8
STALL = 8.0
"""Seconds a stalled reader takes nothing."""
_QUIET = 10.0
"""Seconds without a message after which no more is expected."""
_LATE = 1.0
"""Seconds after the end mark in which something may still arrive."""
_SEND_LIMIT = 60.0
_REFUSALS = 200
"""Refusals in a row after which a sender gives up."""


class Mark(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A client asks its parent for the next bit of damage; it goes on when the parent has written `True`."""


class Sent(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A client has handed over what it was asked to."""


class Stamps(msgspec.Struct, frozen=True):
    """When the first and the last of a group arrived, on the clock that all processes share."""

    first_ns: int
    last_ns: int


async def send_all(link: Link, task: Task, side: Side) -> Measurement:
    """Send the whole stream; what is refused is sent again, up to a limit."""
    figure = task.figure
    filler = bytes(figure.size - 8)
    marks = [figure.count * (turn + 1) // (RESETS + 1) for turn in range(RESETS)]
    if figure.kind != "resets":
        marks = []
    before = resident()
    begin = time.monotonic()
    accepted = refused = reported = 0
    try:
        async with side.limit(_SEND_LIMIT):
            in_a_row = 0
            while accepted < figure.count and in_a_row < _REFUSALS:
                numbers = range(accepted, min(accepted + figure.batch, figure.count))
                try:
                    await link.send_many([number.to_bytes(8) + filler for number in numbers])
                except TimeoutError:
                    raise
                except Exception as error:
                    # Whatever a peer calls it: it did not take the batch, and said so.
                    refused += 1
                    in_a_row += 1
                    reported = max(reported, getattr(error, "count", 0))
                    await side.sleep(0.01)
                    continue
                in_a_row = 0
                accepted = numbers.stop
                if marks and accepted >= marks[0]:
                    del marks[0]
                    side.write(Mark())
                    await side.read(bool)
    except TimeoutError:
        pass
    measurement = {
        "accepted": accepted,
        "refused": refused,
        "reported": reported,
        "send_s": time.monotonic() - begin,
        "sender_growth_mib": (peak() - before) / 2**20,
    }
    await _end(link, side)
    return measurement


async def _end(link: Link, side: Side) -> None:
    """Say that it is over until the other side has heard it: a mark may be lost as well."""
    for _ in range(20):
        try:
            async with side.limit(0.25):
                await link.send(END)
                if await link.receive() == END:
                    return
        except Exception:
            await side.sleep(0.25)


async def receive_all(link: Link, task: Task, side: Side) -> Measurement:
    """Keep account of what arrives, until the end mark and a little longer, or until nothing comes any more."""
    ledger = Ledger(task.figure.count)
    stall = task.figure.kind == "stall"
    ended = False
    while True:
        try:
            async with side.limit(_LATE if ended else _QUIET):
                messages = await link.receive_many()
        except Exception:
            # Too long nothing, or the peer knows that nothing more comes.
            break
        for message in messages:
            if message == END:
                ended = True
            else:
                ledger.take(int.from_bytes(message[:8]))
        if stall and ledger.distinct * 10 >= task.figure.count:
            stall = False
            await side.sleep(STALL)
    try:
        async with side.limit(2.0):
            await link.send(END)
    except Exception:
        ended = False
    return {
        "distinct": ledger.distinct,
        "twice": ledger.twice,
        "reordered": ledger.reordered,
        "end_mark": float(ended),
    }


async def drive_resume(link: Link, task: Task, side: Side) -> Measurement:
    """Send a group whenever the parent says so."""
    groups = 0
    count = max(1, task.figure.count)
    while await side.read(bool):
        await link.send_many([bytes(task.figure.size)] * count)
        groups += 1
        side.write(Sent())
    await link.send(END)
    return {"groups": groups}


async def serve_resume(link: Link, task: Task, side: Side) -> Measurement:
    """Tell the parent when each group arrived."""
    count = max(1, task.figure.count)
    while True:
        messages = await link.receive_many()
        if messages[-1] == END:
            return {}
        first = time.monotonic_ns()
        got = len(messages)
        while got < count:
            got += len(await link.receive_many())
        side.write(Stamps(first, time.monotonic_ns()))

"""Round trips of the control channel, idle and beside a saturated channel whose reader is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from scripts.bench.figures import END, Measurement, Task
from scripts.bench.load_messages import echo, time_round_trips
from scripts.bench.meter import Meter, percentiles

if TYPE_CHECKING:
    from scripts.bench.link import Link, PriorityLink
    from scripts.bench.side import Side

    class ControlledLink(Link, PriorityLink):
        """A link that has both."""


PING = bytes(64)
PAUSE = 0.005
"""Seconds the slow reader does something else after each batch."""


async def serve(link: ControlledLink, task: Task, side: Side) -> Measurement:
    """Answer on the control channel and read the other slowly, until each is ended."""
    answering = True

    async def read_slowly() -> None:
        # Once the pings are over, what is left is read at once.
        while (await link.receive_many())[-1] != END:
            if answering:
                await trio.sleep(PAUSE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_slowly)
        measurement = await echo(link.control, task, side)
        answering = False
    return measurement


async def drive(link: ControlledLink, task: Task, _side: Side) -> Measurement:
    """Time the control channel alone, then beside the flood."""
    idle = percentiles(await time_round_trips(link.control, PING, task), "idle_")
    sending = True
    batch = [bytes(task.figure.size)] * task.figure.batch

    async def saturate(task_status: trio.TaskStatus[None]) -> None:
        sent = 0
        while sending:
            await link.send_many(batch)
            sent += 1
            if sent == 4:  # more than the windows take at once: from here on the sender waits for the reader
                task_status.started()
        await link.send(END)

    async with trio.open_nursery() as nursery:
        await nursery.start(saturate)
        meter = Meter()
        samples = await time_round_trips(link.control, PING, task)
        measurement = meter.read(len(samples))
        sending = False
        await link.control.send(END)
    loaded = percentiles(samples)
    return {**measurement, **idle, **loaded, "p95_ratio": loaded["p95_us"] / idle["idle_p95_us"]}

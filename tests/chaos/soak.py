"""Constant traffic and a cut every second, watched: `python -m tests.chaos.soak --seconds 600`, or `make soak`.

Prints one JSON object a line: what both processes hold, and how long a message took there and back. Ends with a
verdict, and not with 0 when anything is lost, or when what they hold or how long messages take grows.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import trio

from tests.chaos.lanes import KINDS, Chaos, Lane, chaos
from tests.rtt.processes import descriptors, memory

if TYPE_CHECKING:
    from web4 import rtt

MIB = 1 << 20
PACE = 0.004
"""Seconds between two messages of a lane."""
GROWTH = 2 * MIB
"""By how much memory may differ between the first and the last third: what an allocator keeps."""
SLOWER = 2.0
"""How many times the median of the first third messages may take in the last."""
LONG = 60.0
"""Seconds of a soak from which on times are judged, too."""


@dataclass
class Timed:
    """Round trips since the last look."""

    seconds: list[float] = field(default_factory=list)
    total: int = 0

    def taken(self) -> dict[str, Any]:
        taken, self.seconds = sorted(self.seconds), []
        self.total += len(taken)
        if not taken:
            return {"messages": 0, "p50_ms": None, "p99_ms": None}
        return {
            "messages": len(taken),
            "p50_ms": round(median(taken) * 1e3, 3),
            "p99_ms": round(taken[int(len(taken) * 0.99)] * 1e3, 3),
        }


async def traffic(lane: Lane, timed: Timed, until: float) -> None:
    """Messages at an even pace; each is late, never left out, when the carrier is gone."""
    begun: list[float] = []
    due = trio.current_time()

    async def send() -> None:
        nonlocal due
        while trio.current_time() < until:
            begun.append(time.perf_counter())
            await lane.send()
            due += PACE
            await trio.sleep_until(due)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while trio.current_time() < until or lane.returned < lane.sent:
            if lane.returned == lane.sent:
                await trio.sleep(PACE)
                continue
            before = lane.returned
            await lane.receive()
            now = time.perf_counter()
            timed.seconds += [now - at for at in begun[: lane.returned - before]]
            del begun[: lane.returned - before]


async def look(net: Chaos, session: rtt.RttSession, timed: Timed) -> dict[str, Any]:
    """What there is now. What is asked through pipes costs the same each time."""
    there = await net.bob.ask("look")
    process = net.bob.process.pid
    return {
        "memory": [memory(), memory(process)],
        "descriptors": [descriptors(), descriptors(process)],
        "tasks": [trio.lowlevel.current_statistics().tasks_living, there["tasks"]],
        "sessions": [net.alice.session_count, there["sessions"]],
        "resumes": session.reconnects,
        "resend_bytes": session.stats()["resend_bytes"],
        **timed.taken(),
    }


def verdict(seen: list[dict[str, Any]], *, timed: bool) -> list[str]:
    """What is not flat between the first third, without its beginning, and the last; times only if `timed`."""
    seen = seen[len(seen) // 10 :]
    third = max(1, len(seen) // 3)
    first, last = seen[:third], seen[-third:]
    wrong = []
    for side in (0, 1):
        grown = median(each["memory"][side] for each in last) - median(each["memory"][side] for each in first)
        if grown > GROWTH:
            wrong.append(f"memory of side {side} grew by {grown / MIB:.1f} MiB")
        for what, slack in (("descriptors", 2), ("tasks", 2), ("sessions", 0)):
            before = max(each[what][side] for each in first)
            after = median(each[what][side] for each in last)
            if after > before + slack:
                wrong.append(f"{what} of side {side} went from {before} to {after}")
    early = median(each["p50_ms"] for each in first if each["messages"])
    # At its best: others use this machine, too, and what is really slower is never fast.
    late = min(each["p50_ms"] for each in last if each["messages"])
    if timed and late > early * SLOWER + 1:
        wrong.append(f"the median round trip went from {early} to {late} ms")
    if last[-1]["resumes"] <= first[0]["resumes"]:
        wrong.append("nothing was cut")
    return wrong


async def soak(seconds: float, seed: int) -> bool:
    choose = random.Random(seed)
    seen: list[dict[str, Any]] = []
    violations: list[dict[str, Any]] = []
    timed = Timed()
    async with chaos(seed=seed) as net, net.session() as session:
        begun = trio.current_time()
        every = [Lane(await session.open_channel(kind, policy="block"), choose, most=1000) for kind in KINDS]
        for lane in every:
            await lane.run(1)
        async with trio.open_nursery() as nursery:
            for lane in every:
                nursery.start_soon(traffic, lane, timed, begun + seconds)
            for number in range(1, max(2, int(seconds * 2))):
                await trio.sleep_until(begun + number / 2)
                if number % 2:
                    await net.proxy.ask("cut", how=choose.choice(["rst", "fin"]))
                    continue
                seen.append({"at": number // 2, **await look(net, session, timed)})
                print(json.dumps(seen[-1]), flush=True)
                violations += net.violations()
                # What is watched must not grow by being watched.
                net.events.seen.clear()
        sent = sum(lane.sent for lane in every)
        returned = sum(lane.returned for lane in every)
        # A few seconds tell nothing about times on a machine that others use.
        wrong = [*verdict(seen, timed=seconds >= LONG), *violations, *net.violations()]
        print(json.dumps({"seed": seed, "sent": sent, "returned": returned, "not_flat": wrong}), flush=True)
    return not wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    sys.exit(not trio.run(soak, arguments.seconds, arguments.seed))


if __name__ == "__main__":
    main()

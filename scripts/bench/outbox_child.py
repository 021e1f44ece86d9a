"""One node of the outbox benchmark in a process of its own: `python -m scripts.bench.outbox_child ROLE DIRECTORY ...`.

The receiver listens, takes messages from the inbox and settles them. The sender keeps so many envelopes on their way,
and asks of each how it ended. Both have a journal in SQLite, with full synchronisation. One JSON object per line.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from web4 import rtt
from web4.foundation.identity import Identity
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.protocols.cip import PEER_EVENTS, CipOptions, CipRuntime, Offer
from web4.protocols.messages.cip import DmpTrace, Fact, FactPropose

if TYPE_CHECKING:
    from collections.abc import Callable

_SEEDS = {"sender": b"s" * 32, "receiver": b"r" * 32}


def identity(role: str) -> Identity:
    """The identity of a role: the same in every run."""
    return Identity.from_seed(_SEEDS[role])


def options(role: str) -> CipOptions:
    """Limits as they are, but for the rates: those would be what is measured."""
    return CipOptions(
        agent_id=role,
        offer=Offer(capabilities=("state_exchange", "knowledge_exchange")),
        messages_per_second=1e6,
        message_burst=1e6,
        replay_ids=1_000_000,
    )


def say(kind: str, /, **fields: Any) -> None:
    """Tell the parent."""
    os.write(1, json.dumps({"kind": kind, **fields}).encode() + b"\n")


def fact(number: int, size: int) -> FactPropose:
    """A message of so many bytes of text."""
    told = Fact(
        statement=f"{number} " + "x" * size,
        domain="bench",
        confidence=0.5,
        sources=(),
        context={},
    )
    trace = DmpTrace(
        decision_id="00000000-0000-4000-8000-000000000000", steps=(), counterfactuals=(), evidence=()
    )
    return FactPropose(fact=told, dmp_trace=trace, causal_links=())


async def receive(cip: CipRuntime, endpoint: rtt.Endpoint, directory: Path, nursery: trio.Nursery) -> None:
    """Take and settle until standard input ends."""
    seen: dict[str, int] = {}
    listener = await endpoint.listen(f"unix://{directory}/receiver.sock", admit=cip.admit)

    async def serve() -> None:
        async for session in endpoint.sessions():
            nursery.start_soon(cip.serve, session)

    async def take() -> None:
        async for delivery in cip.inbox:
            seen[delivery.msg_id] = seen.get(delivery.msg_id, 0) + 1
            await cip.settled(delivery)

    nursery.start_soon(serve)
    nursery.start_soon(take)
    say("listening", url=listener.addresses[0])
    began = sum(os.times()[:2])
    await trio.lowlevel.wait_readable(sys.stdin.fileno())
    say(
        "received",
        different=len(seen),
        twice=sum(times > 1 for times in seen.values()),
        processor_seconds=sum(os.times()[:2]) - began,
    )


async def send(
    cip: CipRuntime, endpoint: rtt.Endpoint, url: str, arguments: argparse.Namespace, nursery: trio.Nursery
) -> None:
    """Keep envelopes in flight for some seconds; count those that a receipt has concluded."""
    peer = identity("receiver").fingerprint
    waits: list[float] = []
    async with endpoint.dial(url, expect=peer) as session:
        nursery.start_soon(cip.serve, session)
        await cip.established(session)
        began, processor = trio.current_time(), sum(os.times()[:2])

        async def one(task: int) -> None:
            number = task
            while (now := trio.current_time()) < began + arguments.seconds:
                msg_id = await cip.send(peer, fact(number, arguments.size))
                conclusion = await cip.concluded(peer, msg_id)
                if conclusion is None or conclusion.outcome != "delivered":
                    say("trouble", conclusion=str(conclusion))
                    return
                waits.append(trio.current_time() - now)
                number += arguments.in_flight

        async with trio.open_nursery() as tasks:
            for task in range(arguments.in_flight):
                tasks.start_soon(one, task)
        took, used = trio.current_time() - began, sum(os.times()[:2]) - processor
    waits.sort()
    say(
        "sent",
        delivered=len(waits),
        seconds=took,
        processor_seconds=used,
        p50_ms=waits[len(waits) // 2] * 1_000,
        p99_ms=waits[len(waits) * 99 // 100] * 1_000,
    )


async def main(arguments: argparse.Namespace) -> None:
    """Run one role."""
    directory, role = Path(arguments.directory), arguments.role
    async with (
        open_sqlite(directory / role) as backend,
        open_journal(backend, registry=EventRegistry(PEER_EVENTS), identity=identity(role)) as journal,
        rtt.open_endpoint(identity(role)) as endpoint,
        CipRuntime(identity(role), options=options(role), journal=journal) as cip,
        trio.open_nursery() as nursery,
    ):
        if role == "receiver":
            await receive(cip, endpoint, directory, nursery)
        else:
            await send(cip, endpoint, arguments.url, arguments, nursery)
        nursery.cancel_scope.cancel()


def _profiled(run: Callable[[], None], where: str | None) -> None:
    if where is None:
        run()
        return
    profile = cProfile.Profile()
    try:
        profile.runcall(run)
    finally:
        profile.dump_stats(where)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["sender", "receiver"])
    parser.add_argument("directory")
    parser.add_argument("--url", default="")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--profile")
    given = parser.parse_args()
    _profiled(lambda: trio.run(main, given), given.profile)

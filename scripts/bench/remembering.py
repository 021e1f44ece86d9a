"""What a journal costs a conversation: CIP with lanes in memory, beside CIP with lanes in a SQLite journal.

Run `python -m scripts.bench.remembering`; `--json` prints one object instead of the table.

Two nodes in one process talk over a Unix socket and TLS. `facts` is how many FACT_PROPOSE a second reach the other
application, sent as fast as the session takes them; `intent` is the time from asking to the REPLY(accepted), one at a
time; `open` the time from dialling to an established session. Rounds of both sides are interleaved, so that a slow
moment of the machine hits both; medians are compared. `boot` is entering a runtime whose journal knows so many peers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import tracemalloc
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from scripts.bench.machine import machine
from web4 import rtt
from web4.foundation.identity import generate_identity
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.protocols.cip import CipOptions, CipRuntime, Offer, accept
from web4.protocols.cip.lane import PEER_EVENTS
from web4.protocols.cip.outbox.entries import OutboxLimits
from web4.protocols.errors import OutboxFull
from web4.protocols.messages import cip as m
from web4.trust import HandshakeOk, TrustLimits, TrustRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.journal.journal import Journal
    from web4.protocols.cip import Delivery, IntentAnswer

SIDES: Final = ("memory", "sqlite")
FACT: Final = m.Fact(statement="water boils " * 16, domain="physics", confidence=0.9, sources=(), context={})
TRACE: Final = m.DmpTrace(
    decision_id="11111111-2222-1333-9444-555555555555", steps=(), counterfactuals=(), evidence=()
)
PLENTY: Final = 1e9


async def _gladly(_delivery: Delivery) -> IntentAnswer:
    return accept()


@asynccontextmanager
async def _node(directory: Path, name: str, side: str) -> AsyncIterator[tuple[CipRuntime, rtt.Endpoint, str]]:
    identity = generate_identity()
    options = CipOptions(
        agent_id=name,
        offer=Offer(capabilities=("state_exchange", "knowledge_exchange")),
        messages_per_second=PLENTY,
        message_burst=PLENTY,
        handshakes_per_second=PLENTY,
        handshake_burst=PLENTY,
        inbox_per_peer=100_000,
        inbox_total=100_000,
        inbox_bytes_per_peer=1 << 30,
        inbox_bytes_total=1 << 30,
        replay_ids=10_000_000,
        outbox=OutboxLimits(entries=512),  # more would only be waited for at the end
    )
    async with AsyncExitStack() as stack:
        journal: Journal | None = None
        if side == "sqlite":
            journal = await stack.enter_async_context(_journal(directory / name))
        endpoint = await stack.enter_async_context(rtt.open_endpoint(identity))
        runtime = CipRuntime(identity, options=options, accept_intent=_gladly, journal=journal)
        cip = await stack.enter_async_context(runtime)
        url = f"unix://{directory}/{name}.sock"
        await endpoint.listen(url, admit=cip.admit)
        yield cip, endpoint, url


@asynccontextmanager
async def _journal(directory: Path) -> AsyncIterator[Journal]:
    async with (
        open_sqlite(directory) as backend,
        open_journal(backend, registry=EventRegistry(PEER_EVENTS)) as journal,
    ):
        yield journal


async def _round(directory: Path, side: str, seconds: float) -> dict[str, Any]:
    """One round: two nodes meet, facts flow, then questions."""
    async with (
        trio.open_nursery() as nursery,
        _node(directory, "ada", side) as (ada, ada_end, _),
        _node(directory, "bob", side) as (bob, bob_end, url),
    ):

        async def serve_all() -> None:
            async for session in bob_end.sessions():
                nursery.start_soon(bob.serve, session)

        nursery.start_soon(serve_all)
        peer = bob._context.identity.fingerprint  # noqa: SLF001 - the node is ours
        began = time.perf_counter()
        async with ada_end.dial(url, expect=peer) as session:
            nursery.start_soon(ada.serve, session)
            await ada.established(session)
            opened = time.perf_counter() - began
            facts = await _facts(nursery, ada, bob, peer, seconds)
            latencies = []
            deadline = trio.current_time() + seconds
            while trio.current_time() < deadline:
                asked = time.perf_counter()
                await ada.send_intent(peer, goal="ask", topic="time")
                await ada.settled(await anext(ada.inbox))
                latencies.append(time.perf_counter() - asked)
                await bob.settled(await anext(bob.inbox))
            session.abort("done")
        nursery.cancel_scope.cancel()
    latencies.sort()
    return {
        "open_ms": opened * 1e3,
        "facts_per_s": facts,
        "intent_p50_us": latencies[len(latencies) // 2] * 1e6,
        "intent_p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
    }


async def _facts(nursery: trio.Nursery, ada: CipRuntime, bob: CipRuntime, peer: str, seconds: float) -> float:
    """Facts a second that reach the other application, while more wait to be sent."""

    async def propose() -> None:
        with flow:
            while True:
                try:
                    await ada.propose_fact(peer, FACT, TRACE)
                except OutboxFull:
                    await trio.sleep(0.001)

    async def take() -> None:
        delivery = await anext(bob.inbox)
        with trio.CancelScope(shield=True):  # what was taken and never settled would be waited for, for ever
            await bob.settled(delivery)

    flow = trio.CancelScope()
    nursery.start_soon(propose)
    await take()
    began, taken = trio.current_time(), 0
    while trio.current_time() < began + seconds:
        await take()
        taken += 1
    elapsed = trio.current_time() - began
    flow.cancel()
    while await ada.outbox(peer):  # what is under way arrives before questions are asked
        with trio.move_on_after(0.1):
            await take()
    return taken / elapsed


async def _boot(directory: Path, peers: int) -> dict[str, Any]:
    """Enter a runtime whose journal knows so many peers, each of whom did one handshake."""
    identity = generate_identity()
    limits = TrustLimits(newcomers_per_hour=peers + 1)

    def runtime(journal: Journal) -> CipRuntime:
        options, trust = CipOptions(agent_id="boot"), TrustRegistry(limits=limits)
        return CipRuntime(identity, options=options, trust=trust, journal=journal)

    async with _journal(directory) as journal, runtime(journal) as cip, trio.open_nursery() as nursery:
        for number in range(peers):
            nursery.start_soon(cip.trust_command, f"{number:064x}", HandshakeOk(at_ms=1))
    async with _journal(directory) as journal:
        began = time.perf_counter()
        async with runtime(journal) as cip:
            seconds = time.perf_counter() - began
            assert len(cip.trust) == peers
    async with _journal(directory) as journal:
        tracemalloc.start()
        async with runtime(journal):
            held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return {"peers": peers, "seconds": seconds, "bytes_per_peer": held / peers}


def measure(*, rounds: int, seconds: float, peers: int) -> dict[str, Any]:
    """Measure both sides, interleaved, and the boot."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            with tempfile.TemporaryDirectory(prefix="web4-bench-") as directory:
                found[side].append(trio.run(_round, Path(directory), side, seconds))
    with tempfile.TemporaryDirectory(prefix="web4-bench-") as directory:
        boot = trio.run(_boot, Path(directory) / "boot", peers)
    medians = {
        side: {name: statistics.median(one[name] for one in results) for name in results[0]}
        for side, results in found.items()
    }
    return {"machine": machine(), "rounds": rounds, "seconds": seconds, "sides": medians, "boot": boot}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--peers", type=int, default=1_000)
    options = parser.parse_args()
    report = measure(rounds=options.rounds, seconds=options.seconds, peers=options.peers)
    if options.json:
        print(json.dumps(report))
        return
    memory, kept = (report["sides"][side] for side in SIDES)
    for name in memory:
        print(
            f"{name:<16} memory {memory[name]:10.1f}   sqlite {kept[name]:10.1f}   {kept[name] / memory[name]:5.2f}x"
        )
    boot = report["boot"]
    print(
        f"boot with {boot['peers']} peers: {boot['seconds']:.2f} s, {boot['bytes_per_peer']:.0f} bytes a peer"
    )


if __name__ == "__main__":
    main()

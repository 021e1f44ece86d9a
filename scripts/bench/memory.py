"""What causal memory costs when it is full: asking, learning, and being written down.

Run `python -m scripts.bench.memory`; `--json` prints one object instead of the table, `--records N` fills it less.

A memory is filled with accepted claims: each has a functional triple, every other one follows from an earlier one. Then
statements are checked (MEM-4) that it supports, contradicts, and knows nothing of; claims are accepted beyond its
bound, so that the oldest fall out; edges are seen; a forecast is asked for; its state is spelled and read again.
Nothing is written to a disk: a journal has a benchmark of its own. Times are of the process, not of the wall.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from typing import TYPE_CHECKING, Final

import msgspec

from scripts.bench.machine import machine
from web4.foundation.digest import canonical
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.memory import (
    AcceptClaim,
    Asking,
    Link,
    MemoryForm,
    MemoryLogic,
    RememberedClaim,
    StoredTriple,
    check,
    restored_memory,
    stored_memory,
)
from web4.protocols.knowledge.memory.entries import size_of
from web4.protocols.knowledge.memory.graph import Edge, Told
from web4.protocols.knowledge.memory.storing import GraphForm

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.knowledge.memory import CausalMemory, MemoryCommand

ROUNDS: Final = 5
CALLS: Final = 1_000
DOMAIN: Final = "benchmark"


def _claim(number: int, chance: random.Random) -> AcceptClaim:
    earlier = [claim_key(DOMAIN, f"statement {chance.randrange(number)}") for _ in range(2)] if number else []
    return AcceptClaim(
        key=claim_key(DOMAIN, f"statement {number}"),
        domain=DOMAIN,
        triple=StoredTriple(subject=f"subject {number}", predicate="is", object="this", functional=True),
        causal_links=tuple(earlier),
        confidence=0.9,
        at_ms=number,
    )


def _filled(records: int, chance: random.Random) -> CausalMemory:
    """A memory of so many claims, made as one that is read: the half of its edges that are allowed are there."""
    claims, edges = [], []
    ranks: dict[str, int] = {}
    for number in range(records):
        command = _claim(number, chance)
        claim = RememberedClaim(
            key=command.key,
            domain=DOMAIN,
            triple=command.triple,
            follows_from=command.causal_links[: number % 2],
            at_ms=number,
        )
        claims.append(claim)
        for cause in claim.follows_from:
            edges.append(Edge(cause=cause, effect=claim.key, told=(Told(claim.key, 0.9, number),)))
            ranks.setdefault(cause, -1)
            ranks[claim.key] = number
    # A cause is an earlier claim: its own number is less, and one that has no cause stands below all.
    size = sum(size_of(one) for one in claims)
    form = MemoryForm(claims=tuple(claims), graph=GraphForm(edges=tuple(edges), ranks=ranks), bytes=size)
    return restored_memory(form)


def _told(logic: MemoryLogic, memory: CausalMemory, command: MemoryCommand) -> CausalMemory:
    for event in logic.decide(memory, command).events:
        memory = logic.apply(memory, event)
    return memory


def _per_call(call: Callable[[int], object]) -> float:
    """Median over the rounds of the time of one call, microseconds."""
    times = []
    for number in range(ROUNDS):
        begun = time.process_time_ns()
        for at in range(number * CALLS, (number + 1) * CALLS):
            call(at)
        times.append((time.process_time_ns() - begun) / CALLS / 1_000)
    return statistics.median(times)


def measure(records: int, seed: int) -> dict[str, float]:
    """Fill a memory and measure it; microseconds per call, milliseconds for a state."""
    chance = random.Random(seed)
    logic = MemoryLogic()
    memory = _filled(records, chance)
    asked = [chance.randrange(records) for _ in range(ROUNDS * CALLS)]
    other = [
        StoredTriple(subject=f"subject {number}", predicate="is", object="that", functional=True)
        for number in asked
    ]
    figures = {
        "check_supports_us": _per_call(lambda at: check(memory, f"statement {asked[at]}", DOMAIN)),
        "check_contradicts_us": _per_call(lambda at: check(memory, f"another {at}", DOMAIN, other[at])),
        "check_unknown_us": _per_call(lambda at: check(memory, f"another {at}", DOMAIN)),
    }
    grown = memory

    def accept(at: int) -> None:
        nonlocal grown
        grown = _told(logic, grown, _claim(records + at, chance))

    def link(at: int) -> None:
        nonlocal grown
        grown = _told(logic, grown, Link(cause=f"a{chance.randrange(999)}", effect=f"b{at % 999}", at_ms=at))

    figures["accept_us"] = _per_call(accept)
    figures["link_us"] = _per_call(link)
    asking = Asking(memory, records)
    keys = [claim_key(DOMAIN, f"statement {number}") for number in asked]
    figures["forecast_us"] = _per_call(lambda at: asking.forecast(keys[at], most=16))
    begun = time.process_time_ns()
    data = canonical(stored_memory(memory))
    figures["spell_ms"] = (time.process_time_ns() - begun) / 1e6
    begun = time.process_time_ns()
    restored_memory(msgspec.json.decode(data, type=MemoryForm))
    figures["read_ms"] = (time.process_time_ns() - begun) / 1e6
    figures["state_mib"] = len(data) / 2**20
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.records, options.seed)
    if options.json:
        print(json.dumps({"machine": machine(), "records": options.records, "seed": options.seed, **figures}))
        return
    print(f"{options.records} accepted claims, seed {options.seed}")
    for name, value in figures.items():
        print(f"{name:24}{value:12.1f}")


if __name__ == "__main__":
    main()

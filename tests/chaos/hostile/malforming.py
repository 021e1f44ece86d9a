"""Envelopes that are none: valid ones, mutated by a seed (VAL-1, steps 1 to 6)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from tests.chaos.hostile.intruder import IDS, CutError
from tests.chaos.hostile.stage import UNTOUCHED, fact, intent
from web4.protocols.messages import cip as m
from web4.protocols.messages.vocabulary import type_of

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from tests.chaos.hostile.intruder import Entry
    from tests.chaos.hostile.stage import Stage

AT_ONCE = 500
"""Of one session: it is closed after some twenty."""
SESSIONS = 6


def mutated(rng: random.Random, data: bytes) -> bytes:
    """One of many ways in which an envelope is none. Its signature may be right or not: nothing gets that far."""
    match rng.randrange(8):
        case 0:
            return rng.randbytes(rng.randrange(1, 400))
        case 1:
            return data[: rng.randrange(1, len(data))]
        case 2:
            return data + b" "
        case 3:
            return data.replace(b":", b": ", 1)
        case 4:
            return b"[" * 64 + data
        case 5:
            return b"\xef\xbb\xbf" + data
        case 6:
            fields = json.loads(data)
            del fields[rng.choice(sorted(set(fields) - {"sign"}))]
            return canonical(fields)
        case _:
            fields = json.loads(data)
            fields[rng.choice(sorted(fields))] = rng.choice([None, [], 2**40, "x" * 70, {"a": 1}])
            return canonical(fields)


def canonical(fields: dict[str, Any]) -> bytes:
    """Spell it so that only what it says is wrong."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def seeds_of(entry: Entry) -> Iterator[tuple[str, bytes]]:
    """Valid envelopes, with the channel on which they travel."""
    ref = IDS.uuid4()
    payloads = (
        intent("what"),
        fact("so it is", IDS.uuid4(), value="so"),
        m.Receipt(msg_ids=(ref,)),
        m.FactChallenge(fact_ref=ref, reason="conflict", notes=""),
        m.StateUpdate(presence="focused", lri=1, ltppeerstate="trusted", kernel_signals=(), intent=""),
    )
    for payload in payloads:
        yield type_of(payload).channel, entry.sealed(payload)


async def malformed(stage: Stage, count: int) -> None:
    """So many envelopes that are none, over one session after another: each is cut (VAL-4), and forgotten."""
    left = count

    async def one() -> None:
        nonlocal left
        while left > 0:
            victim = stage.victim
            async with stage.sybil() as it:
                try:
                    async with it.session(victim) as entry:
                        seeds = list(seeds_of(entry))
                        while left > 0 and not entry.rtt.ended:
                            kind, data = stage.rng.choice(seeds)
                            batch = [mutated(stage.rng, data) for _ in range(min(AT_ONCE, left))]
                            left -= len(batch)
                            stage.sent += len(batch)
                            await entry.raw(batch, kind)  # type: ignore[arg-type]
                        # Of a channel of states the newest are read only.
                        many = entry.sent >= 2 * AT_ONCE
                        stage.did(it, victim, *UNTOUCHED, cut=await entry.cut() if many else None)
                except CutError:
                    stage.did(it, victim, *UNTOUCHED)

    async with trio.open_nursery() as nursery:
        for _ in range(SESSIONS):
            nursery.start_soon(one)


async def wrong_channel(stage: Stage, count: int) -> None:
    """What is sound, where it does not belong: counted, and cut."""
    for _ in range(count):
        victim = stage.victim
        async with stage.sybil() as it:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    await entry.raw([entry.sealed(intent(str(number))) for number in range(40)], "control")
                    stage.did(it, victim, *UNTOUCHED, cut=await entry.cut())
                    stage.sent += 40

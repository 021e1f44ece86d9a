"""Random commands, crashes, faults and restarts, against a plain loop over decide and apply (ACT-2 to ACT-5, JRN-13).

`WEB4_ACTOR_RUNS=1000 pytest tests/actors/test_random_runs.py` makes as many runs as you want; a failure prints a seed.
"""

from __future__ import annotations

import os
import random
from functools import partial
from typing import Any

import msgspec
import trio
import trio.testing

from tests.actors.jobs import (
    LANE,
    Begin,
    Cancel,
    Conclude,
    Crash,
    JobLane,
    JobState,
    Look,
    Note,
    Request,
    Requested,
    opened,
)
from tests.seeds import a_seed
from web4.actors import (
    ActorCrashError,
    ActorOptions,
    ActorStoppedError,
    EffectError,
    RestartPolicy,
    open_lane_actors,
    open_lane_writer,
)
from web4.journal.backends.memory import MemoryStore, RandomFaults
from web4.journal.errors import JournalUnavailable

RUNS = int(os.environ.get("WEB4_ACTOR_RUNS", "3"))
BOOTS = 5


def faults(rng: random.Random) -> RandomFaults:
    return RandomFaults(rng.randrange(2**32), rate=0.1, longest_delay=0.05)


def plain_loop(notes: list[int]) -> JobState:
    """The reference: decide and apply, and nothing else."""
    logic = JobLane().logic
    state: JobState = logic.initial
    for value in notes:
        for event in logic.decide(state, Note(value, memo=str(value))).events:
            state = logic.apply(state, event)
    return state


class Run:
    """One seeded run: a store that is opened again and again, callers, and what they were told."""

    def __init__(self, seed: int) -> None:
        print("run", seed)
        self.rng = random.Random(seed)
        self.store = MemoryStore()
        self.options = ActorOptions(
            restarts=RestartPolicy(limit=10_000), stop_seconds=4, grace_seconds=1, seed=seed
        )
        self.answered: set[int] = set()
        self.doubtful: set[int] = set()
        self.number = 0

    async def boot(self, definition: JobLane, command: Any, calls: int) -> None:
        """Open, let `calls` callers ask for what `command` makes of a number, and stop in order or at once."""
        async with (
            trio.open_nursery() as callers,
            opened(self.store, faults=faults(self.rng)) as journal,
        ):
            with trio.CancelScope() as scope:
                async with open_lane_actors(journal, {"session": definition}, options=self.options) as actors:
                    for _ in range(calls):
                        self.number += 1
                        callers.start_soon(self.call, actors.lane(LANE), self.number, command(self.number))
                    await trio.sleep(self.rng.uniform(0.5, 3))
                    if self.rng.random() < 0.5:
                        scope.cancel()
                        await trio.sleep_forever()

    async def call(self, ref: Any, value: int, command: Any) -> None:
        await trio.sleep(self.rng.random())
        self.doubtful.add(value)
        try:
            await ref.ask(command, control=isinstance(command, Cancel))
            self.answered.add(value)
        except (ActorCrashError, JournalUnavailable, EffectError):
            self.doubtful.discard(value)
        except ActorStoppedError as error:
            if error.code == "stopped":
                self.doubtful.discard(value)


async def test_random_commands_and_crashes_equal_a_plain_loop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """ACT-2, ACT-5: what was answered is there, once; what was refused is not; the state is that of a plain loop."""
    seed = a_seed()
    print("seed", seed)
    seeds = random.Random(seed)
    for _ in range(RUNS):
        run = Run(seeds.randrange(2**32))

        def command(value: int) -> Any:
            if value % 7 == 0:
                return Crash("decide" if value % 2 else "apply")
            return Note(value, memo=str(value))

        for _ in range(BOOTS):
            await run.boot(JobLane(), command, 40)
        async with opened(run.store) as journal:
            writer = await open_lane_writer(journal, LANE, JobLane())
            records = await journal.read(LANE, limit=10_000)
            noted = [int(msgspec.json.decode(one.payload or b"")["memo"]) for one in records]
            assert len(noted) == len(set(noted))
            assert run.answered <= set(noted) <= run.answered | run.doubtful
            assert writer.state == plain_loop(noted)
            run.store.snapshots.clear()
            assert (await open_lane_writer(journal, LANE, JobLane())).state == writer.state


async def some_work(rng: random.Random, request: Requested) -> Any:
    """Answer, fail, be deaf for a while, or come back with what the logic dies of."""
    chance = rng.random()
    with trio.CancelScope(shield=chance < 0.1):
        await trio.sleep(rng.random() * 3)
    if chance > 0.9:
        raise ZeroDivisionError
    return Crash() if chance > 0.8 else Conclude(request.effect_id, "ok")


def some_command(rng: random.Random, begun: list[str], value: int) -> Any:
    """A job with effects, an effect by itself, a cancellation, or what the logic dies of."""
    kind = rng.randrange(6)
    if kind == 0:
        return Crash()
    if kind == 1 and begun:
        return Cancel(rng.choice(begun))
    if kind == 2:
        begun.append(f"e{value}")
        return Request(f"e{value}", idempotent=rng.random() < 0.5)
    effects = tuple((f"j{value}.{number}", rng.random() < 0.5) for number in range(rng.randint(0, 3)))
    begun.extend(name for name, _ in effects)
    return Begin(f"j{value}", start=bool(effects), effects=effects)


async def test_random_effects_are_concluded_once(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3c, JRN-13: effects that answer, fail, hang, are cut off, with crashes and restarts: one conclusion each."""
    seed = a_seed()
    print("seed", seed)
    seeds = random.Random(seed)
    for _ in range(RUNS):
        run = Run(seeds.randrange(2**32))
        rng = run.rng
        begun: list[str] = []

        definition = JobLane(work=partial(some_work, rng))
        for _ in range(BOOTS):
            await run.boot(definition, partial(some_command, rng, begun), 20)
        async with opened(run.store) as journal:
            async with open_lane_actors(journal, {"session": JobLane()}) as actors:
                await actors.lane(LANE).ask(Look())
                await trio.sleep(30)
                # What is left was queued again in this boot, and its effects have come to their end.
                assert await journal.open_work() == []
            records = await journal.read(LANE, limit=10_000)
            events = [(one.type, msgspec.json.decode(one.payload or b"")) for one in records]
            requested = [one["effect_id"] for type_, one in events if type_ == "job.requested"]
            concluded = [one["effect_id"] for type_, one in events if type_ == "job.concluded"]
            assert sorted(requested) == sorted(concluded)
            assert len(set(requested)) == len(requested)
            state: JobState = JobLane().logic.initial
            for record in records:
                if record.type.startswith("job."):
                    state = JobLane().logic.apply(state, journal.registry.decode(record))
            assert (await open_lane_writer(journal, LANE, JobLane())).state == state

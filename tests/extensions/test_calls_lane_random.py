"""Calls while the disk fails, callers leave and the node crashes, by chance: each is concluded once (EXT-3, ACT-3).

`WEB4_ROUNDS=200 pytest tests/extensions/test_calls_lane_random.py` tries more seeds; a failure prints its own.
"""

from __future__ import annotations

import copy
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.extensions.calling import LANE, Host, calling, concluded, outcome, request
from web4.extensions.calls.call_events import CallRequested
from web4.extensions.calls.calls_lane_asking import call_on_lane
from web4.extensions.calls.calls_logic import CutCall
from web4.foundation.errors import Web4Error
from web4.journal.backends.memory import MemoryStore, RandomFaults

if TYPE_CHECKING:
    from web4.actors import LaneActors
    from web4.extensions.outcome import CallOutcome
    from web4.journal.journal import Journal

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "12"))
FIRST = int(os.environ.get("WEB4_SEED", "1"))


class _CrashError(Exception):
    """The node dies."""


class Life:
    """One life of a node: calls of all sorts until it ends. What callers heard is kept over its lives."""

    def __init__(self, seed: str, heard: dict[str, str]) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        self.heard = heard
        self.host = Host(self.work)

    async def work(self, asked: CallRequested, arguments: Any) -> CallOutcome:
        await trio.sleep(self.chance.choice([0, 0.01, 0.3, 2]))
        match self.chance.randrange(6):
            case 0:
                raise ZeroDivisionError
            case 1:
                return outcome(asked, outcome="timeout", code="extension_timeout")
            case 2:
                return outcome(asked, [b"bytes", "x" * 100_000])
        return outcome(asked, arguments)

    async def call(self, journal: Journal, actors: LaneActors, name: str) -> None:
        lane = actors.lane(LANE)
        for number in range(4):
            asked = request(f"{name}.{number}", arguments=number, idempotent=self.chance.random() < 0.5)
            with trio.move_on_after(self.chance.choice([0, 0.005, 1, 60])):
                try:
                    ended = await call_on_lane(journal, lane, asked)
                    self.heard[ended.call_id] = ended.outcome
                except Web4Error:
                    await trio.sleep(0.05)
            if self.chance.random() < 0.2:
                with trio.move_on_after(1):
                    try:
                        cut = CutCall(call_id=asked.call_id, reason="user", at=0)
                        await lane.ask(cut, control=True)
                    except Web4Error:
                        await trio.sleep(0.05)

    async def live(self, journal: Journal, actors: LaneActors, *, crash: bool) -> None:
        async with trio.open_nursery() as nursery:
            for caller in range(6):
                nursery.start_soon(self.call, journal, actors, f"{self.seed}.{caller}")
            if crash:
                await trio.sleep(self.chance.uniform(0, 3))
                raise _CrashError


async def lives(seed: int) -> None:
    store, heard = MemoryStore(), dict[str, str]()
    for number in range(3):
        life = Life(f"{seed}.{number}", heard)
        faults = RandomFaults(f"{seed}.{number}", rate=0.15, operations=("commit", "put_blob"))
        try:
            async with calling(life.host, store, faults=faults) as (journal, actors):
                await life.live(journal, actors, crash=number < 2)
        except* _CrashError:
            pass
        store = copy.deepcopy(store)
        store.kill()
    async with calling(Host("at last"), store) as (journal, _):
        with trio.fail_after(60):
            while await journal.open_work():
                await trio.sleep(0.1)
        records = await journal.read(LANE, limit=10_000)
        events = [journal.registry.decode(one) for one in records if one.type.startswith("extension.")]
        asked = [one.call_id for one in events if isinstance(one, CallRequested)]
        ended = await concluded(journal)
        assert Counter(one.call_id for one in ended) == Counter(asked), "one conclusion each"
        assert max(Counter(asked).values(), default=0) <= 1, "a call id is used once"
        outcomes = {one.call_id: one.outcome for one in ended}
        assert {call_id: outcomes[call_id] for call_id in heard} == heard
        print(len(heard), "heard of", Counter(outcomes.values()))
        assert asked


@pytest.mark.parametrize("seed", range(FIRST, FIRST + ROUNDS))
async def test_each_call_is_concluded_once(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    """EXT-3, JRN-13, JRN-15: whatever happens between."""
    print("seed", seed)
    await lives(seed)

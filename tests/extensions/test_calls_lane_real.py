"""kill -9 of a whole node, real workers and all, between request and conclusion (EXT-3, EXT-34, JRN-13).

`WEB4_KILLS=50 pytest tests/extensions/test_calls_lane_real.py` kills as often as you want; a failure prints the seed.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import trio

from tests.extensions.lane_node import LANE, opened_node, prepare
from tests.kills import kills
from web4.extensions.calls.call_events import CallConcluded, CallRequested

KILLS = int(os.environ.get("WEB4_KILLS", "2"))
SEED = int(os.environ.get("WEB4_SEED", "6"))
LONG = 60.0


def live_and_die(directory: Path, seed: int, seconds: float) -> dict[str, str]:
    """Start a node, let it call for so long, kill it; what its callers heard."""
    node = subprocess.Popen(
        [sys.executable, "-m", "tests.extensions.lane_node", str(directory), str(seed)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert node.stdout is not None
    try:
        assert node.stdout.readline() == "ready\n"
        time.sleep(seconds)
    finally:
        node.kill()
        said, _ = node.communicate()
    *lines, _ = said.split("\n")  # what was cut off in the middle of a line was not said
    return dict(line.split(" ") for line in lines)


async def boot(directory: Path) -> list[Any]:
    """Boot, until nothing is open; all events of the lane."""
    events: list[Any] = []
    with trio.fail_after(LONG):
        async with opened_node(directory) as node:
            while await node.journal.open_work():
                await trio.sleep(0.01)
            after = 0
            while records := await node.journal.read(LANE, after=after):
                events += [node.journal.registry.decode(one) for one in records]
                after = records[-1].seq
    return events


def test_kill_9_of_a_whole_node(tmp_path: Path) -> None:
    """EXT-3, EXT-34: one conclusion each; repeated are idempotent calls alone, with their keys."""
    chance = random.Random(SEED)
    prepare(tmp_path)
    world = tmp_path / "world" / "done"
    heard: dict[str, str] = {}
    for number in kills(KILLS, heard):
        print("seed", SEED, "kill", number)
        heard |= live_and_die(tmp_path, SEED * 10_000 + number, chance.uniform(0.05, 0.5))
        events = trio.run(boot, tmp_path)
        requested = {one.call_id: one for one in events if isinstance(one, CallRequested)}
        ended = [one for one in events if isinstance(one, CallConcluded)]
        assert Counter(one.call_id for one in ended) == Counter(list(requested)), "one conclusion each"
        outcomes = {one.call_id: one for one in ended}
        assert all(outcomes[call_id].outcome == said for call_id, said in heard.items())
        assert {one.outcome for one in ended} <= {"ok", "killed"}
        assert all(one.code == "worker_lost" for one in ended if one.outcome == "killed")
        assert all(not requested[one.call_id].idempotent for one in ended if one.outcome == "killed")
        acts = [line.split(" ") for line in world.read_text().splitlines()] if world.exists() else []
        assert all(requested[call_id].idempotency_key == key for call_id, key in acts)
        times = Counter(call_id for call_id, _ in acts)
        assert all(requested[call_id].idempotent for call_id, count in times.items() if count > 1)
        assert {one.call_id for one in ended if one.outcome == "ok"} <= set(times)
    assert heard

"""A node killed between the decision on a claim and its effect on trust: told once each, by the next boot (ACT-3).

`WEB4_KILLS=50` kills as often as you want; a failure prints its seed.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.kills import kills
from tests.protocols.knowledge.book import fp, msg

KILLS = int(os.environ.get("WEB4_KILLS", "3"))
SEED = int(os.environ.get("WEB4_SEED", "5"))
EACH = 10_000


def started(directory: Path, first: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.protocols.knowledge.killed_node", str(directory), str(first)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )


def live_and_die(directory: Path, first: int, seconds: float) -> list[int]:
    """Start a node, let it accept claims for so long, kill it; the claims of which it said so."""
    node = started(directory, first)
    assert node.stdout is not None
    try:
        assert node.stdout.readline() == "ready\n"
        time.sleep(seconds)
    finally:
        node.kill()
        said, _ = node.communicate()
    *lines, _ = said.split("\n")  # what was cut off in the middle of a line was not said
    return [int(line) for line in lines]


def test_kill_9_between_decision_and_effect(tmp_path: Path) -> None:
    """ACT-3, KNOW-9, ROUTE-3: real processes, killed at any moment."""
    chance, directory = random.Random(SEED), tmp_path / "journal"
    accepted: set[int] = set()
    for number in kills(KILLS, accepted):
        print("seed", SEED, "kill", number)
        accepted |= set(live_and_die(directory, (number + 1) * EACH, chance.uniform(0.05, 0.5)))
    assert accepted
    last = started(directory, 0)
    said, _ = last.communicate(timeout=120)
    assert last.returncode == 0
    (listed,) = [line.split()[1:] for line in said.splitlines() if line.startswith("accepted")]
    (digests,) = [line.split()[1:] for line in said.splitlines() if line.startswith("state")]
    durable = {int(one) for one in listed}
    assert accepted <= durable
    assert digests[0] == digests[1]
    told = [line.split() for line in Path(f"{directory}.told").read_text().splitlines()]
    assert {tuple(line) for line in told} == {
        (fp("p"), "knowledge_verified", f"{fp('c')}:{msg(f'c{number}')}") for number in durable
    }
    # The same cause more than once is what the peer's lane is there to know: as often as the node was killed at most.
    assert max(Counter(map(tuple, told)).values()) <= number + 2

"""What killed sessions leave behind: nothing (RTT-52, RTT-61)."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.rtt.processes import ROOT

KIB = 1024


def run(module: str, *arguments: str) -> str:
    """What a module that must succeed prints."""
    ran = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    return ran.stdout


def test_rtt_no_leaks_1000_killed() -> None:
    """RTT-61: 1 000 sessions killed with messages under way, half of them while suspended and waited for: no task,
    descriptor, session or memory is left."""
    told = json.loads(run("tests.chaos.leaks"))
    # Each has had 70 KB and more under way, so one in thirty that is kept would be seen.
    assert told["grown"] < 300 * 3 * KIB, told


def test_a_short_soak_is_flat() -> None:
    """RTT-61: the soak itself, for some seconds; `make soak` runs it for as long as one likes."""
    assert '"not_flat": []' in run("tests.chaos.soak", "--seconds", "5")

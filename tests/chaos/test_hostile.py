"""A deliberately hostile node against an honest mesh, each node a process: what it may not change (issue 6).

Every attack of `tests.chaos.hostile.attacks` once, in small; `make hostile` has all of it. A failure prints the seed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.chaos.hostile.campaign import campaign, show
from tests.chaos.hostile.judgement import judge, summary
from tests.seeds import a_seed
from web4.demo.survivors import tree_below

if TYPE_CHECKING:
    from pathlib import Path

SCALE = 0.04


async def test_hostile_node_harms_nobody(tmp_path: Path) -> None:
    """VAL-4, REP-3, TRUST-8, TRUST-10, LIM-2, KNOW-10, MESH-3, MESH-10: trust among the honest and their claims stay as
    they are, memory and journals are bounded, every honest message is answered, at half the rate at least.
    """
    others = set(tree_below(os.getpid()))
    seed = a_seed()
    show({"seed": seed})
    windows: list[dict[str, Any]] = []
    async with campaign(tmp_path, seed, windows.append) as running:
        found = await running.run(0, SCALE)
    show(summary(found))
    assert judge(found) == [], f"seed {seed}"
    assert len({one["attack"] for one in windows} - {None}) >= 30
    assert set(tree_below(os.getpid())) <= others, "a process is left"

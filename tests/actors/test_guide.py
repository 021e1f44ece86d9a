"""The programs of the guide on lane actors run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.test_guides import GUIDES, extract
from web4.actors import LaneDefinition

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (GUIDES / "lane-actors.md").read_text()


def run(directory: Path, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, *arguments], cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_docs_examples_run_lane_actors(tmp_path: Path) -> None:
    """A LaneActor in 30 lines: it prints what the page shows, and a second run remembers the first."""
    extract("lane-actors.md", tmp_path)
    shown = re.findall(r"(?:prints|of it,)\n\n```\n(.*?)```", PAGE, flags=re.DOTALL)
    assert run(tmp_path, "shelf.py", "there", "lamp", "book", "lamp") == shown[0]
    assert run(tmp_path, "shelf.py", "there", "clock") == shown[1]
    program = (tmp_path / "shelf.py").read_text()
    definition = program[program.index("class Put") : program.index("async def main")]
    assert len([line for line in definition.splitlines() if line.strip()]) <= 30


def test_docs_examples_run_effects(tmp_path: Path) -> None:
    """Requests are answered at once; each is concluded, one by its answer and one by its failure."""
    extract("lane-actors.md", tmp_path)
    lines = run(tmp_path, "post.py").splitlines()
    assert lines[:2] == ["card on its way", "bill on its way"]
    said = [line.split(" ", 1)[1] for line in lines[2:]]
    assert sorted(said) == [
        "post.asked bill True",
        "post.asked card True",
        "post.ended bill error: ConnectionRefusedError",
        "post.ended card ok",
    ]


def test_docs_lane_actors_names_what_there_is() -> None:
    """The table lists what a definition has, and nothing else."""
    table = PAGE.partition("| of a `LaneDefinition` |")[2].partition("\n\n")[0]
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    listed = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    public = {name for name in vars(LaneDefinition) if not name.startswith("_")} | set(
        LaneDefinition.__dataclass_fields__
    )
    assert listed == public - {"event_names"}

"""The arguments of the mesh demo beside those of every demo (DEMO-2, DEMO-3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from web4.demo.program import DemoOptions
from web4.demo.ring.layout import FEWEST, MOST, NAMES

if TYPE_CHECKING:
    import argparse


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshOptions(DemoOptions):
    """What the mesh demo takes.

    Args:
        nodes: How many there are, 4 to 10.
        kill: Who is killed in `reroute`: one of them. The hop that is used, when None.
    """

    nodes: int = FEWEST
    kill: str | None = None

    def __post_init__(self) -> None:
        if not FEWEST <= self.nodes <= MOST:
            raise ValueError(f"there are {FEWEST} to {MOST} nodes")
        if self.kill is not None and self.kill not in NAMES[: self.nodes]:
            raise ValueError(f"nobody is called {self.kill!r}; there are {', '.join(NAMES[: self.nodes])}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a parser take them."""
    parser.add_argument(
        "--nodes", type=int, default=FEWEST, metavar="N", help=f"{FEWEST} to {MOST} nodes ({FEWEST})"
    )
    parser.add_argument(
        "--kill", metavar="NAME", help="whom to kill in `reroute`; the hop in use if left out"
    )

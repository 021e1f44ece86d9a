"""The benchmark of the outbox runs, and counts what really happened."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from scripts.bench.outbox import measure

if TYPE_CHECKING:
    from pathlib import Path


def test_a_short_run(tmp_path: Path) -> None:
    """Two processes, journals on disk: what was delivered was received once."""
    given = argparse.Namespace(
        seconds=0.5, in_flight=8, size=64, directory=str(tmp_path), profile=str(tmp_path / "profile")
    )
    found = measure(given)
    assert found["delivered"] > 0
    assert (found["received_once"], found["received_twice"]) == (found["delivered"], 0)
    assert (tmp_path / "profile.sender").stat().st_size > 0

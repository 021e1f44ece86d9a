"""The vector files are what their generator makes (SIG-5)."""

from __future__ import annotations

import pytest

from scripts.vectors import edwards
from scripts.vectors.__main__ import DIRECTORY, files

MADE = files()


@pytest.mark.parametrize("name", MADE)
def test_vector_files_are_current(name: str) -> None:
    assert (DIRECTORY / name).read_text(encoding="ascii") == MADE[name]


def test_every_vector_file_is_made() -> None:
    assert {path.name for path in DIRECTORY.glob("*.json")} >= MADE.keys()


def test_the_forger_knows_its_group() -> None:
    """The points of small order are eight, and eight times each is the identity."""
    points = edwards.torsion()
    assert len(set(points)) == 8
    assert all(edwards.multiply(8, point) == edwards.IDENTITY for point in points)
    assert edwards.multiply(edwards.ORDER, edwards.BASE) == edwards.IDENTITY
    assert edwards.decode(edwards.encode(points[3])) == points[3]

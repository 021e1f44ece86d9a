"""Bugs that `make sim-mutants` plants can still be planted: sources move, and one that is nowhere proves nothing."""

from __future__ import annotations

import pytest

from scripts.mutants import MUTANTS, NOT_FOUND, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutants_have_their_place(mutant: Mutant) -> None:
    """What a mutant replaces is in its file, once."""
    source = (ROOT / "rust_core" / "src" / "rtt" / mutant.file).read_text()
    assert source.count(mutant.old) == 1
    assert mutant.new != mutant.old


def test_mutants_that_need_not_be_found_exist() -> None:
    """An excuse goes with its mutant."""
    assert NOT_FOUND.keys() <= {mutant.name for mutant in MUTANTS}

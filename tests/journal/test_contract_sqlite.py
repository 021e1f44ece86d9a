"""The contract suite on SQLite (JRN-25): on a real file system, through a disk that fails where it is told to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.journal.sqlite_store import sqlite_factory
from web4.testing import check_journal_backend
from web4.testing.journal import CHECKS

if TYPE_CHECKING:
    from pathlib import Path

LANES = int(os.environ.get("WEB4_JOURNAL_LANES", "10000"))
ROUNDS = int(os.environ.get("WEB4_JOURNAL_ROUNDS", "8"))


@pytest.mark.parametrize("check", CHECKS)
async def test_journal_contract_suite_sqlite(check: str, tmp_path: Path) -> None:
    """JRN-25: the default backend fulfils the contract."""
    ran = await check_journal_backend(
        sqlite_factory(tmp_path), only=[check], lanes=LANES, rounds=ROUNDS, patience=60 + ROUNDS
    )
    assert ran[check] > 0 or check == "fences stale owners"

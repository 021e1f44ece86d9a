"""The SQLite backend fulfils the contract of all backends (JRN-25)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.journal.sqlite.under_test import sqlite_factory
from web4.testing.journal import CHECKS, check_journal_backend

if TYPE_CHECKING:
    from pathlib import Path

LANES = int(os.environ.get("WEB4_JOURNAL_LANES", "10000"))
ROUNDS = int(os.environ.get("WEB4_JOURNAL_ROUNDS", "20"))


@pytest.mark.parametrize("check", CHECKS)
async def test_journal_contract_suite_sqlite(tmp_path: Path, check: str) -> None:
    """JRN-25, on a simulated disk under the real engine."""
    ran = await check_journal_backend(
        sqlite_factory(tmp_path), only=[check], lanes=LANES, rounds=ROUNDS, patience=30 + ROUNDS
    )
    assert ran[check] > 0 or check == "fences stale owners"

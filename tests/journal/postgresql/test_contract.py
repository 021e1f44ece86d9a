"""The contract suite of a journal's backends on a real PostgreSQL (JRN-25)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.journal.postgresql.store import postgresql_factory
from web4.testing import check_journal_backend
from web4.testing.journal import CHECKS

if TYPE_CHECKING:
    from tests.postgresql_server import PostgresqlServer

LANES = int(os.environ.get("WEB4_JOURNAL_LANES", "300"))
ROUNDS = int(os.environ.get("WEB4_JOURNAL_ROUNDS", "3"))


@pytest.mark.parametrize("check", CHECKS)
async def test_journal_contract_suite_postgresql(server: PostgresqlServer, database: str, check: str) -> None:
    """JRN-25: the PostgreSQL backend fulfils the contract."""
    factory = postgresql_factory(server, database)
    ran = await check_journal_backend(factory, only=[check], lanes=LANES, rounds=ROUNDS, patience=120)
    assert ran[check] > 0 or check in {"erases from its files", "is repaired"}

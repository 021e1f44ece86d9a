"""The contract suite of a journal's backends on a real PostgreSQL (JRN-25)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.journal.postgresql.conftest import new_database
from tests.journal.postgresql.store import postgresql_factory
from web4.testing import check_journal_backend
from web4.testing.journal import CHECKS

if TYPE_CHECKING:
    from tests.postgresql_server import PostgresqlServer

LANES = int(os.environ.get("WEB4_JOURNAL_LANES", "1000"))
ROUNDS = int(os.environ.get("WEB4_JOURNAL_ROUNDS", "5"))
_DATABASE: list[str] = []


@pytest.fixture
def shared_database(server: PostgresqlServer) -> str:
    """One database for all cases: each has a schema of its own."""
    if not _DATABASE:
        _DATABASE.append(new_database(server))
    return _DATABASE[0]


@pytest.mark.parametrize("check", CHECKS)
async def test_journal_contract_suite_postgresql(
    server: PostgresqlServer, shared_database: str, check: str
) -> None:
    """JRN-25: the PostgreSQL backend fulfils the contract."""
    factory = postgresql_factory(server, shared_database)
    ran = await check_journal_backend(factory, only=[check], lanes=LANES, rounds=ROUNDS, patience=120)
    assert ran[check] > 0 or check == "erases from its files"

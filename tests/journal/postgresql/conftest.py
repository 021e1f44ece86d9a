"""One server for all tests of this directory, a database for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.postgresql_server import PostgresqlServer, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresqlServer]:
    """A running server. Tests that stop it leave it running."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("there is no PostgreSQL here: neither `initdb` on the path nor /usr/lib/postgresql")
    server = PostgresqlServer(binaries)
    try:
        server.start()
        server.sql(f"CREATE DATABASE {DATABASE}")
        yield server
    finally:
        server.remove()


DATABASE = "journal"


@pytest.fixture
def database(server: PostgresqlServer) -> str:
    """The connection string of a database in which the schemas that tests name are not.

    It is one for all tests: a server that was killed looks at every file of every database before it starts again.
    """
    server.sql("DROP SCHEMA IF EXISTS web4, other, keyed CASCADE", DATABASE)
    return server.conninfo(DATABASE)

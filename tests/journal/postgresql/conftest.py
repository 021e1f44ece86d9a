"""One server for all tests of this directory, a database for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.postgresql_server import PostgresqlServer, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresqlServer]:
    """A running server that is not stopped in between."""
    yield from _server()


@pytest.fixture(scope="session")
def mortal_server() -> Iterator[PostgresqlServer]:
    """A running server for tests that kill it; they leave it running."""
    yield from _server()


def _server() -> Iterator[PostgresqlServer]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("there is no PostgreSQL here: neither `initdb` on the path nor /usr/lib/postgresql")
    server = PostgresqlServer(binaries)
    try:
        server.start()
        yield server
    finally:
        server.remove()


_NUMBER = iter(range(1, 1_000_000))


@pytest.fixture
def database(server: PostgresqlServer) -> str:
    """The connection string of an empty database."""
    return new_database(server)


def new_database(server: PostgresqlServer) -> str:
    name = f"d{next(_NUMBER)}"
    server.sql(f"CREATE DATABASE {name} TEMPLATE template0")
    return server.conninfo(name)

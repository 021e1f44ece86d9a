"""The journal in one SQLite file (JRN-24a): nothing to install, and always enough to run everything."""

from web4.journal.backends.sqlite.opening import SqliteLimits, open_sqlite
from web4.journal.backends.sqlite.store import SqliteBackend

__all__ = ["SqliteBackend", "SqliteLimits", "open_sqlite"]

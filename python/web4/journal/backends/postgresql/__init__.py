"""The journal on PostgreSQL, for many machines (JRN-24b). Needs the extra `web4[postgresql]` when it is opened."""

from web4.journal.backends.postgresql.opening import open_postgresql

__all__ = ["open_postgresql"]

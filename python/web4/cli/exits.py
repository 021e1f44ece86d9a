"""The exit codes of all verbs."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
NO: Final = 1
"""Done, and the answer is no: findings, divergence."""
USAGE: Final = 2
"""Usage, or the input could not be read."""
ENVIRONMENT: Final = 3
"""Permission, a lock that somebody else holds, no space."""
TIMED_OUT: Final = 4
REFUSED: Final = 5
"""Something that must stay is in the way."""
NOT_FOUND: Final = 6
CONFLICT: Final = 7
"""Stale, or there already."""
DEGRADED: Final = 8
"""It works, with less than it should have."""
INTERNAL: Final = 70
INTERRUPTED: Final = 130
TERMINATED: Final = 143
PIPE_CLOSED: Final = 141
"""Whoever read the output went away: as of any program that `SIGPIPE` ends."""

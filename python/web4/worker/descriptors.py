"""Descriptors of a process that is about to run what nobody trusts: these, and no other (EXT-36)."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKER: Final = 3
"""Where a worker finds its end of the socket; also in `WEB4_WORKER_FD` (EXT-14)."""
REPORT: Final = 4
"""Where the start sequence says how it went; gone before the first line of the extension."""
_ASIDE: Final = 64
"""Above every number that is handed out, so that moving one never closes another."""


def arrange(sources: Sequence[int]) -> None:
    """Make `sources[n]` descriptor n, inheritable, and close every other descriptor of the process.

    Raises:
        OSError: One of them is not open.
    """
    aside = [fcntl.fcntl(source, fcntl.F_DUPFD, _ASIDE) for source in sources]
    for target, source in enumerate(aside):
        os.dup2(source, target)
    os.closerange(len(sources), highest() + 1)


def highest() -> int:
    """The highest number that a descriptor of this process can have."""
    return max(os.sysconf("SC_OPEN_MAX"), _ASIDE + 64)

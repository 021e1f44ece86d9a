"""Web4's envelopes between two nodes with a journal each, in SQLite with full synchronisation.

As `cip_envelopes`; beside that, an envelope is on the sender's disk before it is sent, on the receiver's before it is
handled, and every one is handled exactly once, whichever side is killed (section 18).
"""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bench.peers import cip_envelopes
from scripts.bench.peers.cip_envelopes import ENCRYPTED, KINDS, LIMITS, LOOP, PACKAGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

__all__ = ["ENCRYPTED", "KINDS", "LIMITS", "LOOP", "PACKAGES", "open_link"]


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """As in memory, in a directory that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="web4-bench-") as directory:
        async with cip_envelopes.open_link(side, Path(directory)) as link:
            yield link

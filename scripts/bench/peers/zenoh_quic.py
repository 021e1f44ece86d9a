"""zenoh over QUIC, blocking: see `zenoh_sessions`."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from scripts.bench.peers.free_port import free_port
from scripts.bench.peers.zenoh_sessions import PACKAGES, open_sessions

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from scripts.bench.link import Link
    from scripts.bench.side import Side

__all__ = ["ENCRYPTED", "LOOP", "PACKAGES", "open_link"]

LOOP = "blocking"
ENCRYPTED = True


def open_link(side: Side) -> AbstractAsyncContextManager[Link]:
    """Connect both sides."""
    return open_sessions(side, "quic", free_port(socket.SOCK_DGRAM) if side.role == "server" else None)

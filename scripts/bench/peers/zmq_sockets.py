"""What both pyzmq peers share: a DEALER socket at each end, with CURVE.

A DEALER waits at its high-water mark and drops nothing. The marks are 10,000 messages (the default of 1,000 is
slower for small ones), and fewer for large ones through TCP. Payloads from 64 KiB on are not copied on sending, as
`zmq.COPY_THRESHOLD` has it. CURVE is CurveZMQ's X25519 and XSalsa20-Poly1305; the client knows the server's key.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.side import Side

HIGH_WATER = 10_000
PACKAGES = ("pyzmq",)
VERSIONS = {"libzmq": zmq.zmq_version()}


@asynccontextmanager
async def open_socket(side: Side, context: Any) -> AsyncIterator[Any]:
    """Bind or connect this side's socket."""
    public, secret = (key.decode() for key in zmq.curve_keypair())
    with context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.set_hwm(HIGH_WATER)
        socket.curve_secretkey = secret.encode()
        socket.curve_publickey = public.encode()
        socket.reconnect_ivl = 20
        if side.role == "server":
            socket.curve_server = True
            side.announce(socket.bind_to_random_port("tcp://127.0.0.1"), public)
        else:
            address = await side.address()
            socket.curve_serverkey = address.note.encode()
            socket.connect(f"tcp://127.0.0.1:{address.port}")
        yield socket

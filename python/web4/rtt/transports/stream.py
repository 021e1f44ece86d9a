"""What the driver needs to know of a transport's stream: whether it has a descriptor, and how it is let go of."""

from __future__ import annotations

import trio


def descriptor(stream: trio.abc.Stream) -> int | None:
    """The socket that the core drives itself, or None: then Python moves the bytes (RTT-66)."""
    return stream.socket.fileno() if isinstance(stream, trio.SocketStream) else None


async def close_now(stream: trio.abc.Stream) -> None:
    """Close a stream that is of no use any more, without waiting for its peer; no cancellation prevents it."""
    if isinstance(stream, trio.SocketStream):
        stream.socket.close()
        return
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)

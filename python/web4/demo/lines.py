"""JSON lines between the demo and its processes: one object a line, split at the byte newline and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import trio

MAX_LINE = 1 << 20


async def read_lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[dict[str, Any]]:
    """Yield the objects of a stream until it ends.

    Raises:
        ValueError: A line is longer than a mebibyte, or is not a JSON object.
    """
    pending = bytearray()
    async for chunk in stream:
        pending += chunk
        while (end := pending.find(b"\n")) >= 0:
            yield msgspec.json.decode(bytes(pending[:end]), type=dict[str, Any])
            del pending[: end + 1]
        if len(pending) > MAX_LINE:
            raise ValueError("a line is too long")


def to_line(message: dict[str, Any]) -> bytes:
    """Write an object as a line."""
    return msgspec.json.encode(message) + b"\n"

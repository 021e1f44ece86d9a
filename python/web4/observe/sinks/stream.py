"""Events as lines of JSON on a stream of the process: standard output, as a rule."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from web4.foundation.events import encode_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.foundation.events import Event


class StreamSink:
    """Writes one line for each event to a file descriptor.

    Args:
        descriptor: Where to; 1 is standard output. A duplicate is used, and closed at the end.
        name: In `sink_lag`.
    """

    def __init__(self, descriptor: int = 1, *, name: str = "stream") -> None:
        self.name = name
        self._descriptor = os.dup(descriptor)

    async def write(self, events: Sequence[Event]) -> None:
        """See `Sink.write`. A reader that does not read holds up this sink, and nobody else."""
        data = b"".join(encode_event(event) + b"\n" for event in events)
        # A descriptor may be a file, a pipe that others share, or a terminal: only a thread can wait for all of them.
        await trio.to_thread.run_sync(_write_all, self._descriptor, data, abandon_on_cancel=True)

    async def aclose(self) -> None:
        """See `Sink.aclose`."""
        await trio.lowlevel.checkpoint()
        os.close(self._descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]

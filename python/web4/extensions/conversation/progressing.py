"""Progress of one call: in order, at most 20 a second, the latest wins, all of it before the result (EXT-17)."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final

import trio

from web4.extensions.conversation.call import ProgressUpdate
from web4.extensions.conversation.values import decode_value

if TYPE_CHECKING:
    from web4.extensions.conversation.arriving import Progress
    from web4.extensions.conversation.call import OnProgress

PERIOD: Final = 0.05
"""Seconds between two updates."""
MAX_MESSAGE: Final = 4096
"""Characters of a message; the rest is cut."""
MAX_DATA: Final = 64 * 1024
"""Bytes of an update's data as it came; a longer one is left out."""


class Progressing:
    """The updates of one call. Of many in a short time only the latest is even read."""

    __slots__ = ("_call_id", "_hand_on", "_latest", "_next")

    def __init__(self, hand_on: OnProgress, call_id: str) -> None:
        self._call_id = call_id
        self._hand_on = hand_on
        self._latest: Progress | None = None
        self._next = -float("inf")

    def take(self, frame: Progress, now: float) -> bool:
        """Take an update; whether somebody has to call `when_due`, because it waits and none did before.

        Raises:
            UnfitValueError: Its data is no value.
        """
        waits = self._latest is not None
        self._latest = frame
        if now < self._next:
            return not waits
        self.flush()
        self._next = now + PERIOD
        return False

    async def when_due(self) -> None:
        """Wait until the latest update may go, and let it go.

        Raises:
            UnfitValueError: Its data is no value.
        """
        await trio.sleep_until(self._next)
        if self._latest is not None:
            self.flush()
            self._next = trio.current_time() + PERIOD

    def flush(self) -> None:
        """Let the latest go now, if one waits.

        Raises:
            UnfitValueError: Its data is no value.
        """
        frame, self._latest = self._latest, None
        if frame is None:
            return
        data = decode_value(frame.data) if len(frame.data) <= MAX_DATA else None
        message = None if frame.message is None else frame.message[:MAX_MESSAGE]
        fraction = frame.fraction
        if fraction is not None:
            fraction = min(1.0, max(0.0, fraction)) if isfinite(fraction) else None
        self._hand_on(ProgressUpdate(self._call_id, message, fraction, data))

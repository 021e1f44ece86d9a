"""One relay stream without I/O: parts of bytes go in and out, with a window, until it ends or breaks (MESH-1).

Nothing is sent twice. What is lost on the way breaks the stream, which is a failed carrier: the session on it knows
what has to be said again (MESH-5).
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from msgspec import UNSET

from web4.protocols.messages.mesh import RELAY_BYTES, MeshRelay

_NEVER: Final = float("inf")


class FlowBroken(Exception):  # noqa: N818 - the state it tells of
    """The stream can carry nothing more; `reason` says why. `dead`: the way is to be suspected."""

    def __init__(self, reason: str, *, dead: bool = False, tell: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.dead = dead
        self.tell = tell
        """Whether the other end is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLimits:
    """The numbers of a relay stream.

    Args:
        window: Bytes that the other end may send before they are read here.
        dead_ms: How long what was sent may stay without an answer.
        gap_ms: How long a part may be missing while later ones are here: ways differ in length.
        answer_ms: How long parts that have come wait until the other end is told.
    """

    window: int = 256 * 1024
    dead_ms: int = 1_500
    gap_ms: int = 500
    answer_ms: int = 20

    def patient(self, times: int) -> FlowLimits:
        """The same with deadlines that are doubled so many times."""
        return replace(self, dead_ms=self.dead_ms << times, gap_ms=self.gap_ms << times)


class RelayFlow:
    """Both directions of one stream, seen from one end. Every method takes the time; deadlines are in milliseconds.

    Args:
        stream: Its id.
        limits: See `FlowLimits`.
    """

    def __init__(self, stream: str, limits: FlowLimits | None = None) -> None:
        self.stream = stream
        self._limits = limits or FlowLimits()
        self._sent = 0
        self._acknowledged = 0
        self._allowed = 0
        self._progress_ms: float = 0
        self._closed = False
        self._received = 0
        self._told = 0
        self._told_room = 0
        self._answer_ms = _NEVER
        self._ends_at: int | None = None
        self._early: dict[int, bytes] = {}
        self._early_bytes = 0
        self._gap_ms = _NEVER
        self._waiting: deque[bytes] = deque()
        self._unread = 0
        self.answered = False
        """Whether the other end has said anything."""

    # --- this end sends ---------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Bytes that may be sent now."""
        return max(0, self._allowed - self._sent)

    @property
    def unanswered(self) -> int:
        """Bytes that were sent and not acknowledged."""
        return self._sent - self._acknowledged

    def opening(self, now_ms: float) -> MeshRelay:
        """What begins the stream; its answer is waited for as for bytes."""
        self._progress_ms = now_ms
        return MeshRelay(stream=self.stream, kind="open", offset=0, room=self._told_now())

    def part(self, data: bytes | memoryview, now_ms: float) -> MeshRelay:
        """The next bytes to send: as many as a part and the window hold. The caller goes on behind them."""
        size = min(len(data), RELAY_BYTES, self.room)
        if not self.unanswered:
            self._progress_ms = now_ms
        encoded = base64.b64encode(data[:size]).decode("ascii")
        part = MeshRelay(stream=self.stream, kind="data", offset=self._sent, data=encoded)
        self._sent += size
        return part

    def closing(self) -> MeshRelay:
        """Say that nothing more comes."""
        self._closed = True
        return MeshRelay(stream=self.stream, kind="close", offset=self._sent)

    def resetting(self) -> MeshRelay:
        """Say that the stream is over."""
        return MeshRelay(stream=self.stream, kind="reset", offset=self._sent)

    # --- this end receives ------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether everything has come that ever will, and was read."""
        return self._ends_at == self._received and not self._waiting

    def read(self, most: int, now_ms: float) -> bytes:
        """Take out up to `most` bytes of what has come in order; empty if nothing has."""
        parts: list[bytes] = []
        while most and self._waiting:
            part = self._waiting.popleft()
            if len(part) > most:
                self._waiting.appendleft(part[most:])
                part = part[:most]
            parts.append(part)
            most -= len(part)
            self._unread -= len(part)
        allowed, allowable = self._told + self._told_room, self._received + self._limits.window - self._unread
        if parts and allowable - allowed >= self._limits.window // 4:
            self._answer_ms = min(self._answer_ms, now_ms)
        return b"".join(parts)

    def feed(self, part: MeshRelay, now_ms: float) -> None:
        """Take in what the other end says.

        Raises:
            FlowBroken: It ended the stream, or says what cannot be.
        """
        self.answered = True
        match part.kind:
            case "open" | "window":
                self._allow(part, now_ms)
            case "data":
                self._take(part, now_ms)
            case "close":
                self._end(part, now_ms)
            case "reset":
                raise FlowBroken("reset", tell=False)

    def answer(self, now_ms: float) -> MeshRelay | None:
        """What the other end is to be told now of what has come and what it may send; None if nothing yet."""
        if now_ms < self._answer_ms:
            return None
        return self.window()

    def window(self) -> MeshRelay:
        """What has come, and what may come still."""
        self._answer_ms = _NEVER
        return MeshRelay(stream=self.stream, kind="window", offset=self._received, room=self._told_now())

    # --- time -------------------------------------------------------------------------------------------

    def next_ms(self) -> float:
        """When `answer` or `check` has something to say at the latest."""
        waits = self.unanswered or not self.answered
        return min(
            self._answer_ms, self._gap_ms, self._progress_ms + self._limits.dead_ms if waits else _NEVER
        )

    def check(self, now_ms: float) -> None:
        """Look whether the stream is still alive.

        Raises:
            FlowBroken: Something is missing, or nobody answers.
        """
        if now_ms >= self._gap_ms:
            raise FlowBroken("gap")
        waits = self.unanswered or not self.answered
        if waits and now_ms >= self._progress_ms + self._limits.dead_ms:
            raise FlowBroken("dead", dead=True)

    # --- inside -----------------------------------------------------------------------------------------

    def _told_now(self) -> int:
        self._told = self._received
        self._told_room = max(0, self._limits.window - self._unread)
        return self._told_room

    def _allow(self, part: MeshRelay, now_ms: float) -> None:
        if part.room is UNSET or part.offset > self._sent:
            raise FlowBroken("impossible")
        if part.offset > self._acknowledged or part.offset == self._sent:
            self._progress_ms = now_ms
        self._acknowledged = max(self._acknowledged, part.offset)
        self._allowed = max(self._allowed, part.offset + part.room)

    def _take(self, part: MeshRelay, now_ms: float) -> None:
        data = _decoded(part)
        end = part.offset + len(data)
        if end > self._told + self._told_room or (self._ends_at is not None and end > self._ends_at):
            raise FlowBroken("overrun")
        if not data or part.offset < self._received or part.offset in self._early:
            return  # said again by somebody on the way
        self._early[part.offset] = data
        self._early_bytes += len(data)
        if self._early_bytes > self._limits.window:
            raise FlowBroken("overrun")  # parts that overlap
        while (following := self._early.pop(self._received, None)) is not None:
            self._early_bytes -= len(following)
            self._received += len(following)
            self._unread += len(following)
            self._waiting.append(following)
        self._gap_ms = _NEVER if not self._early else min(self._gap_ms, now_ms + self._limits.gap_ms)
        pressing = self._received - self._told >= self._limits.window // 4
        self._answer_ms = min(self._answer_ms, now_ms + (0 if pressing else self._limits.answer_ms))

    def _end(self, part: MeshRelay, now_ms: float) -> None:
        if part.offset < self._received or self._ends_at not in (None, part.offset):
            raise FlowBroken("impossible")
        self._ends_at = part.offset
        if part.offset > self._received:
            self._gap_ms = min(self._gap_ms, now_ms + self._limits.gap_ms)


def _decoded(part: MeshRelay) -> bytes:
    """The bytes of a part, decoded strictly (SIG-4)."""
    text = "" if part.data is UNSET else part.data
    try:
        data = binascii.a2b_base64(text, strict_mode=True) if text else b""
    except binascii.Error:
        data = None
    if data is None or len(data) > RELAY_BYTES or base64.b64encode(data).decode("ascii") != text:
        raise FlowBroken("impossible")
    return data

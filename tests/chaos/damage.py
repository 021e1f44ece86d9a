"""What the proxy does to one direction of one connection: bytes in, bytes out, and maybe an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ENDS = ("rst", "fin", "stall")
RECORD_HEADER = 5
"""Bytes of a TLS record's header; the last two are the length of what follows."""


@dataclass(frozen=True)
class Act:
    """One deed, and where: after `at` bytes, or after `at` whole TLS records.

    `rst`, `fin` and `stall` end the connection there: as a router does that is switched off, as one that closes
    politely, as one that is unplugged. The others change the next `count` bytes, or the next record: `drop`,
    `truncate` (its second half is missing), `repeat`, `swap` (with as much of what follows), `flip` (one bit).
    """

    what: Literal["rst", "fin", "stall", "drop", "truncate", "repeat", "swap", "flip"]
    at: int
    unit: Literal["byte", "record"] = "byte"
    count: int = 1


class Damage:
    """Does one act to a stream, then leaves it alone."""

    def __init__(self, act: Act | None) -> None:
        self.done = act is None
        self._act = act or Act("drop", 0)
        self._left = self._act.at
        self._held = b""

    @property
    def end(self) -> str | None:
        """How the connection is to end now, if it is."""
        return self._act.what if self.done and self._act.what in ENDS else None

    def feed(self, data: bytes) -> bytes:
        """What becomes of the next bytes. What is held back comes with later ones."""
        if self.done:
            return data
        self._held += data
        passed = self._pass_on()
        if self._left:
            return passed
        if self._act.what in ENDS:
            self.done = True
            return passed
        first = self._unit(0)
        second = self._unit(first) if first is not None and self._act.what == "swap" else first
        if first is None or second is None:
            return passed
        self.done = True
        return passed + self._damaged(first, second)

    def _pass_on(self) -> bytes:
        if self._act.unit == "byte":
            size = min(self._left, len(self._held))
            self._left -= size
        else:
            size = 0
            while self._left and (length := self._unit(size)) is not None:
                size += length
                self._left -= 1
        passed, self._held = self._held[:size], self._held[size:]
        return passed

    def _unit(self, at: int) -> int | None:
        """How long the unit is that begins there; None while it is not all here."""
        if self._act.unit == "byte":
            length = self._act.count
        else:
            length = RECORD_HEADER + int.from_bytes(self._held[at + 3 : at + RECORD_HEADER])
            if len(self._held) < at + RECORD_HEADER:
                return None
        return length if len(self._held) >= at + length else None

    def _damaged(self, first: int, second: int) -> bytes:
        piece, rest = self._held[:first], self._held[first:]
        match self._act.what:
            case "drop":
                return rest
            case "truncate":
                return piece[: first // 2] + rest
            case "repeat":
                return piece + piece + rest
            case "swap":
                return rest[:second] + piece + rest[second:]
            case _:
                # The last byte of a record is of its authentication; the first of a header, of its type.
                return piece[:-1] + bytes([piece[-1] ^ 0x10]) + rest

"""The names of lanes: pairs of kind and id, compared as such (JRN-1)."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

import msgspec

from web4.journal.errors import InvalidEventError

LaneKind = Literal["server", "knowledge", "governance", "session", "peer", "human"]
_KINDS: Final = frozenset(get_args(LaneKind))
_SINGLE: Final = frozenset({"server", "knowledge", "governance"})
_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}", re.ASCII)


class Lane(msgspec.Struct, frozen=True, order=True):
    """A lane: a gap-free sequence of events with exactly one writer (JRN-1).

    Args:
        kind: What the lane is of. Of `server`, `knowledge` and `governance` a journal has one each.
        id: Which one it is: 1 to 256 characters of `[A-Za-z0-9_.-]`; empty for the three above.

    Raises:
        InvalidEventError: `lane`: no such kind, or an id that is none.
    """

    kind: LaneKind
    id: str = ""

    def __post_init__(self) -> None:
        named = self.kind in _KINDS and _ID.fullmatch(self.id) is not None and self.id not in {".", ".."}
        if not (not self.id if self.kind in _SINGLE else named):
            raise InvalidEventError("no lane has this name", code="lane", field="lane")

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}" if self.id else self.kind

    @classmethod
    def parse(cls, text: str) -> Lane:
        """Read what `str` writes, as it stands in headers and on a command line.

        Raises:
            InvalidEventError: `lane`.
        """
        kind, _, name = text.partition(":")
        if kind in _SINGLE and ":" in text:
            raise InvalidEventError("no lane has this name", code="lane", field="lane")
        return cls(kind, name)  # type: ignore[arg-type]  # checked at construction


SERVER: Final = Lane("server")
KNOWLEDGE: Final = Lane("knowledge")
GOVERNANCE: Final = Lane("governance")

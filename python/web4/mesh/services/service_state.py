"""What is known of calls, and the one spelling of it (GRAPH-4, JRN-7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec
from immutables import Map

from web4 import _core
from web4.extensions.calls.call_events import Kept
from web4.foundation.digest import canonical
from web4.mesh.services.service_events import ServiceStatus

MAX_RUNNING: Final = 64
"""Calls that run at once."""
MAX_RUNNING_OF_ONE: Final = 8
"""Of one peer."""
MAX_KNOWN: Final = 50_000
"""Ids of calls that are remembered for `KEPT_DAYS`; beyond, none is let in, and none forgotten (REP-1)."""
KEPT_DAYS: Final = 7
"""As long as a peer may send the same envelope again (`dedup_retention`)."""
_DAY_MS: Final = 86_400_000


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A call whose handler runs."""

    peer: str
    call_id: str
    service: str
    result_id: str


class Answering(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call whose answer is not in the peer's outbox yet."""

    peer: str
    call_id: str
    service: str
    result_id: str
    status: ServiceStatus
    code: str | None = None
    result: Kept | None = None


@dataclass(frozen=True)
class ServicesState:
    """All calls that are known.

    Args:
        running: By key.
        answering: By key.
        known: Day, counted from 1970, to the marks of the calls that ended on it.
    """

    running: Map[str, Running] = field(default_factory=Map)
    answering: Map[str, Answering] = field(default_factory=Map)
    known: Map[int, Map[str, None]] = field(default_factory=Map)

    @property
    def count(self) -> int:
        """How many calls are known."""
        ended = sum(len(marks) for marks in self.known.values())
        return len(self.running) + len(self.answering) + ended

    def knows(self, key: str) -> bool:
        """Whether this call was let in or refused before."""
        mark = mark_of(key)
        return (
            key in self.running
            or key in self.answering
            or any(mark in marks for marks in self.known.values())
        )

    def ended(self, key: str, at_ms: int) -> Map[int, Map[str, None]]:
        """What is known of ended calls with one more; days that are long over are forgotten."""
        today = at_ms // _DAY_MS
        kept = Map({day: marks for day, marks in self.known.items() if day >= today - KEPT_DAYS})
        return kept.set(today, kept.get(today, Map()).set(mark_of(key), None))


def key_of(peer: str, call_id: str) -> str:
    """How a call is named here: another peer's id is another call."""
    return f"{peer}:{call_id}"


def mark_of(key: str) -> str:
    """What is remembered of a call that ended: whoever finds two of the same mark only refuses itself."""
    return _core.blake3(key.encode())[:16].hex()


class _Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    running: dict[str, Running]
    answering: dict[str, Answering]
    known: dict[str, tuple[str, ...]]


_FORMS: Final = msgspec.json.Decoder(_Form)


def encode_state(state: ServicesState) -> bytes:
    """Write a state. Equal states have equal bytes."""
    return canonical(
        _Form(
            running=dict(state.running),
            answering=dict(state.answering),
            known={str(day): tuple(sorted(marks)) for day, marks in state.known.items()},
        )
    )


def decode_state(data: bytes) -> ServicesState:
    """Read what `encode_state` writes.

    Raises:
        ValueError: It is something else.
    """
    form = _FORMS.decode(data)
    known = {int(day): Map(dict.fromkeys(marks)) for day, marks in form.known.items()}
    return ServicesState(Map(form.running), Map(form.answering), Map(known))

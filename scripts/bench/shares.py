"""What share of a process's time each step of an envelope's way has, from a profile."""

from __future__ import annotations

import pstats
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from scripts.bench.report import align

if TYPE_CHECKING:
    from pathlib import Path

_STEPS: Final = (
    ("waiting", ("select.epoll",)),
    ("signatures, canonical form, digests", ("open_envelopes", "seal_envelope", "canonicalize", "blake3")),
    ("signatures, canonical form, digests", ("web4._core.Envelope", "parse_envelope")),
    ("decoding, encoding", ("msgspec.json",)),
    ("transport and TLS", ("SessionLink", "/web4/rtt/")),
    ("journal", ("/web4/journal/", "/web4/actors/", "apsw", "_queue", "seal_group")),
    ("router and handler", ("/protocols/router/", "/scripts/")),
    ("outbox", ("/cip/outbox/",)),
    ("validation", ("/cip/validation.py", "/cip/arrivals.py", "/foundation/")),
    (
        "lane: replay, gate, state",
        ("/cip/peer", "/web4/trust/", "/cip/replay.py", "immutables", "/cip/durable_lane.py"),
    ),
    ("session", ("/web4/protocols/",)),
    ("scheduler", ("/trio/", "/outcome/")),
)
"""Steps by what the name or the place of a function contains; the first that fits."""


def shares(profile: Path | str) -> dict[str, float]:
    """The share of each step in the time that was not spent waiting, greatest first."""
    found: dict[str, float] = defaultdict(float)
    for (file, _, function), values in pstats.Stats(str(profile)).stats.items():  # type: ignore[attr-defined]
        place = f"{file} {function}"
        step = next((name for name, words in _STEPS if any(word in place for word in words)), "the rest")
        found[step] += values[2]
    found.pop("waiting", None)
    whole = sum(found.values())
    return {name: spent / whole for name, spent in sorted(found.items(), key=lambda one: -one[1])}


def table(profile: str) -> str:
    """A line for each step: its share at the client and at the server."""
    sides = [shares(f"{profile}.{role}") for role in ("client", "server")]
    names = sorted(
        {name for side in sides for name in side}, key=lambda name: -sum(side.get(name, 0) for side in sides)
    )
    rows = [["step", "client", "server"]]
    rows += [[name, *(f"{side.get(name, 0):.0%}" for side in sides)] for name in names]
    return "\n".join(align(rows))

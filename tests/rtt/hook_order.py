"""The order of RTT-54 as a small automaton, written from the rule and not from the code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MARKS = ("on_channel", "on_rekey")


def disorder(names: Sequence[str]) -> str | None:
    """What is wrong with the events of one session, in the order of their delivery; nothing, for the whole or the
    beginning of a life that RTT-54 allows."""
    state = "new"
    for position, name in enumerate(names):
        allowed = AFTER[state]
        if name not in allowed:
            return f"{name} at {position} while {state}"
        state = allowed[name]
    return None


_OPEN = {"on_channel": "open", "on_rekey": "open", "on_heartbeat_timeout": "dying"}
_ENDS = {"on_lost": "lost", "on_close": "closed"}
AFTER: dict[str, dict[str, str]] = {
    "new": {"on_open": "open"},
    "open": {**_OPEN, "on_suspend": "suspended", **_ENDS},
    # It directly precedes what it causes.
    "dying": {"on_suspend": "suspended", **_ENDS},
    "suspended": {"on_resume": "open", **_ENDS},
    "lost": {"on_close": "closed"},
    "closed": {},
}

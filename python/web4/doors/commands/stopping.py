"""Stopping a node: `node_stop` (UX-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from web4.doors.commands.operators import add_for_operators
from web4.doors.control.commands import Nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from web4.doors.control import CommandSet


def add(commands: CommandSet, stop: Callable[[], None]) -> None:
    """Add `node_stop`. It is answered, then the door closes."""

    async def stopping(_: Nothing) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        stop()  # nothing is awaited from here until the answer is written: it leaves before the door closes
        return {"stopping": True}

    add_for_operators(commands, "node_stop", Nothing, stopping)

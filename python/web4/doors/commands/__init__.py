"""What a running node can be asked and told through its control socket: one module for each group of verbs."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Final

from web4.doors.commands.reading import NodeReading
from web4.doors.control import CommandSet
from web4.doors.views.questions import all_questions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    import msgspec

    from web4.doors.control import Caller
    from web4.doors.views.reading import Reading
    from web4.node import Node

_GROUPS: Final = ("peers", "trust", "claims", "people", "sources", "evidence")


def commands_of(node: Node, *, stop: Callable[[], None] | None = None) -> CommandSet:
    """All commands of a node. Each answers with a document; `web4.doors.views` says of what shape.

    Args:
        node: Which one.
        stop: Ends the node in order; without it `node_stop` is no command of this node.
    """
    commands = CommandSet()
    reading = NodeReading(node)
    for name, payload, answerer in all_questions():
        commands.add(name, payload, partial(_answered, answerer, reading))
    for group in _GROUPS:
        importlib.import_module(f"web4.doors.commands.{group}").add(commands, node, reading)
    if stop is not None:
        importlib.import_module("web4.doors.commands.stopping").add(commands, stop)
    return commands


async def _answered(
    answerer: Callable[[Reading, Any], Awaitable[Mapping[str, Any]]],
    reading: Reading,
    asked: msgspec.Struct,
    _: Caller,
) -> Mapping[str, Any]:
    return await answerer(reading, asked)

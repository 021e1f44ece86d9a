"""What a running node can be asked through its control socket: one module for each group of verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.doors.commands.status import add_status
from web4.doors.control import CommandSet

if TYPE_CHECKING:
    from web4.node import Node


def commands_of(node: Node) -> CommandSet:
    """All commands of a node. Each answers with a document; `web4.doors.views` says of what shape."""
    commands = CommandSet()
    add_status(commands, node)
    return commands

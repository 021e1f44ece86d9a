"""Telling a node of its peers: `peers_configure`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.doors.commands.operators import add_for_operators
from web4.doors.control.commands import Nothing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.control import CommandSet
    from web4.doors.views.reading import Reading
    from web4.node import Node


def add(commands: CommandSet, node: Node, reading: Reading) -> None:
    """Add the commands of this group."""

    async def configure(_: Nothing) -> Mapping[str, Any]:
        await node.configure_peers()
        return {"peers": len(await reading.named())}

    add_for_operators(commands, "peers_configure", Nothing, configure)

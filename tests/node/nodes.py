"""Nodes for tests: each with a directory of its own, in this process, over real sockets."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from web4.mesh.registry.peers_file import NamedPeer, add_peer
from web4.node import NodeConfig, NodeParts, Places, make_directory, open_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from web4.node import Node

LISTENING = {"rtt": {"listen": ["tcp://127.0.0.1:0"]}, "observe": {"file": False}}


def config(**sections: Any) -> NodeConfig:
    """A configuration that listens on the loopback."""
    return msgspec.convert(LISTENING | sections, NodeConfig)


@asynccontextmanager
async def a_node(
    directory: Path, name: str, *, knows: tuple[Node, ...] = (), anchors: bool = False, **more: Any
) -> AsyncIterator[Node]:
    """A running node called `name`, which dials those that it knows."""
    places = Places(directory / name)
    make_directory(places, name=name)
    sections = {one: more.pop(one) for one in tuple(more) if one in NodeConfig.__struct_fields__}
    for other in knows:
        add_peer(
            places.peers,
            NamedPeer(
                name=other.name, fingerprint=other.fingerprint, addresses=other.addresses, anchor=anchors
            ),
        )
    parts = NodeParts(pace=False, **more)
    async with open_node(places.data, config=config(node={"name": name}, **sections), parts=parts) as node:
        yield node
        assert not node.hub.redaction.withheld, "an event has a field that is not declared (OBS-1)"


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; whoever calls says how long at most."""
    while not holds():  # noqa: ASYNC110 - what is waited for has no event
        await trio.sleep(0.01)

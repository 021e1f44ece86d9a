"""Floor 8: a node, all of it wired (WEB-6).

async with open_node(directory) as node:
    await node.connected(peer)
    await node.cip.send_intent(peer, goal="ask", topic="the weather")

What is named here is imported when it is used: who only looks at a data directory does not pay for a node.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from web4.node.config import NodeConfig, read_config
    from web4.node.directory import Places, make_directory
    from web4.node.errors import ConfigurationError, DirectoryError
    from web4.node.node import Node
    from web4.node.opening import open_node
    from web4.node.options import NodeParts

__all__ = [
    "ConfigurationError",
    "DirectoryError",
    "Node",
    "NodeConfig",
    "NodeParts",
    "Places",
    "make_directory",
    "open_node",
    "read_config",
]

_MODULES: Final = {
    "ConfigurationError": "errors",
    "DirectoryError": "errors",
    "Node": "node",
    "NodeConfig": "config",
    "NodeParts": "options",
    "Places": "directory",
    "make_directory": "directory",
    "open_node": "opening",
    "read_config": "config",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

"""Floor 8: a node, all of it wired (WEB-6).

async with open_node(directory) as node:
    await node.connected(peer)
    await node.cip.send_intent(peer, goal="ask", topic="the weather")
"""

from web4.node.config import NodeConfig, read_config
from web4.node.directory import Places, make_directory
from web4.node.errors import ConfigurationError, DirectoryError
from web4.node.node import Node, open_node
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

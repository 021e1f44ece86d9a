"""Web4: a runtime for agents that have to be trusted.

The names below are the parts a program embeds (WEB-6). Importing this package imports none of them: each is loaded
when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from web4.agent import AgentLoopAdapter as AgentLoopAdapter
    from web4.foundation.identity import Identity as Identity
    from web4.foundation.identity import generate_identity as generate_identity
    from web4.foundation.identity import load_identity as load_identity
    from web4.foundation.identity import save_identity as save_identity
    from web4.node import Node as Node
    from web4.node import open_node as open_node
    from web4.observe import ObservabilityHub as ObservabilityHub
    from web4.observe import open_hub as open_hub
    from web4.protocols.cip import CipOptions as CipOptions
    from web4.protocols.cip import CipRuntime as CipRuntime
    from web4.protocols.hcp import HcpRuntime as HcpRuntime
    from web4.protocols.lip import LipRuntime as LipRuntime
    from web4.protocols.router import ProtocolRouter as ProtocolRouter
    from web4.rtt import RttSession as RttSession
    from web4.rtt import open_endpoint as open_endpoint
    from web4.trust import TrustFSM as TrustFSM
    from web4.trust import TrustRegistry as TrustRegistry

_ROOMS = {
    "AgentLoopAdapter": "web4.agent",
    "CipOptions": "web4.protocols.cip",
    "CipRuntime": "web4.protocols.cip",
    "HcpRuntime": "web4.protocols.hcp",
    "Identity": "web4.foundation.identity",
    "LipRuntime": "web4.protocols.lip",
    "Node": "web4.node",
    "ObservabilityHub": "web4.observe",
    "ProtocolRouter": "web4.protocols.router",
    "RttSession": "web4.rtt",
    "TrustFSM": "web4.trust",
    "TrustRegistry": "web4.trust",
    "generate_identity": "web4.foundation.identity",
    "load_identity": "web4.foundation.identity",
    "open_endpoint": "web4.rtt",
    "open_hub": "web4.observe",
    "open_node": "web4.node",
    "save_identity": "web4.foundation.identity",
}

__all__ = sorted(_ROOMS)  # noqa: PLE0605 - one list, not two that drift apart


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'web4' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return __all__

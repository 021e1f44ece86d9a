"""How a node is: `node_status`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from web4.doors.control.commands import Caller, CommandSet, Nothing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.node import Node


def add_status(commands: CommandSet, node: Node) -> None:
    """Add `node_status`."""
    began_ns = node.clock.monotonic_ns()

    async def status(_: Nothing, __: Caller) -> Mapping[str, Any]:
        health = node.journal.health()
        trust = Counter(one.state for one in node.trust)
        return {
            "name": node.name,
            "fingerprint": node.fingerprint,
            "addresses": list(node.addresses),
            "uptime_ms": (node.clock.monotonic_ns() - began_ns) // 1_000_000,
            "journal": {name: health[name] for name in ("backend", "durability", "state") if name in health},
            "sessions": sorted(node.cip.peers()),
            "peers": {state: trust[state] for state in sorted(trust)},
            "waiting": node.router.waiting,
            "dead_letters": len(node.router.dead_letters),
            "sinks_lost": node.hub.lost(),
        }

    commands.add("node_status", Nothing, status)

"""Section 14 in a whole node: who its messages come to, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.node.nodes import a_node
from tests.node.test_node import echo
from web4.protocols.router import MATRIX

if TYPE_CHECKING:
    from pathlib import Path

LOOP, LEDGER, GATE = "AgentLoopAdapter._begin", "KnowledgeRuntime.handle", "Receiving.on_action"
_ROWS = {
    "STATE_UPDATE": ("AgentLoopAdapter._noticed",),
    "INTENT": (LOOP,),
    "REPLY": ("AgentLoopAdapter._hear",),
    "FACT_PROPOSE FACT_CONFIRM FACT_REJECT FACT_CHALLENGE": (LEDGER,),
    "DECISION_SHARE": ("MemoryRuntime.handle",),
    "HCP_HELLO HCP_STATE_UPDATE": ("Receiving.on_signal",),
    "HCP_INTENT HCP_CONTEXT": (GATE, LOOP),
    "HCP_DECISION HCP_FEEDBACK": (GATE,),
    "LIP_FETCH": ("LipRuntime.handle_fetch",),
    "LIP_EVIDENCE LIP_CONFLICT LIP_ACCEPT LIP_REJECT": (LEDGER,),
    "SERVICE_INVOKE": ("register_services.<locals>.called",),
    "SERVICE_RESULT": ("register_services.<locals>.answered",),
}
HANDLERS = {name: handlers for names, handlers in _ROWS.items() for name in names.split()}


async def test_route_matrix_of_a_node(tmp_path: Path) -> None:
    """ROUTE-1, HCP-9: every type that is routed has its target, and the consent gate stands before the agent's loop."""
    with trio.fail_after(30):
        async with a_node(tmp_path, "ada", handler=echo) as ada:
            found = {
                name: tuple(one.name for one in ada.router._handlers.of(name))
                for name, route in MATRIX.items()
                if route.way == "router"
            }
            assert found == HANDLERS
            guards = {name for name in HANDLERS if any(one.guard for one in ada.router._handlers.of(name))}
            assert guards == {name for name, names in HANDLERS.items() if GATE in names}

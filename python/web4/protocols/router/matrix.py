"""Who handles what: the table of section 14, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from web4.protocols.messages.vocabulary import Protocol


Way = Literal["session", "mesh", "router"]
Target = Literal[
    "handshake, then TrustFSM",
    "outbox",
    "peer state",
    "agent loop",
    "knowledge ledger",
    "DMP and causal memory",
    "human state and consent",
    "gate, then agent loop",
    "gate, then DMP and social trust",
    "fetcher",
    "mesh",
    "service registry",
]


@dataclass(frozen=True, slots=True)
class Route:
    """Where messages of a type go.

    Args:
        protocol: Whose type it is.
        target: What handles them, in the words of the specification.
        way: `router` ones come to registered handlers. The session keeps its own to itself, and the mesh is given
            what travels hop by hop: no handler can stand before the handshake, a receipt, or a forwarding decision.
    """

    protocol: Protocol
    target: Target
    way: Way


_ROWS: Final[tuple[tuple[str, Protocol, Target, Way], ...]] = (
    ("HELLO VERIFY", "cip", "handshake, then TrustFSM", "session"),
    ("ERROR RECEIPT", "cip", "outbox", "session"),
    ("STATE_UPDATE", "cip", "peer state", "router"),
    ("INTENT REPLY", "cip", "agent loop", "router"),
    ("FACT_PROPOSE FACT_CONFIRM FACT_REJECT FACT_CHALLENGE", "cip", "knowledge ledger", "router"),
    ("DECISION_SHARE", "cip", "DMP and causal memory", "router"),
    ("HCP_HELLO HCP_STATE_UPDATE", "hcp", "human state and consent", "router"),
    ("HCP_INTENT HCP_CONTEXT", "hcp", "gate, then agent loop", "router"),
    ("HCP_DECISION HCP_FEEDBACK", "hcp", "gate, then DMP and social trust", "router"),
    ("LIP_FETCH", "lip", "fetcher", "router"),
    ("LIP_EVIDENCE LIP_CONFLICT LIP_ACCEPT LIP_REJECT", "lip", "knowledge ledger", "router"),
    ("MESH_HELLO MESH_ROUTES MESH_INTRODUCE MESH_REVOKE MESH_RELAY", "mesh", "mesh", "mesh"),
    ("SERVICE_INVOKE SERVICE_RESULT", "mesh", "service registry", "router"),
)

MATRIX: Final[dict[str, Route]] = {
    type_name: Route(protocol, target, way)
    for types, protocol, target, way in _ROWS
    for type_name in types.split()
}
"""The route of every type name. Names are unique over the protocols; there are no others (ENV-3)."""

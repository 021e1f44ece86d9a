"""All types of messages of all protocols: where each travels, what it needs, whether it is queued (sections 7 and 15)."""

# ruff: noqa: E501 - a table is read by its columns

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from web4.protocols.messages import cip, hcp, lip, mesh

if TYPE_CHECKING:
    from collections.abc import Mapping

Protocol = Literal["cip", "hcp", "lip", "mesh"]
ChannelKind = Literal["control", "state", "knowledge", "relay"]
"""The way a message takes: RTT's channel 0, the state and the knowledge channel `web4`, the knowledge channel `relay`."""
Payload = cip.Payload | hcp.HcpPayload | lip.LipPayload | mesh.MeshPayload
NamedMessage = cip.CipMessage | hcp.HcpMessage | lip.LipMessage
"""What names an agent as sender and another as receiver (section 3)."""
AgentMessage = NamedMessage | mesh.ServiceMessage
"""What an agent says to another, a human through agents included: everything but what keeps the mesh together."""
AgentPayload = cip.Payload | hcp.HcpPayload | lip.LipPayload | mesh.ServicePayload

VERSION: Final = "1.0"
"""Of every protocol so far."""


@dataclass(frozen=True, slots=True)
class MessageType:
    """One type of message.

    Args:
        protocol: Whose it is; the envelope's discriminator.
        name: As the envelope spells it. Names are unique over all protocols.
        envelope: The struct of the whole envelope.
        payload: The struct of its payload.
        channel: Where it travels (CIP-1).
        durable: Whether it goes through the outbox (OUT-1).
        needs_protocol: The protocol that has to be agreed (CIP-3); None for CIP itself.
        needs_capability: The capability that has to be agreed (CIP-3), if any.
    """

    protocol: Protocol
    name: str
    envelope: type[msgspec.Struct]
    payload: type[msgspec.Struct]
    channel: ChannelKind
    durable: bool
    needs_protocol: str | None
    needs_capability: str | None


# fmt: off
_ROWS: Final[tuple[tuple[str, ChannelKind, bool, str | None], ...]] = (
    # types                                                        channel      queued  capability
    ("HELLO VERIFY ERROR RECEIPT",                                 "control",   False,  None),
    ("STATE_UPDATE",                                               "state",     False,  "state_exchange"),
    ("INTENT REPLY",                                               "knowledge", True,   None),
    ("FACT_PROPOSE FACT_CHALLENGE FACT_CONFIRM FACT_REJECT",       "knowledge", True,   "knowledge_exchange"),
    ("DECISION_SHARE",                                             "knowledge", True,   "dmp_trace"),
    ("HCP_HELLO HCP_STATE_UPDATE",                                 "control",   True,   None),
    ("HCP_INTENT HCP_CONTEXT HCP_DECISION HCP_FEEDBACK",           "knowledge", True,   None),
    ("LIP_FETCH LIP_EVIDENCE LIP_CONFLICT LIP_ACCEPT LIP_REJECT",  "knowledge", True,   None),
    ("MESH_HELLO MESH_ROUTES MESH_INTRODUCE MESH_REVOKE",          "control",   False,  None),
    ("MESH_RELAY",                                                 "relay",     False,  None),
    ("SERVICE_INVOKE SERVICE_RESULT",                              "knowledge", True,   None),
)
# fmt: on

_VOCABULARIES: Final[tuple[tuple[Protocol, Mapping[str, type[msgspec.Struct]], str | None], ...]] = (
    ("cip", cip.ENVELOPES, None),
    ("hcp", hcp.ENVELOPES, hcp.PROTOCOL),
    ("lip", lip.ENVELOPES, lip.PROTOCOL),
    ("mesh", mesh.ENVELOPES, mesh.PROTOCOL),
)


def _payload_class(envelope: type[msgspec.Struct]) -> type[msgspec.Struct]:
    fields: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(envelope)}
    payload: type[msgspec.Struct] = fields["payload"]
    return payload


def _types() -> dict[str, MessageType]:
    ways = {name: row[1:] for row in _ROWS for name in row[0].split()}
    return {
        name: MessageType(
            protocol, name, envelope, _payload_class(envelope), *ways[name][:2], needed, ways[name][2]
        )
        for protocol, envelopes, needed in _VOCABULARIES
        for name, envelope in envelopes.items()
    }


TYPES: Final[dict[str, MessageType]] = _types()
"""Every type of message by its name; no other names exist (ENV-3)."""

_BY_PAYLOAD: Final = {one.payload: one for one in TYPES.values()}


def type_of(payload: msgspec.Struct) -> MessageType:
    """The type under which `payload` travels.

    Raises:
        KeyError: It is the payload of no message: a mistake in the program.
    """
    return _BY_PAYLOAD[type(payload)]

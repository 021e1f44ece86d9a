"""The relay carrier: a byte stream between two nodes that are no neighbours, over those between (MESH-1, MESH-5)."""

from web4.mesh.relay.flow import FlowBroken, FlowLimits, RelayFlow
from web4.mesh.relay.hub import RelayHub
from web4.mesh.relay.stream import RelayStream
from web4.mesh.relay.transport import SCHEME, MeshTransport

__all__ = ["SCHEME", "FlowBroken", "FlowLimits", "MeshTransport", "RelayFlow", "RelayHub", "RelayStream"]

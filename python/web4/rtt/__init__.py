"""Floor 1: the transport as Trio sees it. Encrypted, authenticated sessions of ordered channels (RTT).

async with rtt.open_endpoint(identity) as endpoint:
async with endpoint.dial("tcp://127.0.0.1:7440", expect=fingerprint) as session:
async with await session.open_channel("knowledge", name="facts") as channel:
await channel.send(b"water is wet")
"""

from web4.rtt.channel import Channel, Outcome
from web4.rtt.endpoint import Endpoint, Listener, open_endpoint
from web4.rtt.errors import (
    AuthenticationError,
    BackpressureError,
    BatchTooLargeError,
    ChannelClosedError,
    ChannelKindError,
    ChannelResetError,
    HandshakeError,
    LimitError,
    LostMessage,
    MessageTooLargeError,
    ProtocolError,
    RttError,
    SessionClosedError,
    SessionLost,
    TransportUnavailableError,
    VersionError,
)
from web4.rtt.hooks import HookHandle, HookName, Hooks, SessionEvent
from web4.rtt.metrics import EndpointMetrics, Histogram, KindMetrics, Metrics
from web4.rtt.opening import ANY, Expect
from web4.rtt.options import ChannelLimits, Options
from web4.rtt.session import RttSession
from web4.rtt.transports import (
    Acceptor,
    Address,
    Break,
    Faults,
    GivenUp,
    MemoryNetwork,
    MemoryTransport,
    Registry,
    Transport,
    default_registry,
    shared_registry,
)

__all__ = [
    "ANY",
    "Acceptor",
    "Address",
    "AuthenticationError",
    "BackpressureError",
    "BatchTooLargeError",
    "Break",
    "Channel",
    "ChannelClosedError",
    "ChannelKindError",
    "ChannelLimits",
    "ChannelResetError",
    "Endpoint",
    "EndpointMetrics",
    "Expect",
    "Faults",
    "GivenUp",
    "HandshakeError",
    "Histogram",
    "HookHandle",
    "HookName",
    "Hooks",
    "KindMetrics",
    "LimitError",
    "Listener",
    "LostMessage",
    "MemoryNetwork",
    "MemoryTransport",
    "MessageTooLargeError",
    "Metrics",
    "Options",
    "Outcome",
    "ProtocolError",
    "Registry",
    "RttError",
    "RttSession",
    "SessionClosedError",
    "SessionEvent",
    "SessionLost",
    "Transport",
    "TransportUnavailableError",
    "VersionError",
    "default_registry",
    "open_endpoint",
    "shared_registry",
]

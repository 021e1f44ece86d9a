"""Transports: what a carrier's bytes travel on, by the scheme of an address (section 20)."""

from web4.rtt.transports.address import Address
from web4.rtt.transports.faults import Break, Faults, FaultyStream
from web4.rtt.transports.memory import MemoryNetwork, MemoryTransport
from web4.rtt.transports.registry import Registry, default_registry, shared_registry
from web4.rtt.transports.tcp import TcpTransport
from web4.rtt.transports.transport import Acceptor, GivenUp, Transport
from web4.rtt.transports.unix import UnixTransport

__all__ = [
    "Acceptor",
    "Address",
    "Break",
    "Faults",
    "FaultyStream",
    "GivenUp",
    "MemoryNetwork",
    "MemoryTransport",
    "Registry",
    "TcpTransport",
    "Transport",
    "UnixTransport",
    "default_registry",
    "shared_registry",
]

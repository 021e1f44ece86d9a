"""The contract suite of transports (RTT-69), and faults for any transport."""

from web4.testing.transport.arena import TransportContractError
from web4.testing.transport.contract import CHECKS, check_transport
from web4.testing.transport.faulty import FaultyTransport

__all__ = ["CHECKS", "FaultyTransport", "TransportContractError", "check_transport"]

"""The public test kit: clocks that obey the test, and the proofs that logic is pure and that a transport holds."""

from web4.testing.clocks import ManualClock, TrioClock
from web4.testing.lane_logic import ImpureLogicError, check_lane_logic
from web4.testing.transport import FaultyTransport, TransportContractError, check_transport

__all__ = [
    "FaultyTransport",
    "ImpureLogicError",
    "ManualClock",
    "TransportContractError",
    "TrioClock",
    "check_lane_logic",
    "check_transport",
]

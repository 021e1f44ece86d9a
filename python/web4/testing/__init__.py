"""The public test kit: clocks that obey the test, and proofs: that logic is pure, a transport and a store hold."""

from web4.testing.clocks import ManualClock, TrioClock
from web4.testing.journal import JournalContractError, StoreUnderTest, check_journal_backend
from web4.testing.lane_logic import ImpureLogicError, check_lane_logic
from web4.testing.transport import FaultyTransport, TransportContractError, check_transport

__all__ = [
    "FaultyTransport",
    "ImpureLogicError",
    "JournalContractError",
    "ManualClock",
    "StoreUnderTest",
    "TransportContractError",
    "TrioClock",
    "check_journal_backend",
    "check_lane_logic",
    "check_transport",
]

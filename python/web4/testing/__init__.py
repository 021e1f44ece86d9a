"""The public test kit: clocks that obey the test, and the proof that a lane's logic is pure (ACT-1)."""

from web4.testing.clocks import ManualClock, TrioClock
from web4.testing.lane_logic import ImpureLogicError, check_lane_logic

__all__ = ["ImpureLogicError", "ManualClock", "TrioClock", "check_lane_logic"]

"""How loaded this node is, and what its peers are told of it (PACE-1 to PACE-3)."""

from web4.agent.pacing.lri import Readings, kernel_signals, lri
from web4.agent.pacing.pacer import Pacer
from web4.agent.pacing.sensors import LinuxSensors, Sensors

__all__ = ["LinuxSensors", "Pacer", "Readings", "Sensors", "kernel_signals", "lri"]

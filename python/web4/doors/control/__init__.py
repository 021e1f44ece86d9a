"""The control socket: one JSON object per line, in the envelope of NDJSON v1.

async with open_control_door(path, commands, emit=hub.emit): ...            # in the node
async with open_control(path) as control: data = await control.ask("trust_ls")   # in another process
"""

from web4.doors.control.client import Control, open_control
from web4.doors.control.commands import Caller, CommandSet
from web4.doors.control.door import ControlLimits, open_control_door
from web4.doors.control.errors import CommandFailed, CommandRefused, ControlError

__all__ = [
    "Caller",
    "CommandFailed",
    "CommandRefused",
    "CommandSet",
    "Control",
    "ControlError",
    "ControlLimits",
    "open_control",
    "open_control_door",
]

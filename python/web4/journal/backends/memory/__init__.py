"""The journal in memory, for simulation (JRN-24c): deterministic, and with faults to inject."""

from web4.journal.backends.memory.backend import MemoryBackend, open_memory
from web4.journal.backends.memory.faults import Fault, FaultKind, Operation, RandomFaults, ScriptedFaults
from web4.journal.backends.memory.store import MemoryStore

__all__ = [
    "Fault",
    "FaultKind",
    "MemoryBackend",
    "MemoryStore",
    "Operation",
    "RandomFaults",
    "ScriptedFaults",
    "open_memory",
]

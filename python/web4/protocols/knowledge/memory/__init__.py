"""Causal memory: what led to what, what others say of theirs, and what that says of a statement (MEM-2 to MEM-4).

A pure part of lane `knowledge`: `MemoryLogic.decide` and `apply` over the immutable `CausalMemory`.
"""

from web4.protocols.knowledge.memory.asking import Asking, Step, Way
from web4.protocols.knowledge.memory.checking import (
    Checked,
    Reference,
    Verdict,
    check,
    check_key,
    dependants,
    follows_from_flagged,
)
from web4.protocols.knowledge.memory.commands import (
    AcceptClaim,
    Contradict,
    FlagClaim,
    Link,
    MemoryCommand,
    ReceiveShare,
    Record,
    UnflagClaim,
)
from web4.protocols.knowledge.memory.entries import (
    Experience,
    ForeignExperience,
    RememberedClaim,
    StoredTriple,
    experience,
    stored_triple,
)
from web4.protocols.knowledge.memory.errors import CycleRefused, MemoryRefused
from web4.protocols.knowledge.memory.events import MEMORY_EVENTS, Forgotten, MemoryEvent
from web4.protocols.knowledge.memory.logic import MemoryLimits, MemoryLogic, MemoryReply
from web4.protocols.knowledge.memory.runtime import MemoryRuntime
from web4.protocols.knowledge.memory.state import CausalMemory
from web4.protocols.knowledge.memory.storing import MemoryForm, restored_memory, stored_memory

__all__ = [
    "MEMORY_EVENTS",
    "AcceptClaim",
    "Asking",
    "CausalMemory",
    "Checked",
    "Contradict",
    "CycleRefused",
    "Experience",
    "FlagClaim",
    "ForeignExperience",
    "Forgotten",
    "Link",
    "MemoryCommand",
    "MemoryEvent",
    "MemoryForm",
    "MemoryLimits",
    "MemoryLogic",
    "MemoryRefused",
    "MemoryReply",
    "MemoryRuntime",
    "ReceiveShare",
    "Record",
    "Reference",
    "RememberedClaim",
    "Step",
    "StoredTriple",
    "UnflagClaim",
    "Verdict",
    "Way",
    "check",
    "check_key",
    "dependants",
    "experience",
    "follows_from_flagged",
    "restored_memory",
    "stored_memory",
    "stored_triple",
]

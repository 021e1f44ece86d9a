"""What causal memory refuses."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode
from web4.protocols.knowledge.errors import KnowledgeError


class CycleRefused(KnowledgeError):  # noqa: N818 - the name is the specification's
    """An edge that memory does not take: nothing is its own cause (MEM-2)."""

    codes = (
        ErrorCode("cycle", "The edge would close a cycle.", "Refused; the graph is as before."),
        ErrorCode(
            "cycle_unproven",
            "Whether the edge closes a cycle would take too long to tell.",
            "Refused; the graph is as before.",
        ),
    )


class MemoryRefused(KnowledgeError):  # noqa: N818 - as its sibling
    """What memory was told cannot be remembered."""

    codes = (
        ErrorCode("unknown_reference", "No claim or record in memory has this name.", "Nothing recorded."),
        ErrorCode("self_reference", "Nothing contradicts itself.", "Nothing recorded."),
        ErrorCode("too_large", "A name or a record is empty or beyond its bound.", "Nothing recorded."),
        ErrorCode("unwritable", "A record has no canonical form (SIG-1).", "Nothing recorded."),
    )

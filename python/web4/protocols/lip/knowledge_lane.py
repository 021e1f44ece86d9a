"""Lane `knowledge` of a node: the ledger with causal memory, and the fetches, under one writer (WEB-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from web4.actors.composite import Part, composite_lane
from web4.protocols.knowledge.commands import KnowledgeCommand
from web4.protocols.knowledge.definition import PART

if TYPE_CHECKING:
    from web4.actors.composite import CompositeLane
    from web4.protocols.knowledge.runtime import KnowledgeRuntime
    from web4.protocols.lip.runtime import LipRuntime


def knowledge_lane(knowledge: KnowledgeRuntime, lip: LipRuntime) -> CompositeLane:
    """What `open_lane_actors` takes as `knowledge`. Bind both runtimes to the actors then."""
    return composite_lane(Part(PART, knowledge.definition, get_args(KnowledgeCommand)), lip.part)

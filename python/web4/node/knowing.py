"""Lane `knowledge` of a node: the ledger, and the fetches that feed it (WEB-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from web4.actors.composite import Part, composite_lane
from web4.protocols.knowledge.commands import KnowledgeCommand
from web4.protocols.knowledge.definition import PART
from web4.protocols.lip.fetch_logic import FETCH_COMMANDS
from web4.protocols.lip.knowledge_lane import knowledge_lane as with_fetches
from web4.protocols.lip.readable_lane import FETCHES, unperformed_fetches

if TYPE_CHECKING:
    from web4.actors.composite import CompositeLane
    from web4.protocols.knowledge.runtime import KnowledgeRuntime
    from web4.protocols.lip.runtime import LipRuntime


def knowledge_lane(knowledge: KnowledgeRuntime, lip: LipRuntime | None) -> CompositeLane:
    """The lane whole. Without the internet its fetches are read and replayed; those that are open stay so."""
    if lip is not None:
        return with_fetches(knowledge, lip)
    return composite_lane(
        Part(PART, knowledge.definition, commands=get_args(KnowledgeCommand)),
        Part(FETCHES, unperformed_fetches(), commands=FETCH_COMMANDS),
    )

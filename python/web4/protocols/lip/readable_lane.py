"""Lane `knowledge` as it is read and replayed: nothing is performed, nobody is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from web4.actors.composite import Part, composite_lane
from web4.actors.definition import LaneDefinition
from web4.protocols.knowledge.commands import KnowledgeCommand
from web4.protocols.knowledge.definition import PART, KnowledgeLane
from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
from web4.protocols.knowledge.logic import KnowledgeLogic
from web4.protocols.lip.fetch_events import FETCH_EVENTS
from web4.protocols.lip.fetch_logic import FETCH_COMMANDS, FetchLogic, FetchState

if TYPE_CHECKING:
    from web4.actors.composite import CompositeLane

FETCHES: Final = "fetch"
"""The name of the fetches' part; their effects begin with it."""


def unperformed_fetches() -> LaneDefinition[Any, Any, Any, Any]:
    """Fetches that are read and replayed; those that are open stay so."""
    return LaneDefinition(logic=FetchLogic(), state=FetchState, events=FETCH_EVENTS)


def readable_knowledge_lane(node: str) -> CompositeLane:
    """The lane whole, of the node with this fingerprint. Replay needs none of the limits that it chose."""
    unused: Any = None
    ledger = KnowledgeLane(KnowledgeLogic(node, limits=KnowledgeLimits()), trust=unused, send=unused, now=int)
    return composite_lane(
        Part(PART, ledger, commands=get_args(KnowledgeCommand)),
        Part(FETCHES, unperformed_fetches(), commands=FETCH_COMMANDS),
    )

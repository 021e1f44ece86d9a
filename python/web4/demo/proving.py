"""Proving a node's journal while the node lives: its chains hold, and replay comes to what is in memory (JRN-22)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from web4.actors.rebuilding import rebuild
from web4.foundation.digest import blake3_hex
from web4.journal.replay import replay
from web4.journal.verify import verify
from web4.protocols.cip.durable_lane import peer_definition

if TYPE_CHECKING:
    from web4.actors import LaneActors, LaneDefinition
    from web4.journal.lane import Lane, LaneKind
    from web4.node import Node

_TRIES: Final = 20
_PAUSE: Final = 0.1
"""A lane that is written while it is read is looked at again."""


class Extra(NamedTuple):
    """Lanes beside the node's own: their kind, what they are made of, and who runs them."""

    kind: LaneKind
    definition: LaneDefinition[Any, Any, Any, Any]
    actors: LaneActors


async def prove(node: Node, extra: Extra | None = None) -> dict[str, Any]:
    """Verify every record, replay every lane, and hold each against its live state.

    Returns:
        `findings` of verification, `differs`: lanes whose replay is not what lives, how many `records` and `lanes`.
    """
    journal = node.journal
    report = await verify(journal.backend, journal.registry)
    definitions: dict[LaneKind, Any] = {"peer": peer_definition(), **node.lanes}
    if extra is not None:
        definitions[extra.kind] = extra.definition
    differs: list[str] = []
    for _ in range(_TRIES):
        replayed = await replay(journal.backend, definitions, journal.registry)
        differs = [str(one) for one in replayed.divergences]
        for one in replayed.lanes:
            if one.digest is None or one.digest != await _live(node, extra, one.lane, one.digest):
                differs.append(str(one.lane))
        if not differs:
            break
        await trio.sleep(_PAUSE)
    return {
        "findings": [f"{one.lane} {one.seq}: {one.detail}" for one in report.findings],
        "differs": differs,
        "records": report.records,
        "lanes": len(replayed.lanes),
        "digest": replayed.digest,
    }


async def _live(node: Node, extra: Extra | None, lane: Lane, replayed: str) -> str | None:
    """The digest of what lives. Of a peer that is its trust: where it is what replay has, replay's digest."""
    if lane.kind == "peer":
        rebuilt = (await rebuild(node.journal, lane, peer_definition())).state
        return replayed if rebuilt.trust == node.trust.record(lane.id) else None
    if extra is not None and lane.kind == extra.kind:
        state, definition = await extra.actors.lane(lane).state(), extra.definition
    else:
        state, definition = await node.actors.lane(lane).state(), node.lanes[lane.kind]
    return blake3_hex(definition.encode(state))

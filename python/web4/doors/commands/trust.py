"""What a human says of a peer's trust: `trust_anchor`, `trust_promote`, `trust_block`, `trust_override` (UX-10)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.doors.commands.operators import add_for_operators
from web4.doors.views.naming import peers_of
from web4.node.errors import DirectoryError
from web4.trust import Anchored, ManualOverride, OperatorBlock, OperatorPromote, TrustCommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.control import CommandSet
    from web4.doors.views.reading import Reading
    from web4.node import Node

    Act = type[Anchored | OperatorPromote | OperatorBlock | ManualOverride]

ACTS: Final[dict[str, Act]] = {
    "trust_anchor": Anchored,
    "trust_promote": OperatorPromote,
    "trust_block": OperatorBlock,
    "trust_override": ManualOverride,
}


class TrustAct(msgspec.Struct, frozen=True):
    """What is said.

    Args:
        peer: However it is named; a stranger by its whole fingerprint.
        human: Who says it.
        reason: Why.
    """

    peer: str
    human: str
    reason: str


def add(commands: CommandSet, node: Node, reading: Reading) -> None:
    """Add the commands of this group."""
    for name, act in ACTS.items():
        add_for_operators(commands, name, TrustAct, partial(_done, node, reading, act))


async def _done(node: Node, reading: Reading, act: Act, asked: TrustAct) -> Mapping[str, Any]:
    """Where the peer was and is: `{fingerprint, name, from, to, event}`; `event` is null if nothing is recorded."""
    if not asked.human.strip():
        raise TrustCommandError("whoever says this has a name: --as NAME", code="human_required")
    if not asked.reason.strip():
        raise TrustCommandError("a reason has words: --reason TEXT", code="reason_required")
    peers = await peers_of(reading)
    peer = peers.find(asked.peer, strangers=True)
    if peer == node.fingerprint:
        raise DirectoryError("this is the node's own fingerprint: it is no peer of itself", code="own_peer")
    before = node.trust.state(peer)
    command = act(at_ms=node.clock.wall_ms(), human=asked.human, reason=asked.reason)
    outcome = await node.cip.trust_command(peer, command)
    event = outcome.event
    return {
        "fingerprint": peer,
        "name": peers.alias(peer),
        "from": before if event is None else event.from_,
        "to": outcome.state if event is None else event.to,
        "event": None if event is None else event.event,
    }

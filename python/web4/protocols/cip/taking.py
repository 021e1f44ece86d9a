"""Messages that came at once, and what follows from letting them in by one decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.cip.actions import Action, Delivery, TakenTogether
from web4.protocols.cip.lane_errors import LANE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.protocols.cip.arrivals import Arrivals
    from web4.protocols.cip.peer import Peer
    from web4.protocols.cip.reports import Reports
    from web4.protocols.cip.validation import Incoming


def let_in(
    peer: Peer, arrivals: Arrivals, reports: Reports, run: Sequence[Incoming], at_ms: int
) -> tuple[int, list[Action]]:
    """Let in the first of `run`, as many as go the usual way; how many, and what follows. None is refused here."""
    command = arrivals.together(run, at_ms) if len(run) > 1 else None
    if command is None:
        return 0, []
    try:
        admissions = peer.lane.handle(command).together
    except LANE_ERRORS:
        return 0, []  # nothing has changed; asked singly, those that can be taken are, and the error comes up
    trust, recent, wanted = peer.trust, peer.recent, reports.wanted
    deliveries, actions = list[Delivery](), list[Action]()
    for incoming, letter, admission in zip(run, command.letters, admissions, strict=False):
        message = incoming.message
        recent.put(letter.msg_id, incoming.envelope.data)
        deliveries.append(
            Delivery(peer.fingerprint, trust, admission, message, letter.digest, letter.size, at_ms)
        )
        if wanted:
            actions.append(reports.received(incoming, admission))
    if deliveries:
        peer.agent_id = deliveries[-1].message.sender.agent_id
        actions.append(TakenTogether(tuple(deliveries)))
    return len(deliveries), actions

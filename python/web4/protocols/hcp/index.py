"""What a node holds in memory about the humans on its lanes: who there is, and when to look again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from web4.actors.rebuilding import rebuild
from web4.journal.errors import CorruptJournalError
from web4.protocols.hcp.errors import ConsentError
from web4.protocols.hcp.lane import events as e
from web4.protocols.hcp.values import Contact

if TYPE_CHECKING:
    from web4.foundation.events import Emitter
    from web4.journal.journal import Journal
    from web4.journal.lane import Lane
    from web4.protocols.hcp.lane.replies import Reply
    from web4.protocols.hcp.lane.states import LaneState

MOST_HUMANS: Final = 10_000
"""Humans at peers that a node knows."""
MOST_OF_PEER: Final = 64
"""Humans of one peer: names cost it nothing."""
_PAGE: Final = 500


class Index:
    """Built from lanes at start, kept up by what becomes durable.

    Args:
        emit: Where `consent_changed`, `check_in_asked` and `check_in_answered` go. Never how a human is (HCP-11).
    """

    def __init__(self, emit: Emitter) -> None:
        self.locals: dict[str, None] = {}
        """The humans of this node."""
        self.remotes: dict[str, Contact] = {}
        """Humans at peers, by lane."""
        self.paced: dict[str, int] = {}
        """When a message last passed at the slow pace of a human, by lane."""
        self.due: dict[str, int] = {}
        """When a human's lane wants to be asked to look again."""
        self._of_peer: Counter[str] = Counter()
        self._consents: dict[str, tuple[str | None, tuple[str, ...]]] = {}
        self._emit = emit

    async def read(self, journal: Journal, definition: Any) -> None:
        """Learn who there is from the journal. A lane that cannot be read is halted, and its human unknown.

        Raises:
            JournalError: The journal cannot be read.
        """
        after: Lane | None = None
        while page := await journal.heads("human", after=after, limit=_PAGE):
            for lane, _ in page:
                if lane in journal.halted:
                    continue
                try:
                    self._learn(lane.id, (await rebuild(journal, lane, definition)).state)
                except CorruptJournalError as error:
                    if error.code == "future_event":  # of another room, such as calls by hand: none of ours
                        continue
                    journal.halt(lane, str(error), seq=error.seq)
            after = page[-1][0]

    def _learn(self, lane_id: str, state: LaneState) -> None:
        if state.local is not None:
            self.locals[lane_id] = None
            for lane, at in state.local.paced.items():
                self.paced[lane] = max(at, self.paced.get(lane, 0))
            self._wants(lane_id, state.local.next_ms)
            self._consents[lane_id] = (state.local.facts.consent, state.local.facts.scope)
        elif state.remote is not None:
            self._meet(lane_id, state.remote.peer, state.remote.human_id)
            self._consents[lane_id] = (state.remote.facts.consent, state.remote.facts.scope)

    def admit(self, contact: Contact) -> None:
        """Check that there is room for a human at a peer.

        Raises:
            ConsentError: `too_many_humans`.
        """
        full = len(self.remotes) >= MOST_HUMANS or self._of_peer[contact.peer] >= MOST_OF_PEER
        if contact.lane_id not in self.remotes and full:
            raise ConsentError(
                "no more humans of this peer are taken in", code="too_many_humans", peer=contact.peer
            )

    def consent(self, lane_id: str) -> str | None:
        """What a human consents to, as it is durable; None if none is known."""
        known = self._consents.get(lane_id)
        return None if known is None else known[0]

    def note(self, lane_id: str, reply: Reply) -> None:
        """Take in what became durable on a lane, and tell of it."""
        for event in reply.events:
            self._noted(lane_id, event)
        if lane_id in self.locals:
            self._wants(lane_id, reply.next_ms)

    def _noted(self, lane_id: str, event: e.HumanEvent) -> None:
        match event:
            case e.Added():
                self.locals[lane_id] = None
            case e.Met():
                self._meet(lane_id, event.peer, event.human_id)
            case e.Paced():
                for lane in event.lanes:
                    self.paced[lane] = max(event.at_ms, self.paced.get(lane, 0))
            case e.Consented():
                self._consent(lane_id, event.consent, event.scope, door=event.door)
            case e.Heard() if event.consent is not None:
                self._consent(lane_id, event.consent, event.scope or ())
            case e.CheckInAsked():
                asked = event.check_in
                self._emit(
                    "check_in_asked",
                    lane=f"human:{lane_id}",
                    peer=asked.action.peer,
                    protocol="hcp",
                    msg_id=asked.action.msg_id,
                    human=lane_id,
                    check_in=asked.check_in_id,
                    question=asked.question,
                    deadline_ms=asked.expires_ms,
                )
            case e.CheckInEnded():
                self._emit(
                    "check_in_answered",
                    lane=f"human:{lane_id}",
                    protocol="hcp",
                    msg_id=e.message_of(event.action_id),
                    human=lane_id,
                    check_in=event.check_in_id,
                    answer=event.outcome,
                )
            case _:
                pass

    def _consent(
        self, lane_id: str, consent: str, scope: tuple[str, ...], *, door: str | None = None
    ) -> None:
        before = self._consents.get(lane_id)
        self._consents[lane_id] = (consent, scope)
        if before == (consent, scope):
            return
        contact = self.remotes.get(lane_id)
        fields: dict[str, Any] = {"to": consent, "scope": scope, "human": lane_id}
        if before is not None and before[0] is not None:
            fields["from"] = before[0]
        if door is not None:
            fields |= {"actor": lane_id, "door": door}
        peer = None if contact is None else contact.peer
        self._emit(
            "consent_changed", lane=f"human:{lane_id}", peer=peer, protocol="hcp", state=consent, **fields
        )

    def _meet(self, lane_id: str, peer: str, human_id: str) -> None:
        if lane_id not in self.remotes:
            self.remotes[lane_id] = Contact(peer, human_id)
            self._of_peer[peer] += 1

    def _wants(self, lane_id: str, next_ms: int | None) -> None:
        if next_ms is None:
            self.due.pop(lane_id, None)
        else:
            self.due[lane_id] = next_ms

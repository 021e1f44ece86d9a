"""A peer of whom nothing is recorded: what is decided about it stays in memory until it makes a record (TRUST-10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.actors.errors import MailboxFullError
from web4.protocols.cip.handshake import Closed, HandshakeStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.actors.lane_writer import LaneWriter
    from web4.foundation.logic import Decision
    from web4.protocols.cip.peer_state import PeerCommand, PeerEvent, PeerOutcome, PeerState

    Writer = LaneWriter[PeerState, PeerCommand, PeerEvent, PeerOutcome]

MAX_COMMANDS: Final = 256
"""Commands held of one stranger; a handshake has a dozen. Beyond, its session ends."""


class Stranger:
    """Decides about a peer without a lane, and leaves none (TRUST-1).

    A key costs nothing: if each that opens a session had a lane, anybody could fill the disk with them. So what was
    decided waits in a writer that appends nothing, until something has made a record, which TRUST-10 limits; then the
    lane is taken, and the writer is the lane's. When the last session ends without, all of it is forgotten. A stranger
    can only repeat what it said itself, to be held a stranger again.

    It is the lane's own writer, so that what the journal does not take is refused when it is decided, and only that:
    whoever asks in the same turn for something else must not suffer for it (JRN-4e).

    Args:
        begin: Makes the writer of a lane that nobody wrote.
    """

    def __init__(self, begin: Callable[[], Writer]) -> None:
        self.writer = begin()
        """What led here, in order."""
        self.commands = 0
        """How many commands have led to something."""
        self.told = 0
        """How many steps of handshakes, of those that wait in `writer`, were reported."""
        self.over: list[HandshakeStep] = []
        """Steps of sessions that have ended, to be reported still."""
        self._begin = begin
        self._untold: list[HandshakeStep] = []

    @property
    def state(self) -> PeerState:
        """After all that was decided."""
        return self.writer.state

    @property
    def recorded(self) -> bool:
        """Whether there is something to record, and the peer so no stranger any more."""
        return self.state.trust.seq > 0 or self.state.outbox.last > 0

    def decide(self, command: PeerCommand) -> Decision[PeerEvent, PeerOutcome]:
        """Decide `command`.

        Raises:
            MailboxFullError: It says too much for somebody whom nobody knows.
            JournalError: An event that the journal would not take; nothing has changed.
        """
        if self.commands >= MAX_COMMANDS and not isinstance(command, Closed):
            raise MailboxFullError(f"{MAX_COMMANDS} commands of a peer without a record are held")
        decision = self.writer.decide(command)
        if not decision.events:
            return decision
        self.commands += 1
        self._untold += [event for event in decision.events if isinstance(event, HandshakeStep)]
        if not self.recorded and not self.state.handshakes:
            self.writer, self.commands = self._begin(), 0
            self.over, self._untold, self.told = self.over + self._untold, [], 0
        return decision

    def tell(self) -> list[HandshakeStep]:
        """The steps to report now."""
        self.told += len(self._untold)
        steps = self.over + self._untold
        self.over, self._untold = [], []
        return steps

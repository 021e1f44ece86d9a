"""A peer of whom nothing is recorded: what is decided about it stays in memory until it makes a record (TRUST-10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.actors.errors import MailboxFullError
from web4.protocols.cip.handshake import Closed, HandshakeStep

if TYPE_CHECKING:
    from web4.foundation.logic import Decision
    from web4.protocols.cip.peer_logic import PeerLogic
    from web4.protocols.cip.peer_state import PeerCommand, PeerEvent, PeerOutcome

MAX_COMMANDS: Final = 256
"""Commands held of one stranger; a handshake has a dozen. Beyond, its session ends."""


class Stranger:
    """Decides about a peer without a lane, and leaves none (TRUST-1).

    A key costs nothing: if each that opens a session had a lane, anybody could fill the disk with them. So the
    commands that led to something are held, and decided once more by the lane's writer when one of them has made a
    record, which TRUST-10 limits. When the last session ends without, they are forgotten. A stranger can only
    repeat what it said itself, to be held a stranger again.
    """

    def __init__(self, logic: PeerLogic) -> None:
        self.state = logic.initial
        self.commands: list[PeerCommand] = []
        """What led here, in order."""
        self.told = 0
        """How many steps of handshakes that `commands` led to were reported."""
        self.over: list[HandshakeStep] = []
        """Steps of sessions that have ended, to be reported still."""
        self._logic = logic
        self._untold: list[HandshakeStep] = []

    @property
    def recorded(self) -> bool:
        """Whether there is something to record, and the peer so no stranger any more."""
        return self.state.trust.seq > 0 or self.state.outbox.last > 0

    def decide(self, command: PeerCommand) -> Decision[PeerEvent, PeerOutcome]:
        """Decide `command`.

        Raises:
            MailboxFullError: It says too much for somebody whom nobody knows.
        """
        if len(self.commands) >= MAX_COMMANDS and not isinstance(command, Closed):
            raise MailboxFullError(f"{MAX_COMMANDS} commands of a peer without a record are held")
        decision = self._logic.decide(self.state, command)
        if decision.events:
            self.commands.append(command)
        for event in decision.events:
            self.state = self._logic.apply(self.state, event)
            if isinstance(event, HandshakeStep):
                self._untold.append(event)
        if not self.recorded and not self.state.handshakes:
            self.state = self._logic.initial
            self.commands.clear()
            self.over, self._untold, self.told = self.over + self._untold, [], 0
        return decision

    def tell(self) -> list[HandshakeStep]:
        """The steps to report now."""
        self.told += len(self._untold)
        steps = self.over + self._untold
        self.over, self._untold = [], []
        return steps

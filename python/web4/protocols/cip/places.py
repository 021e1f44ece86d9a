"""Room that is held between deciding that a message is let in and the moment that this is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.cip.actions import AskIntent, Deliver, TakenTogether

if TYPE_CHECKING:
    from web4.protocols.cip.actions import Action
    from web4.protocols.cip.inbox import Inbox


class Places:
    """What one session's readers hold: places in the inbox, and questions that will need an answer.

    Other sessions decide while this one waits for the journal; without it they would find the same room.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._held: dict[int, Action] = {}
        self.questions = 0
        """INTENTs that were decided to be answered, and are not yet."""

    def hold(self, actions: list[Action]) -> None:
        """Hold what `actions` need. An optional delivery that finds no room has none."""
        for action in actions:
            if isinstance(action, AskIntent):
                self.questions += 1
                self._held[id(action)] = action
            elif isinstance(action, TakenTogether):
                self._inbox.hold_together(action.deliveries)
                self._held[id(action)] = action
            elif isinstance(action, Deliver) and self._inbox.hold(action.delivery):
                self._held[id(action)] = action

    def deliver(self, action: Deliver | TakenTogether) -> bool:
        """Put a delivery, or some, into the places held for them; whether there were any."""
        if self._held.pop(id(action), None) is None:
            return False
        deliveries = action.deliveries if isinstance(action, TakenTogether) else (action.delivery,)
        self._inbox.put_held(*deliveries)
        return True

    def release(self, actions: list[Action]) -> None:
        """Give back what `actions` still hold."""
        for action in actions:
            if self._held.pop(id(action), None) is None:
                continue
            if isinstance(action, Deliver):
                self._inbox.release(action.delivery)
            elif isinstance(action, TakenTogether):
                for delivery in action.deliveries:
                    self._inbox.release(delivery)
            else:
                self.questions -= 1

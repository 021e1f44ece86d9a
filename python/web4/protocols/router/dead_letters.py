"""Messages that could not be handled, for an operator to see (ROUTE-5)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.foundation.events import Emitter
    from web4.protocols.cip.actions import Delivery


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message on which a handler failed for good.

    Args:
        delivery: The message.
        handler: Who failed.
        code: How: of `HandlerError`, or of the room that refused what followed.
    """

    delivery: Delivery
    handler: str
    code: str


class DeadLetters:
    """The newest dead letters of all peers. What falls off is an event; its peer's lane still says `failed`.

    Args:
        most: How many are listed.
        emit: Gets the events.
    """

    def __init__(self, most: int, emit: Emitter) -> None:
        self._letters: deque[DeadLetter] = deque()
        self._most = most
        self._emit = emit

    def __len__(self) -> int:
        return len(self._letters)

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(tuple(self._letters))

    def add(self, letter: DeadLetter) -> None:
        """List one more."""
        if len(self._letters) >= self._most:
            gone = self._letters.popleft()
            self._emit(
                "error",
                severity="warning",
                peer=gone.delivery.peer,
                msg_id=gone.delivery.msg_id,
                where="dead_letters",
                code="forgotten",
            )
        self._letters.append(letter)

    def take(self, peer: str, msg_id: str) -> DeadLetter | None:
        """Take one off the list, to give it to `ProtocolRouter.route` again or to drop it; None if it is not there."""
        for letter in self._letters:
            if letter.delivery.peer == peer and letter.delivery.msg_id == msg_id:
                self._letters.remove(letter)
                return letter
        return None

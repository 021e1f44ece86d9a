"""What a rule is asked and what it answers: the commit of a turn (TURN-13d)."""

from __future__ import annotations

from typing import Any

import msgspec


class Commit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A turn that is about to be committed. A rule is pure: it looks at nothing but this.

    Args:
        state: Of the session before the turn.
        turn: The turn, its terminal event included.
        intents: What the turn wants to make true.
    """

    state: Any = None
    turn: Any = None
    intents: list[Any] = []


class Issue(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An objection: with one of these the turn is not committed.

    Args:
        code: A lowercase word.
        message: A sentence for people.
        data: What else there is to say.
    """

    code: str
    message: str
    data: Any = None

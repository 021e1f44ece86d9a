"""Errors of actors. Messages name actors, lanes and ids, never what a message says."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class ActorError(Web4Error):
    """Base of what goes wrong between a sender and an actor."""


class MailboxFullError(ActorError):
    """A queue is at its bound (ACT-4b). The sender tries again later; nothing accepted was evicted."""

    codes = (ErrorCode("busy", "The queue is full.", "The message is not taken; it is counted."),)


class DeadlockError(ActorError):
    """An ask that could never be answered: the actor asked waits, in the end, for the one that asks."""

    codes = (ErrorCode("deadlock", "The ask would wait for itself.", "The message is not sent."),)


class ActorCrashError(ActorError):
    """The actor died of this message (ACT-5b)."""

    codes = (ErrorCode("actor_crash", "The actor died of the message.", "Nothing of it was recorded."),)


class ActorStoppedError(ActorError):
    """There is no actor any more that could take the message, or answer it."""

    codes = (
        ErrorCode("stopped", "The actor was stopped, or is being stopped.", "The message is not handled."),
        ErrorCode("not_recovered", "Recovery of the node's lanes did not end well.", "Nothing is written."),
        ErrorCode("unknown_outcome", "It stopped before the outcome was known.", "The lane tells."),
    )


class RestartLimitError(ActorError):
    """An actor was restarted too often within too short a time (ACT-5c). The cause is the last crash."""

    codes = (ErrorCode("restart_limit", "Too many restarts.", "The supervisor and its actors stop."),)


class EffectError(ActorError):
    """A lane's logic moved an effect that cannot be moved so (ACT-3c). Nothing of the decision is recorded."""

    codes = (
        ErrorCode("effect_requested", "An open effect has this id already.", "Nothing is written."),
        ErrorCode("effect_not_open", "No open effect has this id.", "Nothing is written."),
        ErrorCode("effect_not_concluded", "No command concludes the effect.", "The lane halts."),
        ErrorCode("effects_unsupported", "The lane's definition performs no effects.", "The lane halts."),
    )

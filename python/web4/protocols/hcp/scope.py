"""Which topics a consent covers (HCP-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from web4.protocols.hcp.values import OPENNESS, STALE_MS
from web4.protocols.messages.hcp import TopicScope

if TYPE_CHECKING:
    from web4.protocols.hcp.values import Facts
    from web4.protocols.messages.hcp import Consent

PREFIX: Final = "topic:"
MOST_SCOPES: Final = 64
"""Topics that one consent names at most."""


def covers(scope: str, topic: str | None) -> bool:
    """Whether one entry of a scope covers a topic. `topic:a/b` covers `a/b` and what is below; `topic:*` all.

    A topic that nobody knows, that of an intent never heard of, is covered by `topic:*` alone.
    """
    if not scope.startswith(PREFIX):
        return False
    named = scope.removeprefix(PREFIX)
    if named == "*":
        return True
    if not named or topic is None:
        return False
    return topic == named or topic.startswith(f"{named}/")


def in_scope(scope: tuple[str, ...], topic: str | None) -> bool:
    """Whether a limited consent with this scope covers a topic."""
    return any(covers(one, topic) for one in scope)


def standing(facts: Facts, now_ms: int) -> Consent | None:
    """The consent that counts now: granted by a human of whom nothing was heard for 10 minutes counts as limited.

    What was heard at a time that is not yet was heard nobody knows when: the clock was set back.
    """
    if facts.consent == "granted" and abs(now_ms - facts.said_ms) > STALE_MS:
        return "limited"
    return facts.consent


def wider(
    consent: Consent | None, scope: tuple[str, ...], than: Consent | None, than_scope: tuple[str, ...]
) -> bool:
    """Whether a consent is more open than another: a higher step, or a topic that the other did not cover (HCP-4)."""
    if OPENNESS[consent] != OPENNESS[than]:
        return OPENNESS[consent] > OPENNESS[than]
    if consent != "limited":
        return False
    return any(not _within(one, than_scope) for one in scope)


def _within(one: str, scope: tuple[str, ...]) -> bool:
    named = one.removeprefix(PREFIX)
    return any(other == f"{PREFIX}*" or (named != "*" and covers(other, named)) for other in scope)


def checked_scope(scope: tuple[str, ...]) -> tuple[str, ...]:
    """Give back a scope, sorted and each topic once.

    Raises:
        ValueError: Too many topics, or one that is not of the form `topic:a/b` or `topic:*`.
    """
    if len(scope) > MOST_SCOPES:
        raise ValueError(f"a scope names at most {MOST_SCOPES} topics")
    return tuple(sorted(set(msgspec.convert(scope, tuple[TopicScope, ...]))))

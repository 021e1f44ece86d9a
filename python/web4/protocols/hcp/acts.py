"""What a human does through a door (HCP-4). Only these open consent, and only these end a restriction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from web4.protocols.hcp.values import Contact
    from web4.protocols.messages.fields import Presence
    from web4.protocols.messages.hcp import Affect


@dataclass(frozen=True, slots=True)
class Grant:
    """Consent to every topic. Said again, it is fresh again: after 10 minutes it counts as limited (HCP-2)."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Consent to these topics and nothing else.

    Args:
        scope: `topic:a/b` covers `a/b` and everything below it, `topic:*` all.
    """

    scope: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Revoke:
    """Take all consent back: what runs is cancelled, what is queued is purged, within a second (HCP-3)."""


@dataclass(frozen=True, slots=True)
class SetState:
    """Say how one is. What is left out stays as it was said before.

    Args:
        presence: `focused`, `diffuse`, `overloaded` or `engaged`.
        affect: `calm`, `tense`, `anxious`, `energized` or `neutral`.
        clarity: 0 to 100.
        pressure: 0 to 100.
        intent: What one is about, in words.
    """

    presence: Presence | None = None
    affect: Affect | None = None
    clarity: int | None = None
    pressure: int | None = None
    intent: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a check-in (HCP-5): yes lets pass what waits, no ends it."""

    check_in_id: str
    yes: bool


@dataclass(frozen=True, slots=True)
class Restrict:
    """Have nothing to do with a human at a peer until further notice (HCP-8)."""

    contact: Contact


@dataclass(frozen=True, slots=True)
class Regrant:
    """Have to do with that human again: the relation begins anew as *probing*. Nothing else ends a restriction."""

    contact: Contact


HumanAct = Grant | Limit | Revoke | SetState | Answer | Restrict | Regrant

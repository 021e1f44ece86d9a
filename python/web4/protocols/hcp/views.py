"""What doors show of humans: consents, and people at peers. Never affect, pressure or clarity (HCP-11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from web4.protocols.hcp.social import SocialState
    from web4.protocols.hcp.values import Contact
    from web4.protocols.messages.hcp import Consent


@dataclass(frozen=True, slots=True)
class ConsentView:
    """What a human consents to.

    Args:
        human: The lane's id: a human's id here, the hash of WEB-1 for one at a peer.
        contact: Who, of one at a peer.
        consent: None if none is known.
        scope: Of a limited consent.
        said_ms: When it was said, or anything else of the human; Unix milliseconds.
    """

    human: str
    contact: Contact | None
    consent: Consent | None
    scope: tuple[str, ...]
    said_ms: int


@dataclass(frozen=True, slots=True)
class PersonView:
    """Somebody at a peer with whom a human of this node has to do.

    Args:
        contact: Who.
        name: As the human wants to be called; empty before HCP_HELLO.
        role: The same.
        consent: See `ConsentView`.
        social: By human of this node, how far they have come (HCP-8).
    """

    contact: Contact
    name: str
    role: str
    consent: Consent | None
    social: dict[str, SocialState]

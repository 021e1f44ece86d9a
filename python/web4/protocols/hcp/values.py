"""What is said of a human, and who is who: the values that lanes, gate and messages share (section 11)."""

from __future__ import annotations

import uuid
from typing import Final, NamedTuple

import msgspec

from web4 import _core
from web4.foundation.codec import Fingerprint, HumanId
from web4.foundation.digest import blake3_hex, canonical
from web4.protocols.messages.fields import Percent, Presence
from web4.protocols.messages.hcp import Affect, Consent, SafetyFlag

STALE_MS: Final = 600_000
"""State older than this makes granted consent count as limited (HCP-2)."""
CHECK_IN_MS: Final = 600_000
"""How long a human has to answer (HCP-5)."""
PACE_MS: Final = 30_000
"""SLOW lets one message pass in this time (HCP-7)."""

OPENNESS: Final[dict[Consent | None, int]] = {None: 0, "revoked": 0, "limited": 1, "granted": 2}
"""How open a consent is; none known is as closed as a revoked one (HCP-4)."""


class Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a human is, as the human or the human's agent said it: `state.human` of an envelope, without consent.

    Args:
        presence: See section 3.
        affect: Stays on `human:<id>` (HCP-11), as do the next two.
        clarity: 0 to 100.
        pressure: 0 to 100.
        intent: What the human is about, in words.
    """

    presence: Presence = "engaged"
    affect: Affect = "neutral"
    clarity: Percent = 100
    pressure: Percent = 0
    intent: str = ""


UNSAID: Final = Said()
"""What is told to those who may not know how a human is (HCP-11): the values that ask for nothing."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """All that the gate looks at of one human: the newest there is.

    Args:
        consent: None if none is known.
        scope: The topics of a limited consent, as `topic:a/b`.
        said: How the human is.
        said_ms: When that, or the consent, was said last; Unix milliseconds.
        flags: What the human asked to be spared.
    """

    consent: Consent | None = None
    scope: tuple[str, ...] = ()
    said: Said = UNSAID
    said_ms: int = 0
    flags: tuple[SafetyFlag, ...] = ()


class Contact(NamedTuple):
    """A human at another agent.

    Args:
        peer: Fingerprint of the agent that owns the human.
        human_id: The human's name there.
    """

    peer: str
    human_id: str

    @property
    def lane_id(self) -> str:
        """The id of the human's lane here (WEB-1)."""
        return remote_id(self.peer, self.human_id)


class _Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    peer: Fingerprint
    human_id: HumanId


def remote_id(peer: str, human_id: str) -> str:
    """The lane id of a remote human: BLAKE3-256 of the canonical {fingerprint, human_id}, in hex (WEB-1).

    It has 64 characters, a local human's id at most 63: they never meet.
    """
    return blake3_hex(canonical({"fingerprint": peer, "human_id": human_id}))


def checked_human_id(human_id: str) -> str:
    """Give back what is a human's id.

    Raises:
        ValueError: It is none, or names no lane (`.` and `..`).
    """
    if human_id in {".", ".."}:
        raise ValueError("a human's id is not made of dots alone")
    return msgspec.convert(human_id, HumanId)


def checked_contact(contact: Contact) -> Contact:
    """Give back what names a human at a peer.

    Raises:
        ValueError: The peer is no fingerprint, or the human's id none.
    """
    msgspec.convert({"peer": contact.peer, "human_id": contact.human_id}, _Names)
    return contact


def derived_uuid4(*parts: str) -> str:
    """Give the UUID, shaped as version 4, that `parts` stand for: an effect that is done again sends the same ids."""
    return str(uuid.UUID(bytes=_core.blake3(canonical(parts))[:16], version=4))

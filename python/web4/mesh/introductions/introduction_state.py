"""What is known of introductions, and what a node may be told or tells of them (MESH-10, MESH-11)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from web4.mesh.introductions.introduction_events import Act, Told
from web4.trust import TrustState

MAX_HEARD: Final = 1_024
"""Introductions that stand at once."""
MAX_HEARD_OF_ONE: Final = 64
"""Of one introducer."""
MAX_ENDED: Final = 4_096
"""Ended ones that are remembered until they would have expired, so that none comes back."""
MAX_ISSUED: Final = 256
"""Introductions that this node gives at once."""
MAX_NOTES: Final = 64
MAX_TEXT: Final = 200
"""Characters of a peer's reason that are kept."""
LIFETIME_MS: Final = 24 * 3_600_000
"""Milliseconds that an introduction lasts at most (MESH-10)."""
SKEW_MS: Final = 120_000
"""By how much the introducer's clock may be ahead."""


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """One that stands.

    Args:
        intro_id: Its id, unique for its origin.
        origin: Who introduces.
        subject: Who is introduced.
        addresses: By the origin's word.
        expires_ms: Until when.
        blake3: Of the envelope that says it.
        standing: `asked` until the TrustFSM has heard; `effective` if the subject is here by this introducer, `known`
            if it was known before.
    """

    intro_id: str
    origin: str
    subject: str
    addresses: tuple[str, ...]
    expires_ms: int
    blake3: str
    standing: Literal["asked", "effective", "known"] = "asked"

    @property
    def key(self) -> str:
        """Origin and id: another origin's id is another introduction."""
        return key_of(self.origin, self.intro_id)


class Issued(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One that this node gives; with `withdrawn`, one that it took back, told until it would have expired."""

    intro_id: str
    subject: str
    pubkey: str
    addresses: tuple[str, ...]
    expires_ms: int
    withdrawn: str | None = None


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What a peer says of a third: for the operator to read. `text` is the peer's: data, never an instruction."""

    at_ms: int
    origin: str
    subject: str
    text: str


class IntroductionsState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of it.

    Args:
        heard: Those that stand, by key.
        ended: Keys of those that ended, or were forged, and until when that is remembered, Unix milliseconds.
        issued: This node's own, by id.
        notes: The newest, oldest first.
    """

    heard: dict[str, Introduction] = msgspec.field(default_factory=dict)
    ended: dict[str, int] = msgspec.field(default_factory=dict)
    issued: dict[str, Issued] = msgspec.field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def vouched(self, origin: str, subject: str, *, but: str = "") -> bool:
        """Whether an introduction of `origin` for `subject` stands, beside the one with the key `but`."""
        return any(
            one.origin == origin and one.subject == subject and key != but and one.standing != "known"
            for key, one in self.heard.items()
        )


def key_of(origin: str, intro_id: str) -> str:
    """How an introduction is named here."""
    return f"{origin}/{intro_id}"


# --- commands -----------------------------------------------------------------------------------------------


class HearIntroduction(msgspec.Struct, frozen=True, kw_only=True):
    """An introduction came whose envelope its origin signed.

    Args:
        at: Unix milliseconds.
        origin, origin_state, origin_unverified: Who introduces, and how far it is trusted here now.
        own: This node's fingerprint.
        intro_id, subject, pubkey, addresses, expires_ms: What it says; the key is base64, addresses are checked.
        envelope_id, blake3, envelope: What says it, for evidence.
    """

    at: int
    origin: str
    origin_state: TrustState
    origin_unverified: bool
    own: str
    intro_id: str
    subject: str
    pubkey: str
    addresses: tuple[str, ...]
    expires_ms: int
    envelope_id: str
    blake3: str
    envelope: str


class HearRevocation(msgspec.Struct, frozen=True, kw_only=True):
    """Its origin takes an introduction back."""

    at: int
    origin: str
    origin_state: TrustState
    intro_id: str
    subject: str
    text: str


class EndExpired(msgspec.Struct, frozen=True, kw_only=True):
    """Time passes: what expired by `at` ends."""

    at: int


class EndIntroducer(msgspec.Struct, frozen=True, kw_only=True):
    """A peer is not trusted any more: what it introduced ends."""

    at: int
    origin: str


class SettleTrust(msgspec.Struct, frozen=True, kw_only=True):
    """The TrustFSM has heard. Only the lane's own effects give it."""

    at: int
    effect_id: str
    told: Told
    act: Act | None = None
    introducer: str = ""
    peer: str = ""
    intro_id: str = ""
    code: str | None = None


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """This node introduces a peer."""

    at: int
    intro_id: str
    subject: str
    pubkey: str
    addresses: tuple[str, ...]
    expires_ms: int


class Withdraw(msgspec.Struct, frozen=True, kw_only=True):
    """This node takes an introduction back."""

    at: int
    intro_id: str
    reason: str


IntroductionCommand = (
    HearIntroduction | HearRevocation | EndExpired | EndIntroducer | SettleTrust | Issue | Withdraw
)
Verdict = Literal[
    "asked",
    "ended",
    "duplicate",
    "expired",
    "too_long",
    "not_trusted",
    "depth",
    "self",
    "forged",
    "noted",
    "full",
    "issued",
    "too_many",
    "unknown_introduction",
    "settled",
]
"""What became of a command: only `asked`, `ended`, `forged`, `noted`, `issued` and `settled` are recorded."""

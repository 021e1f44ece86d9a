"""The errors that all protocols share (section 21 of the specification)."""

from __future__ import annotations

from web4.foundation.errors import EnvelopeError, ErrorCode, Web4Error


class PayloadSchemaError(EnvelopeError):
    """The payload is not what its type prescribes (VAL-1, step 5)."""

    codes = (ErrorCode("payload", "The payload does not fit the schema of its type.", "Refused, counted."),)


class MeshEnvelopeError(EnvelopeError):
    """A neighbour handed over what is no right envelope of the mesh (MESH-2, MESH-3, step 1).

    It counts against that neighbour, who had to look before it passed it on, and against no other node.
    """

    codes = (
        ErrorCode(
            "invalid", "A field or the payload is not what the schema prescribes.", "Dropped, counted."
        ),
        ErrorCode(
            "hops", "The last hop is not the session's peer, or a node was passed twice.", "Dropped, counted."
        ),
        ErrorCode(
            "not_neighbour",
            "The type does not travel this way, or on this channel (CIP-1).",
            "Dropped, counted.",
        ),
        ErrorCode("expired", "It has outlived its `ttl_ms`, or is from too far ahead.", "Dropped, counted."),
        ErrorCode("origin", "Its origin did not sign it, or has another key.", "Dropped, counted."),
    )


class TimestampError(EnvelopeError):
    """The envelope is too old or from too far ahead (VAL-1, step 8)."""

    codes = (ErrorCode("skew", "The timestamp differs from the time here by too much.", "Refused, counted."),)


class ReplayError(EnvelopeError):
    """The envelope, or something it says once, was here before (VAL-1, step 10; section 6)."""

    codes = (
        ErrorCode("replayed", "Older than what this peer has said since.", "Dropped; no blame."),
        ErrorCode(
            "nonce_replayed", "The nonce of this HELLO was used before.", "Dropped; the session stays."
        ),
        ErrorCode(
            "equivocation",
            "Another content under a msg_id that was used before.",
            "Dropped; `malicious_evidence` of the session's peer, with both envelopes (REP-3).",
        ),
        ErrorCode(
            "replay_window_full",
            "As many ids of this peer are remembered as the limit allows.",
            "Refused; the peer is told when to try again. No id is forgotten for it (REP-1).",
        ),
    )


class HandshakeFailed(Web4Error):  # noqa: N818 - the name is the specification's
    """The CIP handshake of a session did not succeed (HS-3). The session is closed."""

    codes = (
        ErrorCode("timeout", "A step was not taken within its deadline.", "Closed; no trust event."),
        ErrorCode(
            "bad_response",
            "The peer's response proves nothing: wrong or missing.",
            "Closed; `auth_failure` of the session's peer (HS-6).",
        ),
        ErrorCode("no_common_protocol", "No common version of cip (HS-4).", "Closed; no trust event."),
        ErrorCode("capability", "The peer lacks a mandatory capability (CIP-3).", "Closed; no trust event."),
        ErrorCode("refused", "The peer refused the handshake.", "Closed; no trust event."),
        ErrorCode("blacklisted", "The peer is blacklisted here.", "Closed at admission (HS-6)."),
        ErrorCode(
            "journal", "This node's journal does not take what was decided.", "Closed; try again later."
        ),
        ErrorCode("closed", "The session ended first.", "No trust event."),
    )


class NotConnectedError(Web4Error):
    """There is no established session with the peer over which to send."""

    codes = (ErrorCode("not_connected", "No established session with this peer.", "Nothing was sent."),)


class OutboxFull(Web4Error):  # noqa: N818 - the name is the specification's
    """As many envelopes wait for a peer as the limit allows (OUT-6)."""

    codes = (
        ErrorCode(
            "outbox_full",
            "10 000 envelopes, or 64 MiB of them, wait for this peer.",
            "The command is refused; nothing is dropped.",
        ),
    )


class TryAgainLater(Web4Error):  # noqa: N818 - it asks for patience; nobody erred
    """Refused for now, and the peer was told when to try again."""

    codes = (
        ErrorCode(
            "busy", "The application has no room for more of this peer.", "Refused; id not remembered."
        ),
        ErrorCode(
            "rate_limited", "More messages than allowed (LIM-2).", "Dropped unhandled; told each second."
        ),
        ErrorCode("deferred", "This node is overloaded (HS-5).", "The handshake waits."),
        ErrorCode("cooldown", "The peer is in cooldown (TRUST-3).", "The handshake waits."),
    )

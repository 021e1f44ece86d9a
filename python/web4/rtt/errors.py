"""The error tree of RTT (section 17). Each error is also the Trio error that generic stream code expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import trio

from web4.foundation.errors import ErrorCode, Web4Error

if TYPE_CHECKING:
    from collections.abc import Sequence


class RttError(Web4Error):
    """Base of every error of the transport."""


class HandshakeError(RttError):
    """Opening a carrier failed."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("unreachable", "the first carrier failed before it opened", "no session; try again later"),
        ErrorCode("handshake_timeout", "the opening was not complete in time", "the carrier is closed"),
        ErrorCode("not_admitted", "the acceptor does not admit this identity", "final; nothing tells why"),
        ErrorCode("busy", "the acceptor is full", "retry after `retry_after_ms`"),
        ErrorCode(
            "limit", "the acceptor keeps no more sessions of this identity", "retry when one has ended"
        ),
        ErrorCode("unknown_session", "the acceptor does not know the session named", "final; open a new one"),
        ErrorCode("ticket_spent", "the resume ticket was used before", "final; open a new session"),
        ErrorCode("ticket_expired", "the resume window is over", "final; open a new session"),
        ErrorCode("stale_epoch", "a newer carrier has the session", "final for this carrier"),
        ErrorCode("bad_cursor", "the peer denies what it had acknowledged", "final; the session is lost"),
        ErrorCode("refused", "the peer refused for a reason unknown here", "final"),
        ErrorCode("alert", "TLS was ended by an alert that proves nothing", "the carrier is closed"),
        ErrorCode("alpn", "the peer did not agree to web4-rtt/1", "the carrier is closed"),
        ErrorCode("tls_version", "the peer does not speak TLS 1.3", "the carrier is closed"),
        ErrorCode(
            "tls_parameters", "no cipher, key exchange or signature in common", "the carrier is closed"
        ),
        ErrorCode("no_raw_key", "the dialer does not take part in raw public keys", "the carrier is closed"),
        ErrorCode("resumption", "the dialer tried a pre-shared key or early data", "the carrier is closed"),
        ErrorCode("damaged", "what arrived is no TLS, or was altered on the way", "the carrier is closed"),
        ErrorCode("violation", "the proven peer broke TLS itself", "the carrier is closed"),
    )


class AuthenticationError(HandshakeError):
    """A key was not proven, not expected, or our own. The session ends and nothing is retried (RTT-46)."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode(
            "wrong_key", "the peer proved another key than the expected one", "no RTT frame was written"
        ),
        ErrorCode("self_connection", "the peer has this endpoint's own key", "the carrier is closed"),
        ErrorCode("bad_key", "the peer presented no sound Ed25519 raw public key", "the carrier is closed"),
        ErrorCode("bad_proof", "the peer's signature does not prove its key", "the carrier is closed"),
        ErrorCode("no_client_key", "the dialer presented no key", "the carrier is closed"),
        ErrorCode(
            "no_raw_key", "the acceptor does not take part in raw public keys", "the carrier is closed"
        ),
        ErrorCode("refused", "the peer does not accept this endpoint's key", "the carrier is closed"),
    )


class VersionError(HandshakeError):
    """No frame version in common, or a critical extension that is not known (RTT-15, RTT-16)."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("version", "no frame version in common", "final; update one of both"),
        ErrorCode("extension", "one side requires an extension the other does not know", "final"),
    )


class TransportUnavailableError(RttError):
    """The address names no transport, or nobody answers there."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("unknown_scheme", "no transport is registered for the scheme", "nothing was tried"),
        ErrorCode("bad_address", "the address does not parse", "nothing was tried"),
        ErrorCode("unreachable", "the address refused, or was not reached", "nothing was sent"),
        ErrorCode("address_in_use", "something else listens at the address", "not listening"),
    )


class ProtocolError(RttError, trio.BrokenResourceError):
    """The peer broke the transport's rules; the session is closed (RTT-53)."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode(
            "protocol_error", "the peer broke the transport's rules", "CLOSE was sent, evidence raised"
        ),
    )


class BackpressureError(RttError, trio.WouldBlock):
    """There is no room in a send queue, and waiting is not allowed or took too long."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("queue_full", "the send queue is full", "the message was not queued"),
        ErrorCode("block_timeout", "no room within block_timeout", "the message was not queued"),
    )


class MessageTooLargeError(RttError):
    """A message is larger than its channel allows; nothing was queued."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("message_too_large", "larger than the channel allows", "nothing was queued"),
    )


class BatchTooLargeError(RttError):
    """A batch could not fit even an empty send queue; nothing was queued."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("batch_too_large", "can never fit the send queue", "nothing was queued"),
    )


class ChannelKindError(RttError):
    """There is no such kind of channel, or the kind does not allow the policy."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("unknown_kind", "no channel kind has this name", "nothing was opened"),
        ErrorCode("bad_policy", "no such policy, or the kind does not allow it", "nothing was opened"),
    )


class LimitError(RttError):
    """A limit of this side."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("too_many_channels", "as many channels are open as were agreed", "nothing was opened"),
        ErrorCode("bad_option", "an option has a value that cannot work", "nothing was opened"),
    )


class ChannelResetError(RttError, trio.BrokenResourceError):
    """The peer reset the channel; others go on. The wire's code is the attribute `reset_code`."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("channel_reset", "the peer reset the channel", "others go on"),
    )

    def __init__(self, message: str, *, reset_code: str, peer: str | None = None) -> None:
        super().__init__(message, peer=peer)
        self.reset_code = reset_code


class ChannelClosedError(RttError, trio.ClosedResourceError):
    """The channel was closed on this side."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("channel_closed", "the channel was closed here", "nothing was queued"),
    )


class SessionClosedError(RttError, trio.ClosedResourceError):
    """The session was closed here, or by the peer's CLOSE: `reason` is `local` or `peer`."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("session_closed", "the session is closed", "nothing was queued"),
    )

    def __init__(self, message: str, *, reason: str, peer: str | None = None) -> None:
        super().__init__(message, peer=peer)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LostMessage:
    """One message that was accepted and never acknowledged (RTT-25)."""

    channel: int
    name: str
    kind: str
    index: int
    """Its number on the channel, from 0, in order of acceptance."""
    size: int
    state: str
    """`unsent` if no byte of it was ever written, else `unknown`."""


class SessionLost(RttError, trio.BrokenResourceError):  # noqa: N818 - the specification's name
    """The session ended before everything accepted was acknowledged, or without a word from the peer (RTT-25).

    Attributes:
        reason: How. With a resume window: `expired`, `peer_restarted`, `evicted`, `auth_failed`, `cursor_invalid`, or
            the code of the final refusal (RTT-36); without one `connection_lost` or `heartbeat_timeout`; of what a
            graceful end left over `local` or `peer`.
        messages: Every message accepted and not acknowledged, by channel and in order of acceptance. Exact.
    """

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode(
            "session_lost", "the session ended and its peer is gone", "what is unacknowledged is listed"
        ),
    )

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        messages: Sequence[LostMessage] = (),
        contents: Sequence[bytes] = (),
        peer: str | None = None,
    ) -> None:
        super().__init__(message, peer=peer)
        self.reason = reason
        self.messages = tuple(messages)
        self._contents = tuple(contents)

    @property
    def count(self) -> int:
        """How many messages are not acknowledged."""
        return len(self.messages)

    @property
    def count_by_channel(self) -> dict[int, int]:
        """The same, by channel id."""
        counts: dict[int, int] = {}
        for lost in self.messages:
            counts[lost.channel] = counts.get(lost.channel, 0) + 1
        return counts

    def payloads(self) -> tuple[bytes, ...]:
        """The contents, in the order of `messages`, to be sent some other way."""
        return self._contents

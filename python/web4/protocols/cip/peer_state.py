"""What lane `peer:<fingerprint>` holds, what it is told, what it records, and what it answers (WEB-1)."""

from __future__ import annotations

from typing import Literal

import msgspec
from immutables import Map

from web4.protocols.cip.handshake import (
    HandshakeCommand,
    HandshakeOutcome,
    HandshakeState,
    HandshakeStep,
    HelloArrived,
    PutOff,
    Refused,
    VerifyArrived,
)
from web4.protocols.cip.outbox.commands import OutboxCommand
from web4.protocols.cip.outbox.entries import OutboxEvent, OutboxState, TakenState
from web4.protocols.cip.outbox.known_ids import KnownIds
from web4.protocols.cip.outbox.logic import Queueing
from web4.protocols.cip.replay import ReplayWindow
from web4.protocols.decisions import DecisionOutcome, DecisionRecord
from web4.protocols.gates import Admission
from web4.trust import TrustCommand, TrustEvent, TrustOutcome, TrustRecord


class PeerState(msgspec.Struct, frozen=True):
    """What this node holds about one peer.

    Args:
        trust: How far it is trusted, and why.
        replay: Ids and nonces of what it said lately that no outbox sends again.
        handshakes: Its sessions' handshakes.
        known: Ids of outbox types it has used (REP-1).
        outbox: What waits to be delivered to it.
        taken: What it sent and the application has not dealt with.
        causes: Causes that have moved its trust (ROUTE-3).
    """

    trust: TrustRecord = TrustRecord()
    replay: ReplayWindow = ReplayWindow()
    handshakes: Map[str, HandshakeState] = Map()
    known: KnownIds = KnownIds()
    outbox: OutboxState = OutboxState()
    taken: TakenState = TakenState()
    causes: KnownIds = KnownIds()


class Arrived(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A message that passed steps 1 to 9 came on a session of this peer.

    Args:
        session_id: The session, in hex.
        at_ms: Time here.
        type: The message's type.
        msg_id: Its id.
        content_digest: BLAKE3-256 of its content, in hex (SIG-5).
        digest: BLAKE3-256 of the whole envelope, in hex.
        timestamp_ms: Its timestamp.
        handshake: What it means for the handshake, if it does: a HELLO, a VERIFY, or an ERROR about our own.
        room: Whether it can be taken in now: by the application, or, an INTENT, whether it can be answered.
        answers_ours: Whether a REPLY answers a message of this node.
        newest_state_ms: Timestamp of the newest STATE_UPDATE heard from this peer (telemetry, REP-2).
        overload_retry_ms: This node is overloaded: when a HELLO may be tried again.
        newcomer_retry_ms: No new record may be made of an unknown peer now (TRUST-10): when to try again.
        busy_retry_ms: When to try again if there is no room.
        keeps: The envelope's size in bytes, if it can be kept as evidence.
        keeps_first: The size of what came first under its id, if that is still held and could be kept, too.
        durable: Whether its type is one of the outbox: it is recorded whole before its receipt leaves (OUT-3).
        envelope: Such a message as it came, unless it is a blob.
        blob: The blob that holds it.
        size: Its bytes.
        receipts: The ids that a RECEIPT names.
        about: The id that an ERROR names, with its code and when to try again.
    """

    session_id: str
    at_ms: int
    type: str
    msg_id: str
    content_digest: str
    digest: str
    timestamp_ms: int
    handshake: HelloArrived | VerifyArrived | PutOff | Refused | None = None
    room: bool = True
    answers_ours: bool = True
    newest_state_ms: int = 0
    overload_retry_ms: int | None = None
    newcomer_retry_ms: int | None = None
    busy_retry_ms: int = 1_000
    keeps: int | None = None
    keeps_first: int | None = None
    durable: bool = False
    envelope: str | None = None
    blob: str | None = None
    size: int = 0
    receipts: tuple[str, ...] = ()
    about: str | None = None
    about_code: str = "refused"
    about_retry_ms: int | None = None


class Letter(msgspec.Struct, frozen=True, gc=False):
    """One message of `ArrivedTogether`. See `Arrived` for the fields."""

    type: str
    msg_id: str
    content_digest: str
    digest: str
    size: int
    envelope: str


class ArrivedTogether(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of outbox types that came at once, each as an `Arrived` that can be taken in, if those before it are.

    What goes the usual way is let in, in their order and up to the first that does not: `PeerOutcome.together` says
    how many. That one was not looked at: it has to come as an `Arrived`.

    Args:
        session_id: The session, in hex.
        at_ms: Time here.
        letters: The messages. For each there is room, a REPLY answers a message of this node, none is an INTENT.
    """

    session_id: str
    at_ms: int
    letters: tuple[Letter, ...]


class Caused(msgspec.Struct, frozen=True, kw_only=True):
    """A command about trust that has its effect once, however often its cause is handled (ROUTE-3).

    `key` is 16 bytes of the cause's digest, in hex.
    """

    command: TrustCommand
    key: str

    @property
    def at_ms(self) -> int:
        """Time of the command."""
        return self.command.at_ms


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is going on with the peer; what can no longer be replayed at `at_ms` may go."""

    at_ms: int


PeerCommand = Arrived | ArrivedTogether | HandshakeCommand | TrustCommand | Caused | OutboxCommand | Rest


class IdHeard(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """An id or nonce was used (REP-2). `key` is its bytes in hex.

    `skew_ms` is the node's limit at that time, so that replay needs none: it says what the window let go. `anew` says
    that the clock was set back so far that the window begins anew: see `ReplayWindow.is_ahead`.
    """

    key: str
    content: str
    envelope: str
    at_ms: int
    skew_ms: int
    anew: bool = False


class Rested(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The window let go what could no longer be replayed. See `IdHeard` for `skew_ms`."""

    at_ms: int
    skew_ms: int


class CauseHeard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A cause has moved the peer's trust, and will not again. See `MessageTaken` for the last two."""

    key: str
    at_ms: int
    begins: bool = False
    lets_go: int = 0


PeerEvent = (
    TrustEvent
    | IdHeard
    | Rested
    | HandshakeStep
    | OutboxEvent
    | CauseHeard
    | DecisionRecord
    | DecisionOutcome
)
RefusalKind = Literal["InvalidEnvelopeError", "ReplayError", "TrustViolationError", "TryAgainLater"]


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Why a message was refused: the error's class and what it carries. `silent`: the peer is not told."""

    kind: RefusalKind
    code: str
    field: str | None = None
    retry_after_ms: int | None = None
    silent: bool = False


class PeerOutcome(msgspec.Struct, frozen=True, gc=False):
    """The answer to a command.

    Args:
        status: `handled`: on to the application; `duplicate`: it was handled before; `refused`: see
            `refusal`; `taken`: the handshake or trust took it in.
        refusal: The one error of a refused message (VAL-3).
        admission: How the gate lets a handled message in (TRUST-6).
        handshake: What the session's handshake asks for next.
        trust: What became of the peer's trust.
        receipt: Whether a RECEIPT is due (OUT-3).
        queueing: Whether an envelope was queued.
        queueings: The same of each that was asked for together.
        waits_ms: The peer asks to be sent again what it refused, after that time.
        together: How the gate let in the first of the messages that came together; a RECEIPT of these is due.
    """

    status: Literal["handled", "duplicate", "refused", "taken"]
    refusal: Refusal | None = None
    admission: Admission | None = None
    handshake: HandshakeOutcome | None = None
    trust: TrustOutcome | None = None
    receipt: bool = False
    queueing: Queueing | None = None
    queueings: tuple[Queueing, ...] = ()
    waits_ms: int | None = None
    together: tuple[Admission, ...] = ()

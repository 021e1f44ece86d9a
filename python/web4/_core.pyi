"""The native core of Web4. Private: the rooms of `web4` give these names their public shape."""

from collections.abc import Callable, Sequence
from typing import Any, final

__all__ = [
    "Blake3",
    "CoreError",
    "Endpoint",
    "Envelope",
    "Identity",
    "Meter",
    "OpeningLink",
    "SessionLink",
    "SessionTable",
    "blake3",
    "blake3_keyed",
    "build_info",
    "canonicalize",
    "fingerprint",
    "first_broken_record",
    "lane_genesis",
    "open_envelopes",
    "parse_envelope",
    "payload_hash",
    "seal_envelope",
    "seal_envelopes",
    "seal_group",
    "seal_records",
    "verify",
    "verify_envelopes",
    "verify_many",
]

class CoreError(Exception):
    """The native core refuses something."""

    code: str
    """A stable code."""
    field: str | None
    """The dotted path of the field concerned, if it is one. Of an opening: the family of the failure."""
    proven: str | None
    """Of an opening: the fingerprint the failure may be charged to."""
    retry_after_ms: int | None
    """Of an opening that was refused: the earliest retry."""

@final
class Identity:
    """An agent's Ed25519 key pair (ID-1). Its repr shows the fingerprint only; it cannot be pickled."""

    @staticmethod
    def generate() -> Identity:
        """A new identity from the operating system's randomness.

        Raises:
            OSError: There is none.
        """

    @staticmethod
    def from_seed(seed: bytes, /) -> Identity:
        """The identity that belongs to a seed: the 32 bytes that RFC 8032 calls the private key.

        Raises:
            ValueError: The seed has another length.
        """

    @staticmethod
    def from_pem(pem: str, /) -> Identity:
        """Reads a PKCS#8 PEM document.

        Raises:
            CoreError: `key_malformed`.
        """

    def to_pem(self) -> str:
        """The private key as a PKCS#8 PEM document: whoever reads it is this agent."""

    @property
    def public_key(self) -> bytes:
        """The raw public key, 32 bytes."""

    @property
    def fingerprint(self) -> str:
        """Lowercase hex BLAKE3-256 of the raw public key."""

    def sign(self, message: bytes, /, *, protocol: str, version: str, purpose: str) -> bytes:
        """Sign `message` for one protocol, version and purpose, and for no other (SIG-2); 64 bytes.

        Raises:
            ValueError: Protocol, version or purpose is not 1 to 32 characters of `[a-z0-9._-]`.
        """

@final
class Envelope:
    """An envelope in canonical form. Nothing of it is verified until `verify` has returned."""

    @property
    def protocol(self) -> str:
        """`cip`, `hcp`, `lip` or `mesh`."""

    @property
    def version(self) -> str:
        """The protocol's version as it is written; whether it is known is the protocol's business."""

    @property
    def type(self) -> str:
        """The type as it is written; whether it is known is the protocol's business."""

    @property
    def msg_id(self) -> str | None:
        """The message id (of a mesh envelope: `id`), if there is one and it is a string."""

    @property
    def timestamp(self) -> str | None:
        """The timestamp (of a mesh envelope: `created_at`) as written, if there is one and it is a string."""

    @property
    def payload(self) -> bytes | None:
        """The canonical bytes of the payload, if there is one."""

    @property
    def data(self) -> bytes:
        """The canonical bytes of the whole envelope: the object that was parsed, not a copy."""

    @property
    def digest(self) -> str:
        """Lowercase hex BLAKE3-256 of all the bytes. Computed on each use, unless a batch has done so."""

    @property
    def content_digest(self) -> str:
        """Lowercase hex BLAKE3-256 of the canonical bytes without `sign` and `timestamp` (SIG-5).

        Of a mesh envelope without `sign`, `created_at` and `hops`. Computed on each use, unless a batch has done so.
        """

    def with_hop(self, hop: str, /) -> bytes:
        """The canonical bytes of a mesh envelope with one more entry of `hops` (MESH-3, step 7).

        The origin signs everything but `hops`: its signature stays as good as it was.

        Raises:
            CoreError: `field` if this is no mesh envelope, `hops` is missing or no list, or `hop` is no plain
                word.
        """

    def verify(self, public_key: bytes, /) -> None:
        """Verify the envelope's signature strictly against a raw public key (SIG-3).

        Raises:
            CoreError: `field` if `sign` is missing or not written in the one right way; `signature` if it
                does not verify.
        """

def build_info() -> tuple[str, str]:
    """Version and build profile (`release` or `debug`) of the native core."""

@final
class Blake3:
    """The BLAKE3-256 of what comes in pieces, too long to be held at once."""

    def __new__(cls) -> Blake3: ...
    def update(self, piece: bytes, /) -> None:
        """Add a piece."""

    def digest(self) -> bytes:
        """The digest of all pieces so far, 32 bytes."""

def blake3(data: bytes, /) -> bytes:
    """The BLAKE3-256 of `data`, 32 bytes."""

def blake3_keyed(key: bytes, data: bytes, /) -> bytes:
    """The BLAKE3-256 of `data` under a key of 32 bytes; 32 bytes.

    Raises:
        ValueError: The key has another length.
    """

def canonicalize(data: bytes, /) -> bytes:
    """The canonical form (RFC 8785) of strict JSON (SIG-1).

    Raises:
        CoreError: `syntax`.
    """

def fingerprint(public_key: bytes, /) -> str:
    """The fingerprint of a raw public key: lowercase hex of its BLAKE3-256 (ID-1).

    Raises:
        ValueError: The key has not 32 bytes.
    """

def open_envelopes(data: list[bytes], public_key: bytes, /, max_bytes: int) -> list[Envelope | None]:
    """Parse many envelopes, and find out over the cores what will be asked about them.

    That is their digests, and whether `public_key` signed them: `Envelope.verify` says it when it is asked about the
    same key, and computes nothing then.

    Returns:
        The envelopes in their order; None where `parse_envelope` refuses: it says why.

    Raises:
        CoreError: `signature`: the key has not 32 bytes.
    """

def parse_envelope(data: bytes, /, max_bytes: int) -> Envelope:
    """Check size, strict canonical syntax and the discriminator of `data` (VAL-1, steps 1 to 3).

    Raises:
        CoreError: `too_large`, `syntax`, `not_canonical`, `discriminator`, `version` (it is no short string)
            or `unknown_type` (it is missing or no string).
    """

def seal_envelope(identity: Identity, unsigned: bytes, /, max_bytes: int) -> bytes:
    """Sign an envelope that has no `sign` yet; the canonical bytes of the whole.

    Fastest when `unsigned` is in canonical form already; any other spelling of strict JSON is rewritten.

    Raises:
        CoreError: As `parse_envelope`, but never `not_canonical`; `field` if there is a `sign` already.
    """

def seal_envelopes(identity: Identity, unsigned: list[bytes], /, max_bytes: int) -> list[bytes]:
    """Sign many envelopes over the cores; the canonical bytes of each, in their order.

    Raises:
        CoreError: As `seal_envelope`, about the first that is refused.
    """

def verify(
    public_key: bytes, message: bytes, signature: bytes, /, *, protocol: str, version: str, purpose: str
) -> None:
    """Verify strictly that `public_key` signed `message` for one protocol, version and purpose (SIG-3).

    Raises:
        CoreError: `signature`, whatever is wrong with key or signature.
        ValueError: As `Identity.sign`.
    """

def verify_many(
    checks: Sequence[tuple[bytes, bytes, bytes]], /, *, protocol: str, version: str, purpose: str
) -> list[int]:
    """Verify many `(public_key, message, signature)`, each strictly and by itself, over the cores.

    Returns:
        The positions of those that do not verify, ascending.

    Raises:
        ValueError: As `Identity.sign`.
    """

def verify_envelopes(pairs: Sequence[tuple[Envelope, bytes]], /) -> list[int]:
    """Verify many `(envelope, public_key)`, each strictly and by itself, over the cores.

    Returns:
        The positions of those that do not verify, ascending.
    """

@final
class Endpoint:
    """The key, the options and the boot id that all carriers of one endpoint share."""

    def __new__(
        cls,
        identity: Identity,
        boot_id: bytes,
        /,
        *,
        frame_payload: int,
        channels: int,
        kinds: Sequence[tuple[int, int, int]],
        heartbeat_ns: int,
        drain_timeout_ns: int,
        ack_delay_ns: int,
        resend_bytes: int,
        resend_reserve: int,
        resume_window_ms: int,
        rekey_after_ns: int,
        rekey_bytes: int,
        rekey_frames: int,
        carrier_lifetime_ns: int,
        memory_per_peer: int,
        memory: int,
    ) -> Endpoint:
        """Check the options.

        Raises:
            CoreError: `bad_option`, with the field.
        """

    def dial(self, fd: int | None, expect: bytes | None, max_write: int | None = None, /) -> OpeningLink:
        """A carrier to whoever holds the key of fingerprint `expect` (32 bytes), or to anybody when that is None.

        It is on the socket `fd`, or, without one, on a wire that the caller feeds and drains. One write has at most
        `max_write` bytes.
        """

    def redial(
        self, fd: int | None, session: SessionLink, max_write: int | None = None, /
    ) -> OpeningLink | None:
        """A carrier to the peer of a session, to go on with that; None when the session cannot be resumed any more."""

    def accept(self, fd: int | None, max_write: int | None = None, /) -> OpeningLink:
        """A carrier that somebody dialled."""

    @property
    def memory_held(self) -> int:
        """Bytes that all sessions hold."""

    @property
    def memory_full(self) -> bool:
        """Whether no session more is to be granted."""

    def take_waiting(self, peer: bytes, /) -> list[bytes]:
        """The ids of the sessions that waited for memory that a peer's session has freed; `memory_freed` tells them."""

@final
class OpeningLink:
    """A carrier between its first byte and an open session. The socket stays the caller's."""

    def advance(self) -> int:
        """Read, decide, write; how far the opening is: 0 waiting, 1 asked, 2 open, 3 asked to resume, 4 resumed.

        Raises:
            CoreError: Its `field` is `authentication`, `carrier`, `refused` or `violation`.
        """

    def flush(self) -> bool:
        """Write what waits; False when the socket takes no more now."""

    def feed(self, data: bytes, /) -> None:
        """Wire without a socket: bring what arrived; `advance` takes it in.

        Raises:
            ValueError: The wire holds more than 64 KiB then; nothing was taken.
        """

    def feed_end(self) -> None:
        """Wire without a socket: nothing more will arrive."""

    def take_output(self) -> bytes:
        """Wire without a socket: what is to be written next, empty when that is all. What was taken is written by
        now."""

    def answer(self, session_id: bytes, ticket: bytes, /) -> None:
        """Grant the session that was asked for, under an id of 16 bytes and a ticket of 32."""

    @property
    def asked_session_id(self) -> bytes | None:
        """The id of the session that the peer asks to resume."""

    def answer_resume(self, session: SessionLink, next_ticket: bytes, now: int, /) -> int:
        """Grant the resume that was asked for, if the session does; returns the session's status.

        The session then has no carrier until this one has opened.

        Raises:
            CoreError: With the code the peer was refused with.
        """

    def refuse(self, code: str, retry_after_ms: int, /) -> None:
        """Refuse it, with the word of a code."""

    def open_session(self, now: int, /) -> SessionLink:
        """The session, once open. This object is of no use afterwards."""

    def release(self) -> None:
        """Let go of the socket, so that it can be closed."""

    @property
    def has_client_hello(self) -> bool:
        """Whether a whole ClientHello has arrived."""

    @property
    def peer(self) -> str | None:
        """The peer's proven fingerprint."""

    @property
    def peer_boot_id(self) -> bytes | None:
        """The id of the peer's start, once it named it."""

@final
class Meter:
    """Totals of any number of sessions, added up natively."""

    def __new__(cls) -> Meter: ...
    def add_session(self, link: SessionLink, /) -> None:
        """Add a session; what it holds now counts only while it is not closed."""

    def merge(self, other: Meter, /) -> None:
        """Add another meter."""

    def snapshot(self) -> dict[str, Any]:
        """Totals by name; `kinds` and `limits` by name again; `heartbeat` and `acknowledgement` in seconds: count, sum,
        p50, p95, p99 and the buckets in use as (from, to, count)."""

@final
class SessionLink:
    """An open session on its carrier. A status has the bits 1 events wait, 2 blocked, 4 finished."""

    def advance(self, now: int, /) -> int:
        """Read, do what is due at `now` (nanoseconds), write; the status."""

    def write(self) -> int:
        """Write what waits; the status."""

    def feed(self, data: bytes, /) -> None:
        """Wire without a socket: bring what arrived; `advance` takes it in.

        Raises:
            ValueError: The wire holds more than 64 KiB then; nothing was taken.
        """

    def feed_end(self) -> None:
        """Wire without a socket: nothing more will arrive."""

    def take_output(self) -> tuple[bytes, int]:
        """Wire without a socket: what is to be written next, empty when that is all, and the status. What was taken is
        written by now. The status says blocked while there is something to take."""

    def take_farewell(self) -> list[bytes]:
        """Wire without a socket, once it is let go of: what was encrypted and is not written, such as CLOSE. Once."""

    def events(self) -> list[tuple[int, int]]:
        """Take the events out: 0 channel opened, 1 readable, 2 send done, 3 wait failed, 4 flush done, 5 peer shut
        down, 6 heartbeat timeout, 7 closed, 8 suspended, 9 resumed, 10 rekeyed, 11 carrier aged, 12 memory freed; each
        with a channel or a ticket, if it is about one."""

    @property
    def deadline(self) -> int | None:
        """When `advance` wants to be called next."""

    def send(self, channel: int, message: bytes, wait: bool, share: bool, ticket: int, /) -> int:
        """Hand a message to a channel; it is written at once, or with `share` soon. The two lowest bits are 0 accepted,
        1 evicted oldest, 2 dropped newest, 3 waiting; above them is the status, with the bit 8 if a burst began.

        Raises:
            CoreError: `channel_closed`, `session_closed`, `message_too_large`, `batch_too_large`, `queue_full`.
        """

    def end_burst(self, sleeps: bool, /) -> int:
        """Write what the single sends of a burst have left to be written together. The burst is over if that was
        nothing or the loop is about to sleep; the status, with the bit 8 if it goes on."""

    def send_many(
        self, channel: int, messages: list[bytes], wait: bool, ticket: int, /
    ) -> tuple[int | list[int], int]:
        """Hand a batch to a channel and write; one outcome for all, or one each."""

    def receive(self, channel: int, most: int, /) -> tuple[list[bytes] | int, int]:
        """Take messages out and grant what that frees, or say why there is none: 0 none yet, 1 the peer ended, 2
        reset by the peer, 3 reset here, 4 closed."""

    def receive_one(self, channel: int, /) -> bytes | tuple[bytes, int] | None:
        """Take one message out and grant what that frees: the message, with the status if it is not 0, or None where
        `receive` has more to say."""

    def open_channel(self, kind: str, name: str, policy: str | None, /) -> tuple[int, int]:
        """Open a channel and write; (its id, status).

        Raises:
            CoreError: `unknown_kind`, `bad_policy`, `too_many_channels`, `session_closed`.
            ValueError: The name.
        """

    def set_policy(self, channel: int, policy: str, /) -> None:
        """Choose the policy of what this side sends on a channel that the peer opened.

        Raises:
            CoreError: `bad_policy`, `session_closed`.
        """

    def channel_info(self, channel: int, /) -> tuple[str, str, int] | None:
        """Kind, name and largest message."""

    def channel_reset(self, channel: int, /) -> tuple[str, bool] | None:
        """Why a channel was reset, and whether by the peer."""

    def release_channel(self, channel: int, /) -> int:
        """End a channel; what was accepted is delivered, nothing more is read. The status."""

    def reset_channel(self, channel: int, /) -> int:
        """End both directions now; the status."""

    def flush(self, channel: int, ticket: int, /) -> tuple[bool, int]:
        """Write, and ask to be told when everything accepted so far is acknowledged; (whether it is, status).

        Raises:
            CoreError: `channel_closed`, `session_closed`.
        """

    def cancel_send(self, channel: int, ticket: int, /) -> bool:
        """Take a waiting batch back; False when it was accepted, or failed, already."""

    def cancel_flush(self, channel: int, ticket: int, /) -> None:
        """Forget a flush."""

    def shutdown(self, now: int, /) -> int:
        """Begin the graceful end; the status."""

    def abort(self, code: str, text: str, /) -> int:
        """End the session now, with one attempt to say so; the status."""

    def carrier_lost(self, now: int, /) -> int:
        """The carrier is gone: the session is suspended, or ends if it cannot be. Returns the status."""

    def attach(self, opening: OpeningLink, now: int, /) -> int:
        """Go on upon a carrier that opened by a resume of this session; returns the status.

        Raises:
            CoreError: `stale_epoch`, or `bad_cursor`, which ended the session. `opening` is of no use afterwards.
        """

    def give_up(self, opening: OpeningLink, /) -> None:
        """Initiator: a carrier that was dialled to resume this session, and is not attached, is given up."""

    def lose(self, loss: str, /) -> int:
        """The session is lost, and `loss` says how; end it if it has not ended. Returns the status."""

    def memory_freed(self) -> int:
        """Let in who waits for memory, and grant what was withheld; the status."""

    def release(self) -> None:
        """Let go of the socket, so that it can be closed."""

    @property
    def state(self) -> str:
        """`open`, `suspended`, `closing` or `closed`."""

    @property
    def closed(self) -> tuple[str, str, str, str | None] | None:
        """Why it is closed: reason, word of the code, reason text."""

    @property
    def suspension(self) -> str | None:
        """Why it has no carrier, while it is suspended."""

    @property
    def progress(self) -> int:
        """How many numbered frames have got through, either way."""

    @property
    def epoch(self) -> int:
        """The number of the current, or the latest, carrier."""

    @property
    def failure(self) -> str | None:
        """The code of the TLS failure that ended the carrier."""

    @property
    def session_id(self) -> bytes:
        """16 bytes."""

    @property
    def initiator(self) -> bool:
        """Whether this side dialled."""

    @property
    def peer(self) -> str:
        """The peer's fingerprint."""

    @property
    def peer_public_key(self) -> bytes:
        """The peer's raw public key, 32 bytes."""

    def binding(self) -> bytes:
        """The TLS exporter value for this session's id (RTT-8), 32 bytes. Secret."""

    def stats(self) -> dict[str, int]:
        """The counters of the session."""

    def channel_stats(self, channel: int, /) -> dict[str, int] | None:
        """The counters of a channel."""

    def take_lost(self) -> list[tuple[int, str, str, int, bool, bytes]]:
        """What was accepted and never acknowledged: channel, name, kind, index, whether unsent, content."""

@final
class SessionTable:
    """Whose sessions an endpoint keeps, how many, and since when they have no carrier."""

    def __new__(cls, *, sessions_per_peer: int, sessions: int, suspended: int) -> SessionTable: ...
    def __len__(self) -> int: ...
    @property
    def suspended(self) -> int:
        """How many sessions have no carrier."""

    def of_earlier_boots(self, peer: bytes, boot_id: bytes, /) -> list[bytes]:
        """The sessions that a later start of the same peer ends (RTT-35)."""

    def check_room(self, peer: bytes, /) -> None:
        """Ask whether a peer may have one session more.

        Raises:
            CoreError: `limit` or `busy`.
        """

    def insert(self, session_id: bytes, peer: bytes, boot_id: bytes, /) -> None:
        """A session was granted, or opened here."""

    def remove(self, session_id: bytes, /) -> None:
        """A session is over, or was never confirmed."""

    def find(self, session_id: bytes, peer: bytes, /) -> str:
        """What a session is to the peer that names it: `own`, `unknown`, or somebody else's, `foreign` (RTT-33)."""

    def suspend(self, session_id: bytes, now: int, /) -> bytes | None:
        """A session lost its carrier; the id of the one to give up for it."""

    def resume(self, session_id: bytes, /) -> None:
        """A session has a carrier again."""

def lane_genesis(journal_id: bytes, lane: str, /) -> bytes:
    """The `prev` of a lane's first record (JRN-3d), 32 bytes."""

def payload_hash(salt: bytes, payload: bytes, /) -> bytes:
    """The salted hash of a payload (JRN-3a), 32 bytes."""

def seal_records(
    lane: str,
    first_seq: int,
    prev: bytes,
    drafts: list[
        tuple[int, tuple[str, int] | None, str | None, Sequence[tuple[str, str]], str, int, bytes, bytes]
    ],
    /,
) -> list[tuple[bytes, bytes, bytes]]:
    """Chain drafts to `prev` as records `first_seq` and on (JRN-3).

    A draft is (at, cause, principal, refs, type, version, payload, salt); a result (header, payload hash, hash).

    Raises:
        ValueError: `prev` has not 32 bytes, or a text holds a lone surrogate.
        OverflowError: A number is out of range.
    """

def seal_group(
    parts: Any, salts: bytes, makers: tuple[Callable[[tuple[Any, ...]], Any], ...], /
) -> tuple[list[Any], list[Any], list[Any], list[int]]:
    """Seal all parts of a commit, in the order of their lanes' names (JRN-3, JRN-20a).

    `parts` is a list of (text of the lane, lane, head, prepared events); a head is (number, hash, time, base, base
    hash), an event (itself, type, version, payload, time, cause, principal, references, work). `makers` are called with
    the fields of a record (lane, number, time, header, payload, salt, payload hash, hash, references, work), of an
    answer (first number, last number, last hash), of a head, and of a move (lane, head before, head after).

    Returns:
        The records, the answer to each part, the move of each lane, and the index of each lane's last part.

    Raises:
        ValueError: Too few salts, 16 bytes for each record, or a hash has not 32 bytes.
        TypeError: Something is not what it should be.
        OverflowError: A number is out of range.
    """

def first_broken_record(
    prev: bytes, records: list[tuple[bytes, bytes | None, bytes | None, bytes, bytes]], /
) -> int | None:
    """The index of the first stored record that does not follow the one before it; None if all do.

    A record is (header, payload, salt, payload hash, hash); payload and salt are None when erased (JRN-3e).
    """

"""What a bundle consists of: its manifest, and one line for each record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from web4 import _core
from web4.foundation.digest import blake3_hex, canonical
from web4.foundation.identity import fingerprint, verify
from web4.journal.lane import Lane
from web4.journal.record import Record, read_record

if TYPE_CHECKING:
    from web4.foundation.identity import Identity

FORMAT: Final = "web4 incident bundle"
MANIFEST: Final = "manifest.json"
RECORDS: Final = "records.ndjson"
BLOBS: Final = "blobs"
LONGEST_MANIFEST: Final = 2**28
"""Bytes of the longest manifest: that of some hundred thousand lanes."""
_PURPOSE: Final = {"protocol": "journal", "version": "1", "purpose": "bundle"}


class Selector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is exported. Of each lane it is one piece without a gap, so that its chain verifies.

    Args:
        lanes: Names of lanes; None for all.
        since: Not before this time, Unix milliseconds, inclusive.
        until: Not after this time, inclusive.
        session: Payloads of records only that refer to this session; those of others are withheld.
        command: Payloads of records only that refer to this command.
    """

    lanes: tuple[str, ...] | None = None
    since: int | None = None
    until: int | None = None
    session: str | None = None
    command: str | None = None

    def gives(self, record: Record) -> bool:
        """Whether the payload of a record is asked for."""
        session = self.session is None or ("session", self.session) in record.refs
        return session and (self.command is None or ("command", self.command) in record.refs)


class Base(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base snapshot that stands for a lane's first records. `state` names a blob of the bundle, if it is there."""

    seq: int
    record_hash: str
    state: str | None
    logic_version: int


class LaneEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The piece of one lane: where it begins and ends, and where the lane ended when it was exported."""

    lane: str
    first_seq: int
    prev: str
    last_seq: int
    last_hash: str
    head_seq: int
    head_hash: str
    base: Base | None


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file beside the manifest. A redacted blob is no longer what its name says."""

    path: str
    blake3: str
    bytes: int
    redacted: bool = False


class RedactionCount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often one rule took something out of one field of one type of event."""

    type: str
    field: str
    rule: str
    count: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the bundle is, over which `digest` is the BLAKE3 without `digest` and `signature`.

    Args:
        node: Fingerprint of the node that exported, with its public key (hex); None when it has no identity, and then
            nobody signed.
        versions: Of the format, of Web4, and of each type of event.
        missing_blobs: Names that payloads have for blobs that were not there.
        exported_at: Unix milliseconds.
    """

    format: Literal["web4 incident bundle"]
    v: Literal[1]
    journal_id: str
    node: str | None
    public_key: str | None
    versions: dict[str, str | int]
    selector: Selector
    exported_at: int
    lanes: tuple[LaneEntry, ...]
    files: tuple[FileEntry, ...]
    redactions: tuple[RedactionCount, ...]
    missing_blobs: tuple[str, ...]
    signed: bool
    digest: str = ""
    signature: str | None = None

    def sealed(self, identity: Identity | None) -> Manifest:
        """With its digest, and the node's signature if there is a node."""
        digest = self.computed_digest()
        signature = None if identity is None else identity.sign(bytes.fromhex(digest), **_PURPOSE).hex()
        return msgspec.structs.replace(self, digest=digest, signature=signature)

    def computed_digest(self) -> str:
        """The BLAKE3 of all it says, the digests of all files among it."""
        return blake3_hex(canonical(msgspec.structs.replace(self, digest="", signature=None)))

    def check_signature(self) -> None:
        """Check that the node it names has signed it; nothing if nobody did.

        Raises:
            SignatureMismatchError: The signature is not good.
            ValueError: It is missing, superfluous, or by another key than the node's.
        """
        if not self.signed:
            if self.signature is not None or self.node is not None:
                raise ValueError("a bundle that nobody signed names no node")
            return
        if self.node is None or self.public_key is None or self.signature is None:
            raise ValueError("the signature is missing")
        key = bytes.fromhex(self.public_key)
        if fingerprint(key) != self.node:
            raise ValueError("the key is not the node's")
        verify(key, bytes.fromhex(self.digest), bytes.fromhex(self.signature), **_PURPOSE)


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One record in `records.ndjson`. Of a redacted payload the salt is not given: it would let one guess it."""

    lane: str
    seq: int
    header: msgspec.Raw
    payload: msgspec.Raw
    salt: str | None
    payload_hash: str
    hash: str
    commit: int
    redacted: bool
    erased: bool

    @property
    def bare(self) -> bool:
        """Whether there is no payload: erased, or withheld."""
        return bytes(self.payload) == b"null"

    def encode(self) -> bytes:
        """The line, canonical, with its line feed."""
        return canonical(self) + b"\n"

    def record(self, position: int) -> Record:
        """The record, without payload and salt where they are not those of the journal.

        Raises:
            CorruptJournalError: The header is damaged.
            ValueError: Something is no hex, or the lane has no such name.
        """
        whole = not self.redacted and not self.bare and self.salt is not None
        return read_record(
            Lane.parse(self.lane),
            self.seq,
            header=_core.canonicalize(bytes(self.header)),
            payload=_core.canonicalize(bytes(self.payload)) if whole else None,
            salt=bytes.fromhex(self.salt) if whole and self.salt is not None else None,
            payload_hash=bytes.fromhex(self.payload_hash),
            hash=bytes.fromhex(self.hash),
            commit=self.commit,
            position=position,
        )


LINES: Final = msgspec.json.Decoder(Line)
MANIFESTS: Final = msgspec.json.Decoder(Manifest)


def raw(data: bytes | None) -> msgspec.Raw:
    """Canonical bytes as a member of a line."""
    return msgspec.Raw(b"null" if data is None else data)

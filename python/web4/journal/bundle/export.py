"""Writing an incident bundle: whole, or not at all (JRN-21)."""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from weakref import WeakKeyDictionary

import trio

from web4.foundation.clock import SystemClock
from web4.foundation.digest import canonical
from web4.journal.bundle.files import create, digest_of, sync, sync_directory, write
from web4.journal.bundle.manifest import (
    BLOBS,
    FORMAT,
    LONGEST_MANIFEST,
    MANIFEST,
    RECORDS,
    Base,
    FileEntry,
    LaneEntry,
    Line,
    Manifest,
    RedactionCount,
    Selector,
    raw,
)
from web4.journal.chain import check_run, genesis
from web4.journal.errors import ExportError
from web4.journal.journal import Journal
from web4.journal.lane import Lane
from web4.journal.redaction import Redactor
from web4.journal.references import blob_names
from web4.journal.seeking import last_before

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.foundation.clock import Clock
    from web4.foundation.identity import Identity
    from web4.journal.backends.backend import Backend
    from web4.journal.event_types import EventRegistry
    from web4.journal.record import Head, Record

_PAGE: Final = 200
_OPEN: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def exports_open(backend: Backend) -> bool:
    """Whether a bundle of this store is being written by this process: blobs must not go meanwhile (JRN-8c)."""
    return _OPEN.get(backend, 0) > 0


async def export_bundle(
    source: Journal | Backend,
    selector: Selector,
    target: Path | str,
    *,
    registry: EventRegistry | None = None,
    redactor: Redactor | None = None,
    identity: Identity | None = None,
    clock: Clock | None = None,
) -> Manifest:
    """Write the directory `target` with `manifest.json`, `records.ndjson` and `blobs/`; what the manifest says.

    Records pass class rules, hooks and the search for secrets; what was changed or withheld is marked `redacted` and
    keeps its hash, so that the chain verifies. It is exported what the lanes held at the beginning; writing goes on.

    Args:
        source: A journal, or an open store.
        selector: Which records.
        target: A directory that does not exist yet, in one that does.
        registry: The types of the events; a journal's own if left out. Payloads of types that it does not know are
            withheld.
        redactor: What is not handed out; a journal's own if left out.
        identity: Signs the manifest; a journal's own if left out. Without one the bundle says that nobody signed it.
        clock: Time of the export; a journal's own if left out.

    Raises:
        ExportError: `target_exists`, `unwritable`, `moved`.
        RedactionError, ProhibitedDataError: A hook failed, or a header holds a secret.
        CorruptJournalError: A record is not what was written: a damaged lane is evidence as it is.

    Cancellation: may be cancelled; whatever it ends with, nothing is left of a bundle that is not whole.
    """
    backend = source
    if isinstance(source, Journal):
        backend, registry = source.backend, registry or source.registry
        redactor, identity = redactor or source.redactor, identity or source.identity
        clock = clock or source.clock
    assert not isinstance(backend, Journal)
    target = Path(target)
    if await trio.to_thread.run_sync(os.path.lexists, target):
        raise ExportError(f"{target} is there already and is left alone", code="target_exists")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
    export = _Export(
        backend,
        selector,
        draft,
        registry=registry,
        redactor=redactor or Redactor(backend.hash_key),
        identity=identity,
        clock=clock or SystemClock(),
    )
    try:
        with _held_open(backend):
            manifest = await export.run()
            await trio.to_thread.run_sync(_publish, draft, target)
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error.strerror}", code="unwritable") from None
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(lambda: shutil.rmtree(draft, ignore_errors=True))
    return manifest


@contextmanager
def _held_open(backend: Backend) -> Iterator[None]:
    _OPEN[backend] = _OPEN.get(backend, 0) + 1
    try:
        yield
    finally:
        _OPEN[backend] -= 1


class _Export:
    """One bundle on its way."""

    def __init__(
        self,
        backend: Backend,
        selector: Selector,
        draft: Path,
        *,
        registry: EventRegistry | None,
        redactor: Redactor,
        identity: Identity | None,
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._selector = selector
        self._draft = draft
        self._registry = registry
        self._redactor = redactor
        self._identity = identity
        self._clock = clock
        self._files: list[FileEntry] = []
        self._written: set[str] = set()
        self._redactions: Counter[tuple[str, str, str]] = Counter()
        self._types: dict[str, int] = {}
        self._blobs: set[str] = set()
        self._missing: list[str] = []

    async def run(self) -> Manifest:
        heads = await self._heads()
        await trio.to_thread.run_sync(self._make)
        lanes = []
        with create(self._draft / RECORDS) as file:
            for lane, head in heads:
                entry = await self._export_lane(file, lane, head)
                if entry is not None:
                    lanes.append(entry)
            await trio.to_thread.run_sync(sync, file)
        await self._note_file(RECORDS)
        for name in sorted(self._blobs):
            await self._export_blob(name)
        manifest = self._manifest(lanes).sealed(self._identity)
        data = _manifest_bytes(manifest)
        if len(data) > LONGEST_MANIFEST:
            raise ExportError("its manifest would be too long: choose fewer lanes", code="unwritable")
        await trio.to_thread.run_sync(write, self._draft / MANIFEST, data)
        return manifest

    def _make(self) -> None:
        self._draft.mkdir(mode=0o700)
        (self._draft / BLOBS).mkdir(mode=0o700)

    async def _heads(self) -> list[tuple[Lane, Head]]:
        """Where the lanes end now: the view that is exported."""
        if self._selector.lanes is not None:
            names = sorted({Lane.parse(name) for name in self._selector.lanes})
            return [(lane, await self._backend.head(lane)) for lane in names]
        found: list[tuple[Lane, Head]] = []
        after: Lane | None = None
        while page := await self._backend.heads(after=after, limit=_PAGE):
            found += page
            after = page[-1][0]
        return found

    # --- records ----------------------------------------------------------------------------------------

    async def _export_lane(self, file: BinaryIO, lane: Lane, head: Head) -> LaneEntry | None:
        selector, backend = self._selector, self._backend
        first, last = head.base_seq, head.seq
        if selector.since is not None:
            first = await last_before(backend, lane, first, last, selector.since)
        if selector.until is not None:
            last = await last_before(backend, lane, first, last, selector.until + 1)
        if first == last and (selector.since, selector.until) != (None, None):
            return None
        prev = await self._prev(lane, head, first)
        begin, after, digest = prev, first, prev
        while after < last:
            records = await backend.read(lane, after=after, limit=min(_PAGE, last - after))
            if not records or records[0].seq != after + 1:
                raise ExportError(f"{lane} was compacted meanwhile; export again", code="moved")
            digest = check_run(lane, digest, after, records)
            after = records[-1].seq
            lines = b"".join(self._line(record) for record in records)
            await trio.to_thread.run_sync(file.write, lines)
        return LaneEntry(
            lane=str(lane),
            first_seq=first + 1,
            prev=begin.hex(),
            last_seq=last,
            last_hash=digest.hex(),
            head_seq=head.seq,
            head_hash=head.hash.hex(),
            base=await self._base(lane, head) if first == head.base_seq else None,
        )

    async def _prev(self, lane: Lane, head: Head, first: int) -> bytes:
        """The hash of the record before the first."""
        if first == head.base_seq:
            return head.base_hash if first else genesis(self._backend.journal_id, lane)
        records = await self._backend.read(lane, after=first - 1, limit=1)
        if not records or records[0].seq != first:
            raise ExportError(f"{lane} was compacted meanwhile; export again", code="moved")
        return records[0].hash

    def _line(self, record: Record) -> bytes:
        one = None if self._registry is None else self._registry.named(record.type)
        payload, redactions = self._redactor.export(record, one)
        if payload is not None and not self._selector.gives(record):
            payload, redactions = None, ()
            self._redactions[record.type, "payload", "selector"] += 1
        for redaction in redactions:
            self._redactions[record.type, redaction.field, redaction.rule] += 1
        self._types[record.type] = max(record.v, self._types.get(record.type, 0))
        self._blobs |= blob_names(payload)
        redacted = payload != record.payload
        return Line(
            lane=str(record.lane),
            seq=record.seq,
            header=raw(record.header),
            payload=raw(payload),
            salt=None if redacted or record.salt is None else record.salt.hex(),
            payload_hash=record.payload_hash.hex(),
            hash=record.hash.hex(),
            commit=record.commit,
            redacted=redacted,
            erased=record.erased,
        ).encode()

    async def _base(self, lane: Lane, head: Head) -> Base | None:
        """The base's state goes along as a blob, so that the lane can be replayed; not if hooks cannot see to it."""
        if not head.base_seq:
            return None
        for one in await self._backend.snapshots(lane):
            if one.seq == head.base_seq:
                break
        else:
            raise ExportError(f"{lane} was compacted meanwhile; export again", code="moved")
        state: str | None = f"b3:{one.state_hash.hex()}"
        narrowed = (self._selector.session, self._selector.command) != (None, None)
        unknown = self._registry is None  # then nobody knows the classes of what went into the state either
        if self._redactor.exports_by_hook or narrowed or unknown or self._redactor.found(one.state):
            self._redactions["base snapshot", "state", "withheld"] += 1
            state = None
        else:
            await self._write_blob(str(state), one.state, redacted=False)
            self._blobs |= blob_names(one.state)
        return Base(
            seq=one.seq, record_hash=one.record_hash.hex(), state=state, logic_version=one.logic_version
        )

    # --- files ------------------------------------------------------------------------------------------

    async def _export_blob(self, name: str) -> None:
        data = await self._backend.blob(name)
        if data is None:
            self._missing.append(name)
            return
        scrubbed = await trio.to_thread.run_sync(self._redactor.scrub_bytes, data)
        if scrubbed is not data:
            self._redactions["blob", name, "secret"] += 1
        await self._write_blob(name, scrubbed, redacted=scrubbed is not data)

    async def _write_blob(self, name: str, data: bytes, *, redacted: bool) -> None:
        path = f"{BLOBS}/{name.removeprefix('b3:')}"
        if path in self._written:
            return
        self._written.add(path)
        await trio.to_thread.run_sync(write, self._draft / path, data)
        await self._note_file(path, redacted=redacted)

    async def _note_file(self, path: str, *, redacted: bool = False) -> None:
        digest, size = await trio.to_thread.run_sync(digest_of, self._draft / path)
        self._files.append(FileEntry(path=path, blake3=digest, bytes=size, redacted=redacted))

    def _manifest(self, lanes: list[LaneEntry]) -> Manifest:
        identity = self._identity
        return Manifest(
            format=FORMAT,
            v=1,
            journal_id=self._backend.journal_id.hex(),
            node=None if identity is None else identity.fingerprint,
            public_key=None if identity is None else identity.public_key.hex(),
            versions={"web4": metadata.version("web4"), **dict(sorted(self._types.items()))},
            selector=self._selector,
            exported_at=self._clock.wall_ms(),
            lanes=tuple(lanes),
            files=tuple(sorted(self._files, key=lambda file: file.path)),
            redactions=tuple(
                RedactionCount(type=type_, field=field, rule=rule, count=count)
                for (type_, field, rule), count in sorted(self._redactions.items())
            ),
            missing_blobs=tuple(self._missing),
            signed=identity is not None,
        )


def _manifest_bytes(manifest: Manifest) -> bytes:
    return canonical(manifest) + b"\n"


def _publish(draft: Path, target: Path) -> None:
    """Give a whole bundle its name. A rename over an empty directory would succeed: it is looked at first."""
    for directory in (draft / BLOBS, draft):
        sync_directory(directory)
    if os.path.lexists(target):
        raise ExportError(f"{target} is there already and is left alone", code="target_exists")
    draft.rename(target)
    sync_directory(target.parent)

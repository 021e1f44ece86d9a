"""Verifying a bundle with nothing but the bundle (JRN-21c)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from web4.foundation.digest import canonical
from web4.foundation.errors import SignatureMismatchError, Web4Error
from web4.journal.bundle.files import digest_of, open_plain
from web4.journal.bundle.manifest import (
    BLOBS,
    LINES,
    LONGEST_MANIFEST,
    MANIFEST,
    MANIFESTS,
    RECORDS,
    Line,
    Manifest,
)
from web4.journal.chain import check_run, genesis
from web4.journal.errors import CorruptJournalError
from web4.journal.findings import MOST
from web4.journal.lane import Lane
from web4.journal.references import BLOB_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.journal.bundle.manifest import LaneEntry
    from web4.journal.record import Record

LONGEST: Final = 2**22
"""Bytes of the longest line: what is longer was not exported."""


class BundleReport(msgspec.Struct, kw_only=True):
    """What verification of a bundle saw.

    Args:
        journal_id: In hex; None if the manifest cannot be read.
        signed_by: Fingerprint of the node whose signature is good; None if nobody signed it. Whether that is the right
            node, the reader has to know.
        redacted: Records whose payload was changed or withheld.
        findings: (where, what) of all that is wrong, up to 1 000; `found` is their number.
    """

    journal_id: str | None = None
    signed_by: str | None = None
    lanes: int = 0
    records: int = 0
    redacted: int = 0
    blobs: int = 0
    findings: list[tuple[str, str]] = msgspec.field(default_factory=list)
    found: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.found

    def add(self, where: str, what: str) -> None:
        """Note a finding."""
        self.found += 1
        if len(self.findings) < MOST:
            self.findings.append((where, what))

    def raise_if_damaged(self) -> None:
        """Raise the first finding.

        Raises:
            CorruptJournalError: `bundle`.
        """
        if self.found:
            where, what = self.findings[0]
            raise CorruptJournalError(f"{where}: {what} ({self.found} findings)", code="bundle")


def verify_bundle(path: Path | str) -> BundleReport:
    """Check manifest, signature, files, lines and chains of the bundle at `path`. It blocks: give it a thread.

    Raises:
        OSError: It cannot be read at all.
    """
    path = Path(path)
    report = BundleReport()
    manifest = read_manifest(path, report)
    if manifest is not None:
        report.journal_id = manifest.journal_id
        files = _files(path)
        _check_files(path, manifest, files, report)
        _check_records(path, manifest, files, report)
    return report


def read_manifest(path: Path, report: BundleReport) -> Manifest | None:
    """The manifest, if it is one; what is wrong with it goes into the report."""
    try:
        with open_plain(path / MANIFEST) as file:
            data = file.read(LONGEST_MANIFEST + 1)
        if len(data) > LONGEST_MANIFEST:
            raise ValueError("it is longer than any that is exported")
        manifest = MANIFESTS.decode(data)
        if canonical(manifest) + b"\n" != data:
            raise ValueError("it is not written as a manifest is")
        if manifest.digest != manifest.computed_digest():
            raise ValueError("it does not say what its digest covers")
        manifest.check_signature()
        if len(bytes.fromhex(manifest.journal_id)) != 16:
            raise ValueError("its journal's id is none")
        for entry in manifest.lanes:
            _check_entry(entry)
        if len({entry.lane for entry in manifest.lanes}) != len(manifest.lanes):
            raise ValueError("it names a lane twice")
    except SignatureMismatchError:
        report.add(MANIFEST, "its signature is not good")
        return None
    except (msgspec.MsgspecError, RecursionError):
        report.add(MANIFEST, "it is no manifest")
        return None
    except Web4Error:
        report.add(MANIFEST, "it names a lane that is none")
        return None
    except ValueError as error:
        report.add(MANIFEST, str(error))
        return None
    report.signed_by = manifest.node
    return manifest


def _check_entry(entry: LaneEntry) -> None:
    """Whether what the manifest says of a lane can be so at all.

    Raises:
        InvalidEventError: It is no lane.
        ValueError: A hash is none, or numbers contradict each other.
    """
    Lane.parse(entry.lane)
    bytes.fromhex(entry.prev + entry.last_hash + entry.head_hash)
    if not 0 < entry.first_seq <= entry.last_seq + 1 <= entry.head_seq + 1:
        raise ValueError(f"its numbers of {entry.lane} cannot be so")
    base = entry.base
    if base is not None:
        bytes.fromhex(base.record_hash)
        if base.seq < 1:
            raise ValueError(f"its numbers of {entry.lane} cannot be so")
        if base.state is not None and not BLOB_NAME.fullmatch(base.state.encode()):
            raise ValueError(f"the state of {entry.lane} is no blob")


def _check_files(path: Path, manifest: Manifest, files: set[str], report: BundleReport) -> None:
    """Every file is there as it was written, and there is no other."""
    listed = {entry.path: entry for entry in manifest.files}
    if len(listed) != len(manifest.files) or RECORDS not in listed:
        report.add(MANIFEST, "it does not list its files once each")
    for name in sorted(files - {MANIFEST} - set(listed)):
        report.add(name, "the manifest does not list it")
    for name, entry in sorted(listed.items()):
        if name not in files:
            report.add(name, "it is not there")
        elif digest_of(path / name) != (entry.blake3, entry.bytes):
            report.add(name, "it is not the file that was written")
        elif name != RECORDS:
            report.blobs += 1
            if not entry.redacted and name != f"{BLOBS}/{entry.blake3}":
                report.add(name, "it is not the blob that its name says")
    for lane in manifest.lanes:
        if lane.base is not None and lane.base.state is not None:
            state = listed.get(f"{BLOBS}/{lane.base.state.removeprefix('b3:')}")
            if state is None or state.redacted:
                report.add(lane.lane, "the state of its base is not there")


def _files(path: Path) -> set[str]:
    """The names of all that is in a bundle, directories aside; what is no plain file is called so."""
    found = set()
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            one = Path(directory, name)
            mode = one.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            called = str(one.relative_to(path)).encode(errors="backslashreplace").decode()
            found.add(called if stat.S_ISREG(mode) else f"{called} (no plain file)")
    return found


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, Line]]:
    """The lines of a bundle's records from a place in the file on, counted from 1.

    Raises:
        CorruptJournalError: `bundle`: one is not as it was written.
    """
    with open_plain(path / RECORDS) as file:
        file.seek(offset)
        number = 0
        while data := file.readline(LONGEST):
            number += 1
            try:
                line = LINES.decode(data)
                sound = line.encode() == data
            except (msgspec.MsgspecError, ValueError, RecursionError):
                sound = False
            if not sound:
                raise CorruptJournalError(f"{RECORDS} line {number} is not as it was written", code="bundle")
            yield number, line


def _check_records(path: Path, manifest: Manifest, files: set[str], report: BundleReport) -> None:
    entries = {entry.lane: entry for entry in manifest.lanes}
    ends: dict[str, tuple[int, bytes]] = {}
    for entry in manifest.lanes:
        ends[entry.lane] = (entry.first_seq - 1, bytes.fromhex(entry.prev))
        _check_beginning(manifest, entry, report)
    if RECORDS not in files:
        return
    try:
        for number, line in read_lines(path):
            report.records += 1
            report.redacted += line.redacted
            if line.lane not in entries:
                report.add(f"{RECORDS} line {number}", "the manifest does not name its lane")
                continue
            ends[line.lane] = _check_line(line, number, ends[line.lane], report)
    except (Web4Error, ValueError, RecursionError) as error:
        report.add(RECORDS, str(error))
        return
    for entry in manifest.lanes:
        report.lanes += 1
        if ends[entry.lane] != (entry.last_seq, bytes.fromhex(entry.last_hash)):
            report.add(
                entry.lane, f"it does not end with the record {entry.last_seq} that the manifest names"
            )


def _check_beginning(manifest: Manifest, entry: LaneEntry, report: BundleReport) -> None:
    if (
        entry.first_seq == 1
        and entry.prev != genesis(bytes.fromhex(manifest.journal_id), Lane.parse(entry.lane)).hex()
    ):
        report.add(entry.lane, "it does not begin with its genesis")
    base = entry.base
    if base is not None and (base.seq, base.record_hash) != (entry.first_seq - 1, entry.prev):
        report.add(entry.lane, "its base is not where its records begin")
    if entry.last_seq == entry.head_seq and entry.last_hash != entry.head_hash:
        report.add(entry.lane, "its last record is not the head's")


def _check_line(line: Line, number: int, end: tuple[int, bytes], report: BundleReport) -> tuple[int, bytes]:
    after, prev = end
    record: Record = line.record(number)
    if (line.salt is not None) != (not line.bare and not line.redacted):
        report.add(f"{line.lane} {line.seq}", "payload and salt do not belong together")
    try:
        check_run(record.lane, prev, after, [record])
    except CorruptJournalError:
        report.add(f"{line.lane} {line.seq}", "not what was written, or not in its place")
    return line.seq, record.hash

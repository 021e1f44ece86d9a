"""Verifying a bundle with nothing but the bundle (JRN-21c)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from web4.foundation.digest import canonical
from web4.foundation.errors import SignatureMismatchError, Web4Error
from web4.journal.bundle.export import digest_of
from web4.journal.bundle.manifest import BLOBS, LINES, MANIFEST, MANIFESTS, RECORDS, Line, Manifest
from web4.journal.chain import check_run, genesis
from web4.journal.errors import CorruptJournalError
from web4.journal.findings import MOST
from web4.journal.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.journal.bundle.manifest import LaneEntry
    from web4.journal.record import Record

LONGEST: Final = 2**22
"""Bytes of the longest line, and of a manifest for each lane and file: what is longer was not exported."""


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
        _check_files(path, manifest, report)
        _check_records(path, manifest, report)
    return report


def read_manifest(path: Path, report: BundleReport) -> Manifest | None:
    """The manifest, if it is one; what is wrong with it goes into the report."""
    data = (path / MANIFEST).read_bytes()
    try:
        manifest = MANIFESTS.decode(data)
        if canonical(manifest) + b"\n" != data:
            raise ValueError("it is not written as a manifest is")
        if manifest.digest != manifest.computed_digest():
            raise ValueError("it does not say what its digest covers")
        manifest.check_signature()
        for entry in manifest.lanes:
            Lane.parse(entry.lane)
            bytes.fromhex(manifest.journal_id + entry.prev + entry.last_hash)
    except SignatureMismatchError:
        report.add(MANIFEST, "its signature is not good")
        return None
    except msgspec.MsgspecError:
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


def _check_files(path: Path, manifest: Manifest, report: BundleReport) -> None:
    """Every file is there as it was written, and there is no other."""
    listed = {entry.path: entry for entry in manifest.files}
    if len(listed) != len(manifest.files) or RECORDS not in listed:
        report.add(MANIFEST, "it does not list its files once each")
    for name in sorted(_files(path) - {MANIFEST} - set(listed)):
        report.add(name, "the manifest does not list it")
    for name, entry in sorted(listed.items()):
        file = path / name
        if name not in _files(path):
            report.add(name, "it is not there")
            continue
        if digest_of(file) != (entry.blake3, entry.bytes):
            report.add(name, "it is not the file that was written")
        elif name != RECORDS:
            report.blobs += 1
            if not entry.redacted and name != f"{BLOBS}/{entry.blake3}":
                report.add(name, "it is not the blob that its name says")


def _files(path: Path) -> set[str]:
    """The names of all that is in a bundle, directories aside; anything that is no plain file counts by its name."""
    found = set()
    for directory, names, files in os.walk(path):
        inside = Path(directory)
        found |= {str((inside / name).relative_to(path)) for name in files}
        found |= {str((inside / name).relative_to(path)) for name in names if (inside / name).is_symlink()}
    return {name for name in found if not (path / name).is_symlink()} | {
        f"{name} (a link)" for name in found if (path / name).is_symlink()
    }


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, Line]]:
    """The lines of a bundle's records from a place in the file on, counted from 1.

    Raises:
        CorruptJournalError: `bundle`: one is not as it was written.
    """
    with (path / RECORDS).open("rb") as file:
        file.seek(offset)
        number = 0
        while data := file.readline(LONGEST):
            number += 1
            try:
                line = LINES.decode(data)
                sound = line.encode() == data
            except (msgspec.MsgspecError, ValueError):
                sound = False
            if not sound:
                raise CorruptJournalError(f"{RECORDS} line {number} is not as it was written", code="bundle")
            yield number, line


def _check_records(path: Path, manifest: Manifest, report: BundleReport) -> None:
    entries = {entry.lane: entry for entry in manifest.lanes}
    ends: dict[str, tuple[int, bytes]] = {}
    for entry in manifest.lanes:
        ends[entry.lane] = (entry.first_seq - 1, bytes.fromhex(entry.prev))
        _check_beginning(manifest, entry, report)
    if RECORDS not in _files(path):
        return
    try:
        for number, line in read_lines(path):
            report.records += 1
            report.redacted += line.redacted
            if line.lane not in entries:
                report.add(f"{RECORDS} line {number}", "the manifest does not name its lane")
                continue
            ends[line.lane] = _check_line(line, number, ends[line.lane], report)
    except (Web4Error, ValueError) as error:
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

"""What verification reports: findings, each with its place (JRN-23a)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from web4.journal.errors import CorruptJournalError

if TYPE_CHECKING:
    from web4.journal.lane import Lane

Kind = Literal[
    "chain", "head", "base", "order", "anchor", "snapshot", "blob", "schema", "open_work", "missing_blob"
]
"""What a finding is about. `chain`: a record is not what was written, or not in its place. `head`: a lane does not end
as its head says. `base`: a compacted lane's base snapshot is missing or does not hold. `order`: times or commits
decrease. `anchor`: a lane is not what the node signed, or the signature is not good. `schema`: an event cannot be read.
`open_work`: the table of unfinished work is not what the records say. `missing_blob`: a payload has the name of a blob
that is not there; whether the text was meant so cannot be known, so that this alone is no damage."""

MOST: Final = 1_000
"""Findings that a report holds; their number stays exact."""


class Finding(NamedTuple):
    """One thing that is not as it should be. `lane` and `seq` say where, as far as it has a place."""

    kind: Kind
    lane: Lane | None
    seq: int | None
    detail: str

    def __str__(self) -> str:
        place = " ".join(str(part) for part in (self.lane, self.seq) if part is not None)
        return f"{self.kind}{' at ' if place else ''}{place}: {self.detail}"


class VerifyReport(msgspec.Struct, kw_only=True):
    """All that verification saw. Never a bare boolean: what was looked at is part of the answer.

    Args:
        journal_id: In hex.
        lanes: Lanes looked at.
        records: Records looked at; `erased` of them had no payload any more.
        anchors: Anchors whose signatures were checked; `signers` are the fingerprints that signed them.
        findings: Where something is wrong, up to 1 000; `found` is their number.
        notices: What may be wrong and cannot be known, up to 1 000; `noticed` is their number.
    """

    journal_id: str
    lanes: int = 0
    records: int = 0
    erased: int = 0
    snapshots: int = 0
    blobs: int = 0
    anchors: int = 0
    signers: list[str] = msgspec.field(default_factory=list)
    findings: list[Finding] = msgspec.field(default_factory=list)
    found: int = 0
    notices: list[Finding] = msgspec.field(default_factory=list)
    noticed: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.found

    def add(self, kind: Kind, lane: Lane | None, seq: int | None, detail: str) -> None:
        """Note a finding."""
        finding = Finding(kind, lane, seq, detail)
        if kind == "missing_blob":
            self.noticed += 1
            if len(self.notices) < MOST:
                self.notices.append(finding)
            return
        self.found += 1
        if len(self.findings) < MOST:
            self.findings.append(finding)

    def raise_if_damaged(self) -> None:
        """Raise the first finding.

        Raises:
            CorruptJournalError: There is one; with its lane and number.
        """
        if self.found:
            first = self.findings[0]
            code = {"schema": "undecodable", "blob": "blob", "snapshot": "snapshot", "base": "snapshot"}
            raise CorruptJournalError(
                f"{first} ({self.found} findings)",
                code=code.get(first.kind, "chain_broken"),
                lane=first.lane,
                seq=first.seq,
            )

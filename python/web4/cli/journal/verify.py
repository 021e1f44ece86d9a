"""`web4 journal verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import trio
from cyclopts import Parameter

from web4.cli import exits
from web4.cli.journal.known import kinds_of, known_kinds, known_types
from web4.cli.journal.target import journal_or_bundle, parse_lane, require_lane
from web4.cli.options import COMMON, Common, Directory, Lanes
from web4.cli.output import Output
from web4.cli.progress import progress
from web4.cli.running import Answer, perform
from web4.cli.text import facts, paint, visible
from web4.journal import verify as verification
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.bundle import BundleReport, verify_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.backends.sqlite import SqliteBackend
    from web4.journal.findings import Finding, VerifyReport
    from web4.journal.lane import LaneKind


def verify(
    directory: Directory = None,
    /,
    *,
    lane: Lanes = (),
    node: Annotated[
        str | None,
        Parameter(help="Fingerprint of the node that must have signed the anchors, or the bundle."),
    ] = None,
    common: Common = COMMON,
) -> int:
    """Check that a journal, or an incident bundle, is what was written.

    Of a journal: chains, heads, anchors, snapshots, blobs, schemas, unfinished work. Works beside a running node. Of a
    bundle: manifest, signature, files and chains, with nothing but the bundle.

    Exit code 0: clean. 1: findings. 2: could not look.

    ```
    web4 journal verify ./node
    web4 journal verify ./incident --node 3f1c… --json
    ```
    """

    async def body(output: Output) -> Answer:
        where, bundle = journal_or_bundle(directory, common)
        if bundle:
            return await _verify_bundle(where, node)
        async with open_sqlite(where, read_only=True) as backend:
            return await verify_store(backend, output, lanes=lane, node=node)

    return perform(common, body, could_not=exits.USAGE)


async def verify_store(
    backend: "SqliteBackend", output: Output, *, lanes: "Sequence[str]" = (), node: str | None = None
) -> Answer:
    """Check an open store.

    Raises:
        JournalError: It cannot be looked at.
    """
    chosen = [parse_lane(name) for name in lanes]
    for one in chosen:
        await require_lane(backend, one)
    kinds, known = await kinds_of(backend), await known_kinds(backend)
    total = int((await backend.stats())["records"])
    with progress(output, "records", None if chosen else total) as step:
        report = await verification.verify(
            backend,
            known_types(kinds),
            lanes=chosen or None,
            kinds=known,
            fingerprint=node,
            progress=lambda report: step(report.records),
        )
    unchecked = sorted(set(kinds) - set(known))
    return Answer(_data(report, unchecked), _lines(report, unchecked), _exit(clean=report.clean))


def _exit(*, clean: bool) -> int:
    return exits.DONE if clean else exits.NO


def _data(report: "VerifyReport", unchecked: "Sequence[LaneKind]") -> dict[str, Any]:
    return {
        "clean": report.clean,
        "journal_id": report.journal_id,
        "lanes": report.lanes,
        "records": report.records,
        "erased": report.erased,
        "snapshots": report.snapshots,
        "blobs": report.blobs,
        "anchors": report.anchors,
        "signers": report.signers,
        "found": report.found,
        "findings": [_finding(one) for one in report.findings],
        "noticed": report.noticed,
        "notices": [_finding(one) for one in report.notices],
        "schemas_unknown": list(unchecked),
    }


def _finding(one: "Finding") -> dict[str, Any]:
    return {
        "kind": one.kind,
        "lane": None if one.lane is None else str(one.lane),
        "seq": one.seq,
        "detail": one.detail,
    }


def _lines(report: "VerifyReport", unchecked: "Sequence[LaneKind]") -> list[str]:
    lines = facts(
        [
            ("id", report.journal_id),
            ("lanes", report.lanes),
            ("records", f"{report.records}, {report.erased} of them erased"),
            ("snapshots", report.snapshots),
            ("blobs", report.blobs),
            ("anchors", f"{report.anchors}, signed by {', '.join(report.signers) or 'nobody'}"),
        ]
    )
    if unchecked:
        lines.append(
            f"events and unfinished work of {', '.join(unchecked)} lanes are not known here: not checked"
        )
    lines += [visible(f"notice: {one}") for one in report.notices]
    return lines + _verdict([str(one) for one in report.findings], report.found)


def _verdict(findings: "Sequence[str]", found: int) -> list[str]:
    lines = [paint("finding", "red") + visible(f": {one}") for one in findings]
    if found > len(findings):
        lines.append(f"and {found - len(findings)} more")
    return [*lines, paint("clean", "green") if not found else paint(f"{found} findings", "red")]


async def _verify_bundle(path: Path, node: str | None) -> Answer:
    report: BundleReport = await trio.to_thread.run_sync(verify_bundle, path, abandon_on_cancel=True)
    if node is not None and report.signed_by != node:
        report.add("manifest.json", "another node signed it" if report.signed_by else "nobody signed it")
    data = {
        "clean": report.clean,
        "journal_id": report.journal_id,
        "signed_by": report.signed_by,
        "lanes": report.lanes,
        "records": report.records,
        "redacted": report.redacted,
        "blobs": report.blobs,
        "found": report.found,
        "findings": [{"where": where, "detail": detail} for where, detail in report.findings],
    }
    lines = facts(
        [
            ("bundle of", report.journal_id or "unknown"),
            ("signed by", report.signed_by or "nobody"),
            ("lanes", report.lanes),
            ("records", f"{report.records}, {report.redacted} of them redacted"),
            ("blobs", report.blobs),
        ]
    )
    lines += _verdict([f"{where}: {detail}" for where, detail in report.findings], report.found)
    return Answer(data, lines, _exit(clean=report.clean))

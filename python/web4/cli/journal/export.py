"""`web4 journal export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from web4.cli.journal import moments
from web4.cli.journal.counted import counted
from web4.cli.journal.known import kinds_of, known_types
from web4.cli.journal.target import journal_directory, parse_lane, require_lane
from web4.cli.options import COMMON, Common, Key, Lanes
from web4.cli.output import Output
from web4.cli.progress import progress
from web4.cli.running import Answer, perform
from web4.cli.text import facts, size, visible
from web4.foundation.identity import load_identity
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.bundle import Selector, export_bundle

if TYPE_CHECKING:
    from web4.journal.bundle import Manifest

First = Annotated[
    Path,
    Parameter(
        name="DIR", help="The journal's directory, or a node's data directory. Left out, the one of `--data`."
    ),
]
Second = Annotated[Path | None, Parameter(name="OUT", help="What is made. Must not be there yet.")]


def export(
    directory: First,
    out: Second = None,
    /,
    *,
    lane: Lanes = (),
    since: Annotated[str | None, Parameter(help=f"Not before this time: {moments.HELP}")] = None,
    until: Annotated[str | None, Parameter(help="Not after this time.")] = None,
    session: Annotated[str | None, Parameter(help="Payloads only of what refers to this session.")] = None,
    command: Annotated[str | None, Parameter(help="Payloads only of what refers to this command.")] = None,
    key: Key = None,
    common: Common = COMMON,
) -> int:
    """Write an incident bundle: records, blobs and a manifest that prove themselves anywhere.

    Payloads pass the redaction of exports; those of types that this installation does not know are withheld. What is
    withheld keeps its hash, so the chains verify. Works beside a running node. `web4 journal verify OUT` checks it.

    ```
    web4 journal export ./node ./incident --since 2h
    web4 journal export ./node ./incident --lane peer:3f1c… --key ./node/identity.pem
    ```
    """

    async def body(output: Output) -> Answer:
        where, target = (directory, out) if out is not None else (None, directory)
        selector = Selector(
            lanes=tuple(str(parse_lane(name)) for name in lane) or None,
            since=moments.parse_moment(since, "--since"),
            until=moments.parse_moment(until, "--until"),
            session=session,
            command=command,
        )
        place = journal_directory(where, common)
        identity = None if key is None else load_identity(key)
        async with open_sqlite(place, read_only=True) as backend:
            for name in selector.lanes or ():
                await require_lane(backend, parse_lane(name))
            registry = known_types(await kinds_of(backend))
            total = None if selector.lanes or since or until else int((await backend.stats())["records"])
            with progress(output, "records", total) as step:
                manifest = await export_bundle(
                    counted(backend, step), selector, target, registry=registry, identity=identity
                )
        return Answer(_data(manifest, target), _lines(manifest, target))

    return perform(common, body)


def _data(manifest: "Manifest", target: Path) -> dict[str, Any]:
    return {
        "bundle": str(target),
        "digest": manifest.digest,
        "journal_id": manifest.journal_id,
        "signed_by": manifest.node,
        "exported_at": manifest.exported_at,
        "lanes": [
            {"lane": one.lane, "first_seq": one.first_seq, "last_seq": one.last_seq, "head_seq": one.head_seq}
            for one in manifest.lanes
        ],
        "records": _records(manifest),
        "files": [{"path": one.path, "bytes": one.bytes, "blake3": one.blake3} for one in manifest.files],
        "redactions": [
            {"type": one.type, "field": one.field, "rule": one.rule, "count": one.count}
            for one in manifest.redactions
        ],
        "missing_blobs": list(manifest.missing_blobs),
    }


def _records(manifest: "Manifest") -> int:
    return sum(one.last_seq - one.first_seq + 1 for one in manifest.lanes)


def _lines(manifest: "Manifest", target: Path) -> list[str]:
    lines = facts(
        [
            ("bundle", target),
            ("digest", manifest.digest),
            ("signed by", manifest.node or "nobody; give --key to sign"),
            ("lanes", len(manifest.lanes)),
            ("records", _records(manifest)),
            ("files", f"{len(manifest.files)}, {size(sum(one.bytes for one in manifest.files))}"),
        ]
    )
    for one in manifest.redactions:
        lines.append(visible(f"redacted: {one.type} {one.field}, {one.count} times ({one.rule})"))
    return lines + [visible(f"missing: blob {name}") for name in manifest.missing_blobs]

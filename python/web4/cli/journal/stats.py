"""`web4 journal stats`."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from web4.cli.journal.known import all_lanes
from web4.cli.journal.target import journal_directory
from web4.cli.options import COMMON, Common, Directory
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, moment, size, table
from web4.journal.backends.sqlite import open_sqlite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.journal.lane import Lane
    from web4.journal.record import Head, OpenWork

_WORK = 100
"""Items of unfinished work that are listed; their number stays exact."""


def stats(
    directory: Directory = None,
    /,
    *,
    lanes: Annotated[bool, Parameter(negative=(), help="List every lane.")] = False,
    common: Common = COMMON,
) -> int:
    """Show what a journal holds: profile, lanes, records, bytes, unfinished work, boots.

    Works beside a running node.

    ```
    web4 journal stats ./node
    web4 journal stats ./node --lanes --json
    ```
    """

    async def body(_: Output) -> Answer:
        where = journal_directory(directory, common)
        async with open_sqlite(where, read_only=True) as backend:
            store = dict(await backend.stats())
            found = await all_lanes(backend)
            work = await backend.open_work(limit=_WORK)
        data = {
            "directory": str(where),
            "journal_id": backend.journal_id.hex(),
            "backend": backend.name,
            "profile": store["profile"],
            "schema": store["schema"],
            "boots": store["boots"],
            "last_writer": _last_writer(where / "writer.lock"),
            "kinds": _kinds(found),
            "records": store["records"],
            "bytes": {
                "database": store["bytes"],
                "reusable": store["reusable_bytes"],
                "wal": store["wal_bytes"],
                "blobs": store["blob_bytes"],
            },
            "blobs": store["blobs"],
            "open_work": {
                "count": store["open_work"],
                "items": [_item(one) for one in work],
                "truncated": store["open_work"] > len(work),
            },
            "engine": store["engine"],
        }
        if lanes:
            data["lanes"] = [_lane(lane, head) for lane, head in found]
        return Answer(data, _lines(data, found if lanes else []))

    return perform(common, body)


def _last_writer(lock: Any) -> dict[str, str] | None:
    """What the lock's file says of whoever took it last. It is left behind, and no proof that anybody holds it."""
    try:
        text = lock.read_text("ascii", "replace")[:1024]
    except OSError:
        return None
    said = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    return said or None


def _kinds(found: "list[tuple[Lane, Head]]") -> dict[str, dict[str, int]]:
    kinds: dict[str, dict[str, int]] = {}
    for lane, head in found:
        kind = kinds.setdefault(lane.kind, {"lanes": 0, "records": 0, "compacted": 0})
        kind["lanes"] += 1
        kind["records"] += head.seq - head.base_seq
        kind["compacted"] += head.base_seq
    return kinds


def _lane(lane: "Lane", head: "Head") -> dict[str, Any]:
    return {
        "lane": str(lane),
        "head": head.seq,
        "hash": head.hash.hex(),
        "at": head.at,
        "base": head.base_seq,
        "records": head.seq - head.base_seq,
    }


def _item(one: "OpenWork") -> dict[str, Any]:
    return {
        "lane": str(one.lane),
        "seq": one.seq,
        "kind": one.kind,
        "subject": one.subject,
        "started": one.started,
        "command": one.command,
        "idempotent": one.idempotent,
    }


def _lines(data: "Mapping[str, Any]", found: "list[tuple[Lane, Head]]") -> list[str]:
    writer = data["last_writer"]
    sizes = data["bytes"]
    lines = facts(
        [
            ("journal", data["directory"]),
            ("id", data["journal_id"]),
            ("profile", data["profile"] or "never opened for writing by this edition"),
            ("boots", data["boots"]),
            ("last writer", writer and ", ".join(f"{name} {value}" for name, value in writer.items())),
            ("records", data["records"]),
            ("database", size(sizes["database"])),
            ("reusable", size(sizes["reusable"])),
            ("write-ahead log", size(sizes["wal"])),
            ("blobs", f"{data['blobs']}, {size(sizes['blobs'])}"),
            ("open work", data["open_work"]["count"]),
            ("engine", f"{data['engine']}, schema {data['schema']}"),
        ]
    )
    kinds = [[kind, one["lanes"], one["records"], one["compacted"]] for kind, one in data["kinds"].items()]
    if kinds:
        lines += ["", *table([["lanes of", "lanes", "records", "compacted"], *kinds])]
    if found:
        rows = [[str(lane), head.seq, head.base_seq, moment(head.at)] for lane, head in found]
        lines += ["", *table([["lane", "head", "base", "last"], *rows])]
    return lines

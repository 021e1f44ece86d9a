"""Records as they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from web4.cli.text import moment, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.journal.history import HistoryEntry
    from web4.journal.record import Record
    from web4.journal.redaction import Exported


def header(one: Record | HistoryEntry) -> dict[str, Any]:
    """What is told of a record without its payload."""
    return {
        "lane": str(one.lane),
        "seq": one.seq,
        "type": one.type,
        "v": one.v,
        "at": one.at,
        "cause": None if one.cause is None else [str(one.cause[0]), one.cause[1]],
        "principal": one.principal,
        "refs": [list(ref) for ref in one.refs],
        "hash": one.hash.hex(),
        "commit": one.commit,
        "position": one.position,
        "erased": one.erased,
    }


def with_payload(exported: Exported) -> dict[str, Any]:
    """What may be handed out of a payload, and what was taken out of it."""
    return {
        "payload": None if exported.payload is None else msgspec.Raw(exported.payload),
        "redactions": [list(one) for one in exported.redactions],
    }


def row(one: Record | HistoryEntry, *more: str) -> str:
    """A record on one line."""
    parts = [moment(one.at), str(one.lane), str(one.seq), one.type]
    if one.principal is not None:
        parts.append(f"by={one.principal}")
    if one.cause is not None:
        parts.append(f"cause={one.cause[0]}/{one.cause[1]}")
    parts += [f"{kind}={value}" for kind, value in one.refs]
    parts += ["erased"] if one.erased else []
    return visible("  ".join((*parts, *more)))


def payload_lines(exported: Exported) -> Iterable[str]:
    """A payload below its record's line."""
    if exported.payload is not None:
        yield "    " + visible(exported.payload.decode("utf-8", "backslashreplace"))
    for one in exported.redactions:
        yield visible(f"    {one.field}: withheld or changed ({one.rule})")

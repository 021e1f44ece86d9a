"""`web4 journal history`."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from web4.cli.journal import moments
from web4.cli.journal.known import kinds_of, known_types
from web4.cli.journal.records import header, row
from web4.cli.journal.target import journal_directory, parse_lane, require_lane
from web4.cli.options import COMMON, Common, Directory, OneLane
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.journal import history as histories
from web4.journal.backends.sqlite import open_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.journal.history import HistoryEntry, HistoryPage


def history(
    directory: Directory = None,
    /,
    *,
    lane: OneLane = None,
    session: Annotated[str | None, Parameter(help="Only what refers to this session.")] = None,
    command: Annotated[str | None, Parameter(help="Only what refers to this command, by its id.")] = None,
    principal: Annotated[str | None, Parameter(help="Only what was done on behalf of this one.")] = None,
    type_: Annotated[
        tuple[str, ...],
        Parameter(name="--type", negative=(), help="Only events of this type. May be given more than once."),
    ] = (),
    since: Annotated[str | None, Parameter(help=f"Not before this time: {moments.HELP}")] = None,
    until: Annotated[str | None, Parameter(help="Not after this time.")] = None,
    desc: Annotated[bool, Parameter(negative=(), help="Newest first.")] = False,
    limit: Annotated[
        int, Parameter(help="Records of one page.", validator=validators.Number(gte=1, lte=histories.MOST))
    ] = 100,
    cursor: Annotated[
        str | None,
        Parameter(help="Go on where the last page ended; everything else but --limit must be the same."),
    ] = None,
    common: Common = COMMON,
) -> int:
    """Ask what happened, when, and on whose behalf. Filters are exact, and all of them must fit.

    Headers, phases and outcomes are told, never payloads. One page looks at 20 000 records, or for a second; if that
    ends it, it says `truncated` and gives a cursor.

    ```
    web4 journal history ./node --principal ann --since 2h --desc
    web4 journal history ./node --lane server --type journal.anchored --json
    ```
    """

    async def body(output: Output) -> Answer:
        first, last = moments.parse_moment(since, "--since"), moments.parse_moment(until, "--until")
        chosen = None if lane is None else parse_lane(lane)
        where = journal_directory(directory, common)
        async with open_sqlite(where, read_only=True) as backend:
            if chosen is not None:
                await require_lane(backend, chosen)
            page = await histories.history(
                backend,
                lane=chosen,
                session=session,
                command_id=command,
                principal=principal,
                types=type_ or None,
                since=first,
                until=last,
                order="desc" if desc else "asc",
                cursor=cursor,
                limit=limit,
                registry=known_types(await kinds_of(backend)),
            )
        if not common.json and page.cursor is not None:
            why = "looked at all it may in one go" if page.truncated else "the page is full"
            output.notice(f"{why}; go on with --cursor {page.cursor}")
        if not common.json and page.malformed:
            output.notice(f"{page.malformed} records cannot be read; `web4 journal verify` names them")
        return Answer(_data(page), _lines(page))

    return perform(common, body)


def _data(page: "HistoryPage") -> dict[str, Any]:
    return {
        "entries": [header(one) | {"phase": one.phase, "success": one.success} for one in page.entries],
        "cursor": page.cursor,
        "truncated": page.truncated,
        "scanned": page.scanned,
        "malformed": page.malformed,
    }


def _lines(page: "HistoryPage") -> "Iterator[str]":
    for one in page.entries:
        yield row(one, *_flags(one))


def _flags(one: "HistoryEntry") -> list[str]:
    flags: list[str] = [] if one.phase is None else [one.phase]
    if one.success is not None:
        flags.append("ok" if one.success else "failed")
    return flags

"""`web4 journal tail`."""

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import trio
from cyclopts import Parameter, validators

from web4.cli.errors import CommandError
from web4.cli.journal.known import LOGICS, known_types
from web4.cli.journal.records import header, payload_lines, row, with_payload
from web4.cli.journal.target import journal_directory, parse_lane, require_lane
from web4.cli.options import COMMON, Common, Directory, OneLane
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.errors import Compacted, CursorAhead, CursorError
from web4.journal.redaction import Redactor

if TYPE_CHECKING:
    from web4.journal.backends.backend import Backend
    from web4.journal.lane import Lane
    from web4.journal.record import Record

_PAGE = 100
"""Records that are held at a time: each may have 256 KiB."""
_LOOK_S = 0.05
"""The engine tells other processes nothing: a follower looks 20 times a second."""


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Which journal, which lane (None: all), and the number or position of the last record that was shown."""

    journal: str
    lane: str | None
    place: int


def tail(
    directory: Directory = None,
    /,
    *,
    lane: OneLane = None,
    lines: Annotated[
        int,
        Parameter(
            name=("--lines", "-n"),
            help="How many of the last records.",
            validator=validators.Number(gte=0, lte=10_000),
        ),
    ] = 20,
    after: Annotated[
        str | None,
        Parameter(
            help="Everything after this place instead of the last records: a cursor that an earlier call gave, "
            "or 0 for the beginning; with `--lane` also a record's number.",
        ),
    ] = None,
    follow: Annotated[
        bool, Parameter(name=("--follow", "-f"), negative=(), help="Go on with what is written from now on.")
    ] = False,
    payload: Annotated[
        bool,
        Parameter(negative=(), help="Show payloads too, as an export would hand them out."),
    ] = False,
    common: Common = COMMON,
) -> int:
    """Show the last records, of one lane or of all, and follow what is written.

    Works beside a running node, and never keeps it waiting. Payloads are shown with `--payload` only, after the
    redaction of exports; of types that this installation does not know they are withheld.

    ```
    web4 journal tail ./node -n 50
    web4 journal tail ./node --lane server --follow
    web4 journal tail ./node --after 0 --json | jq .record.type
    ```
    """
    shown = _Tail(common, payload=payload)

    async def body(output: Output) -> Answer:
        shown.lane = None if lane is None else parse_lane(lane)
        where = journal_directory(directory, common)
        async with open_sqlite(where, read_only=True) as backend:
            await shown.begin(backend, output, lines=lines, after=after, follow=follow)
            await shown.go_on(follow=follow)
        return shown.answer()

    return perform(common, body, streams=True, detached=shown.answer if follow else None)


class _Tail:
    """Records on their way to the output."""

    def __init__(self, common: Common, *, payload: bool) -> None:
        self.lane: Lane | None = None
        self._common = common
        self._payload = payload
        self._place = 0
        self._count = 0
        self._journal = ""
        self._strict = False
        self._until: int | None = None

    async def begin(
        self, backend: "Backend", output: Output, *, lines: int, after: str | None, follow: bool
    ) -> None:
        """Go to where it begins, and show the last records if nothing else is asked for."""
        self._backend = backend
        self._output = output
        self._journal = backend.journal_id.hex()
        self._redactor = Redactor(backend.hash_key)
        self._registry = known_types(LOGICS if self._payload else ())
        if self.lane is not None and not follow:
            await require_lane(backend, self.lane)
        elif self.lane is not None and (await backend.head(self.lane)).seq == 0:
            output.notice(f"nobody has written {self.lane} yet; waiting for its first record")
        newest = await self._newest()
        self._until = None if follow else newest
        if after is not None:
            self._place = await self._read_cursor(after, newest)
            self._strict = after != "0"
        elif lines:
            self._place = await self._before_last(lines, newest)
        else:
            self._place, self._strict = newest, True

    async def go_on(self, *, follow: bool) -> None:
        """Show what comes after."""
        while True:
            records = await self._read_next()
            if records:
                await self._show(records)
                self._place = self._place_of(records[-1])
            if self._until is not None and self._place >= self._until:
                return
            if len(records) < _PAGE:
                await self._output.flush()
                if not follow:
                    return
                await trio.sleep(_LOOK_S)

    def answer(self) -> Answer:
        """How it ends, and how to come back."""
        cursor = base64.urlsafe_b64encode(
            msgspec.json.encode(
                _Cursor(self._journal, None if self.lane is None else str(self.lane), self._place)
            )
        )
        text = cursor.rstrip(b"=").decode()
        if not self._common.json:
            self._output.notice(f"to go on from here: --after {text}")
        return Answer({"records": self._count, "cursor": text})

    # --- reading ----------------------------------------------------------------------------------------

    def _place_of(self, record: "Record") -> int:
        return record.position if self.lane is None else record.seq

    async def _newest(self) -> int:
        if self.lane is not None:
            return (await self._backend.head(self.lane)).seq
        records = await self._backend.scan(limit=1, reverse=True)
        return records[0].position if records else 0

    async def _before_last(self, count: int, newest: int) -> int:
        """The place before the last `count` records."""
        if self.lane is not None:
            return max(newest - count, (await self._backend.head(self.lane)).base_seq)
        place = newest + 1
        while count > 0:
            page = await self._backend.scan(before=place, limit=min(_PAGE, count), reverse=True)
            if not page:
                break
            place = page[-1].position
            count -= len(page)
        return place - 1

    async def _read_next(self) -> "list[Record]":
        if self.lane is None:
            records = await self._backend.scan(after=self._place, limit=_PAGE)
            if self._strict and records and records[0].position != self._place + 1:
                await self._gap(records[0].position)
        else:
            records = await self._backend.read(self.lane, after=self._place, limit=_PAGE)
            if not records or records[0].seq != self._place + 1:
                head = await self._backend.head(self.lane)
                if self._strict and self._place < head.base_seq:
                    raise Compacted(self.lane, base_seq=head.base_seq)
        self._strict = True
        if self._until is not None:
            records = [record for record in records if self._place_of(record) <= self._until]
        return records

    async def _gap(self, before: int) -> None:
        """Say that records are gone between two that are shown."""
        if self._output.json:
            await self._output.document({"type": "gap", "after": self._place, "before": before})
        else:
            self._output.notice(f"records between positions {self._place} and {before} were compacted away")

    async def _read_cursor(self, text: str, newest: int) -> int:
        if text.isascii() and text.isdigit() and (text == "0" or self.lane is not None):
            place = int(text)
        else:
            cursor = _decode(text)
            if cursor.journal != self._journal:
                raise CursorError(
                    "the cursor belongs to another journal", code="foreign_cursor", field="after"
                )
            if cursor.lane != (None if self.lane is None else str(self.lane)):
                raise CursorError("the cursor belongs to another lane", code="foreign_cursor", field="after")
            place = cursor.place
        if place <= newest:
            return place
        if self.lane is not None:
            raise CursorAhead(self.lane, head=newest)
        raise CursorError("the journal ends before that cursor", code="cursor_ahead", field="after")

    # --- showing ----------------------------------------------------------------------------------------

    async def _show(self, records: "list[Record]") -> None:
        for record in records:
            self._count += 1
            exported = None
            if self._payload:
                exported = self._redactor.export(record, self._registry.named(record.type))
            if self._output.json:
                told: dict[str, Any] = header(record)
                if exported is not None:
                    told |= with_payload(exported)
                await self._output.document({"type": "record", "record": told})
                continue
            await self._output.line(row(record))
            if exported is not None:
                await self._output.lines(payload_lines(exported))


def _decode(text: str) -> _Cursor:
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=_Cursor)
    except (binascii.Error, UnicodeError, msgspec.MsgspecError):
        raise CommandError(f"--after {text!r} is neither a number nor a cursor", code="usage") from None

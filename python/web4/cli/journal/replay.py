"""`web4 journal replay`."""

from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import trio
from cyclopts import Parameter, validators

from web4.cli import exits
from web4.cli.journal.counted import counted
from web4.cli.journal.known import all_lanes, kinds_of, known_definitions, known_kinds, known_types
from web4.cli.journal.target import journal_or_bundle, parse_lane, require_lane
from web4.cli.options import COMMON, Common, Directory, OneLane
from web4.cli.output import Output
from web4.cli.progress import progress
from web4.cli.running import Answer, perform
from web4.cli.text import paint, table, visible
from web4.journal import replay as replaying
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.bundle import BundleSource
from web4.journal.chain import broken_at, check_run, genesis
from web4.journal.errors import CorruptJournalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.lane import Lane
    from web4.journal.record import Head
    from web4.journal.replay import LaneReplay, ReplayResult, ReplaySource

_PAGE = 500


class _ChainOnly(NamedTuple):
    """A lane whose logic is not known here: only its chain was looked at."""

    lane: "Lane"
    seq: int
    records: int
    broken: str | None


def replay(
    directory: Directory = None,
    /,
    *,
    lane: OneLane = None,
    until: Annotated[
        int | None,
        Parameter(help="Not beyond this record, in every lane.", validator=validators.Number(gte=0)),
    ] = None,
    common: Common = COMMON,
) -> int:
    """Rebuild the states of lanes from their records, and compare on the way.

    Reads a journal, beside its running node too, or an incident bundle. Takes no lock, writes nothing, draws no time
    and no randomness: the same bytes give the same digests everywhere. Lanes whose logic this installation does not
    know are named as such; their chains are verified.

    Exit code 0: clean. 1: a lane diverges, or cannot be replayed to its end. 2: could not look.

    ```
    web4 journal replay ./node
    web4 journal replay ./incident --lane peer:3f1c… --until 120 --json
    ```
    """

    async def body(output: Output) -> Answer:
        chosen = None if lane is None else parse_lane(lane)
        where, bundle = journal_or_bundle(directory, common)
        if bundle:
            source = await trio.to_thread.run_sync(BundleSource, where, abandon_on_cancel=True)
            total = sum(one.last_seq - one.first_seq + 1 for one in source.manifest.lanes)
            return await _replay(source, output, chosen, until, total)
        async with open_sqlite(where, read_only=True) as backend:
            total = int((await backend.stats())["records"])
            return await _replay(backend, output, chosen, until, total)

    return perform(common, body, could_not=exits.USAGE)


async def _replay(source: Any, output: Output, lane: "Lane | None", until: int | None, total: int) -> Answer:
    if lane is not None:
        await require_lane(source, lane)
    kinds, known = await kinds_of(source), await known_kinds(source)
    with progress(output, "records", None if lane or until else total) as step:
        watched = counted(source, step)
        result = await replaying.replay(
            watched, known_definitions(known), known_types(kinds), lane=lane, until=until
        )
        lanes = [(lane, await source.head(lane))] if lane is not None else await all_lanes(source)
        others = [
            await _check_chain(watched, one, head, until) for one, head in lanes if one.kind not in known
        ]
    wrong = result.divergences_count + sum(one.stopped is not None for one in result.lanes)
    wrong += sum(one.broken is not None for one in others)
    return Answer(_data(result, others), _lines(result, others, wrong), exits.NO if wrong else exits.DONE)


async def _check_chain(source: "ReplaySource", lane: "Lane", head: "Head", until: int | None) -> _ChainOnly:
    last = head.seq if until is None else min(until, head.seq)
    after, prev = head.base_seq, head.base_hash
    broken: str | None = None
    try:
        if not after and prev != genesis(source.journal_id, lane):
            raise broken_at(lane, 1)
        while after < last:
            records = await source.read(lane, after=after, limit=min(_PAGE, last - after))
            if not records:
                raise broken_at(lane, after + 1)
            prev = check_run(lane, prev, after, records)
            after = records[-1].seq
        if after == head.seq and prev != head.hash:
            raise broken_at(lane, after)
    except CorruptJournalError as error:
        broken = str(error.args[0])
    return _ChainOnly(lane, after, max(0, after - head.base_seq), broken)


def _data(result: "ReplayResult", others: "Sequence[_ChainOnly]") -> dict[str, Any]:
    return {
        "journal_id": result.journal_id,
        "digest": result.digest,
        "lanes": [_lane(one) for one in result.lanes],
        "not_replayable": [
            {
                "lane": str(one.lane),
                "seq": one.seq,
                "records": one.records,
                "reason": "logic_unknown",
                "chain": "verified" if one.broken is None else "broken",
                "broken": one.broken,
            }
            for one in others
        ],
        "divergences_count": result.divergences_count,
        "divergences": [
            {"lane": str(one.lane), "seq": one.seq, "detail": one.detail} for one in result.divergences
        ],
    }


def _lane(one: "LaneReplay") -> dict[str, Any]:
    return {
        "lane": str(one.lane),
        "seq": one.seq,
        "begun_at": one.begun_at,
        "digest": one.digest,
        "applied": one.applied,
        "outcomes": [[outcome.seq, outcome.type, outcome.subject] for outcome in one.outcomes],
        "outcomes_count": one.outcomes_count,
        "outcomes_digest": one.outcomes_digest,
        "versions": dict(one.versions),
        "stopped": one.stopped,
    }


def _lines(result: "ReplayResult", others: "Sequence[_ChainOnly]", wrong: int) -> list[str]:
    rows: list[list[object]] = [["lane", "to", "applied", "state"]]
    rows += [[str(one.lane), one.seq, one.applied, one.digest or "stopped"] for one in result.lanes]
    lines = table(rows) if result.lanes else []
    for one in result.lanes:
        if one.stopped is not None:
            lines.append(paint("stopped", "red") + visible(f": {one.stopped}"))
    for other in others:
        what = (
            "chain verified" if other.broken is None else paint("chain broken", "red") + f": {other.broken}"
        )
        lines.append(
            f"not replayable: {visible(other.lane)} to {other.seq}, its logic is not known here; {what}"
        )
    for each in result.divergences:
        lines.append(paint("divergence", "red") + visible(f": {each.lane} {each.seq}: {each.detail}"))
    if result.divergences_count > len(result.divergences):
        lines.append(f"and {result.divergences_count - len(result.divergences)} divergences more")
    lines.append(f"{len(result.lanes)} lanes replayed, {len(others)} not; digest {result.digest}")
    return [*lines, paint(f"{wrong} findings", "red") if wrong else paint("clean", "green")]

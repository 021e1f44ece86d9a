"""`web4 journal compact`."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from web4.cli.errors import CommandError
from web4.cli.journal.known import all_lanes, known_definitions, known_kinds
from web4.cli.journal.target import journal_directory, parse_lane, require_lane
from web4.cli.journal.writing import writing_journal
from web4.cli.options import COMMON, Common, Directory, Key, Lanes
from web4.cli.output import Output
from web4.cli.progress import progress
from web4.cli.running import Answer, perform
from web4.cli.text import table, visible
from web4.journal.compaction import compact as compact_lane
from web4.journal.errors import LaneHalted, RetentionError

if TYPE_CHECKING:
    from web4.journal import Journal, Lane
    from web4.journal.replay import ReplayDefinition


def compact(
    directory: Directory = None,
    /,
    *,
    lane: Lanes = (),
    to: Annotated[
        int | None,
        Parameter(
            help="The last record that goes, of the one `--lane` that is named. Left out: as far as may be.",
            validator=validators.Number(gte=1),
        ),
    ] = None,
    key: Key = None,
    common: Common = COMMON,
) -> int:
    """Put base snapshots in the place of lanes' first records, and remove those.

    Unfinished work, anchors, records under a hold, and what no state stands for, stay. Nothing that a lane decides
    later changes by it. Takes the writer's lock: the node must not run. Interrupted, it goes on with the next run.

    ```
    web4 journal compact ./node
    web4 journal compact ./node --lane peer:3f1c… --to 500 --key ./node/identity.pem
    ```
    """

    async def body(output: Output) -> Answer:
        chosen = [parse_lane(name) for name in lane]
        if to is not None and len(chosen) != 1:
            raise CommandError("--to needs the one --lane that it is meant for", code="usage")
        where = journal_directory(directory, common)
        async with writing_journal(where, key) as journal:
            for one in chosen:
                await require_lane(journal.backend, one)
            lanes = chosen or [one for one, _ in await all_lanes(journal.backend)]
            definitions = known_definitions(await known_kinds(journal.backend))
            results = []
            with progress(output, "lanes", len(lanes)) as step:
                for done, one in enumerate(lanes, start=1):
                    results.append(await _compact(journal, one, to, definitions.get(one.kind)))
                    step(done)
        removed = sum(one["removed"] for one in results)
        rows = [[one["lane"], one["base"], one["removed"], one["kept"] or ""] for one in results]
        lines = table([["lane", "base", "removed", ""], *rows]) if rows else []
        return Answer({"removed": removed, "lanes": results}, [*lines, visible(f"{removed} records removed")])

    return perform(common, body)


async def _compact(
    journal: "Journal", lane: "Lane", to: int | None, definition: "ReplayDefinition | None"
) -> dict[str, Any]:
    """Compact one lane; what stands in the way is told, and is an error only if a place was named."""
    before = (await journal.head(lane)).base_seq
    base, kept = before, None
    try:
        if lane in journal.halted:
            raise LaneHalted(f"{lane} is damaged, and is left as it is: {journal.halted[lane]}")
        base = await compact_lane(journal, lane, seq=to, definition=definition)
    except (RetentionError, LaneHalted) as error:
        if to is not None:
            raise
        kept = str(error.args[0])
    return {"lane": str(lane), "base": base, "removed": base - before, "kept": kept}

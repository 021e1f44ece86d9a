"""`web4 journal repair`."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from web4.cli import exits
from web4.cli.errors import CommandError
from web4.cli.journal.known import kinds_of, known_kinds, known_types
from web4.cli.journal.target import journal_directory
from web4.cli.options import COMMON, Common, Directory, Key
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import paint, visible
from web4.foundation.identity import load_identity
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.repair import apply_repair, plan_repair

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from web4.journal.repair import Repaired, RepairPlan


def repair(
    directory: Directory = None,
    /,
    *,
    apply: Annotated[bool, Parameter(negative=(), help="Do what the plan says.")] = False,
    key: Key = None,
    common: Common = COMMON,
) -> int:
    """Plan how damaged lanes are cut after their last good record; do it with `--apply`.

    Without `--apply` nothing is changed, and it works beside a running node. With it, it takes the writer's lock, keeps
    what it cuts in `quarantine/`, and says so on the `server` lane. Back up the directory first.

    Exit code 0: nothing to repair, or all repaired. 1: there is something to repair, or something that cutting cannot
    repair. 2: could not look.

    ```
    web4 journal repair ./node
    web4 journal repair ./node --apply
    ```
    """

    async def body(_: Output) -> Answer:
        where = journal_directory(directory, common)
        return await (_apply(where, key) if apply else _plan(where))

    return perform(common, body)


async def _plan(where: "Path") -> Answer:
    async with open_sqlite(where, read_only=True) as backend:
        plan = await plan_repair(backend)
    data = _data(plan, applied=False, repaired=())
    lines = _lines(plan, ())
    if plan.lanes:
        lines.append("nothing was changed; do it with --apply")
    return Answer(data, lines, exits.NO if plan.lanes or plan.beyond else exits.DONE)


async def _apply(where: "Path", key: "Path | None") -> Answer:
    identity = None if key is None else load_identity(key)
    async with open_sqlite(where) as backend:
        plan = await plan_repair(backend)
        kinds, known = await kinds_of(backend), await known_kinds(backend)
        unknown = sorted({str(one.lane) for one in plan.lanes if one.lane.kind not in known})
        if unknown:
            # What a cut leaves unfinished is told by its events alone: cutting blindly would lose it.
            raise CommandError(
                f"what is unfinished in {', '.join(unknown)} cannot be told here: their events are not known",
                code="kind_unknown",
            )
        repaired: list[Repaired] = []
        if plan.lanes:
            repaired = await apply_repair(
                backend, plan, quarantine=where / "quarantine", registry=known_types(kinds), identity=identity
            )
    data = _data(plan, applied=True, repaired=repaired)
    return Answer(data, _lines(plan, repaired), exits.NO if plan.beyond else exits.DONE)


def _data(plan: "RepairPlan", *, applied: bool, repaired: "Iterable[Repaired]") -> dict[str, Any]:
    done = {one.lane: one for one in repaired}
    return {
        "applied": applied,
        "lanes": [
            {
                "lane": str(one.lane),
                "keep": one.keep,
                "head": one.head,
                "reason": one.reason,
                "removed": done[one.lane].removed if one.lane in done else None,
                "quarantine": done[one.lane].quarantine if one.lane in done else None,
            }
            for one in plan.lanes
        ],
        "beyond_repair": [{"lane": str(lane), "reason": reason} for lane, reason in plan.beyond],
    }


def _lines(plan: "RepairPlan", repaired: "Iterable[Repaired]") -> list[str]:
    done = {one.lane: one for one in repaired}
    lines = []
    for one in plan.lanes:
        if one.lane not in done:
            what = f"would be cut after {one.keep}, its head is {one.head}"
        else:
            what = f"cut after {one.keep}; {done[one.lane].removed} records"
            what += f" are in quarantine/{done[one.lane].quarantine}" if done[one.lane].quarantine else ""
        lines.append(visible(f"{one.lane}: {what} ({one.reason})"))
    for lane, reason in plan.beyond:
        lines.append(paint("beyond repair", "red") + visible(f": {lane}: {reason}; restore a backup"))
    return lines or [paint("nothing to repair", "green")]

"""`web4 doctor`."""

import platform
import textwrap
from collections.abc import Mapping

from web4.cli import exits
from web4.cli.doctor_protections import Sound, document_of, notes_of, table_of
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import paint, table, visible
from web4.worker.request import Level, Protections


def doctor(*, common: Common = COMMON) -> int:
    """Say what protects this machine from extensions, and what is missing. Nothing is assumed: workers are started.

    One worker of each sandbox level enters its sandbox, reports what the kernel gave it, and is killed before it runs
    a line of any extension.

    Exit code 0: every level is whole. 8: extensions run, with less than a level promises. 1: none can run in level
    `standard`.

    ```
    web4 doctor
    web4 doctor --json
    ```
    """

    async def body(_: Output) -> Answer:
        found, shared = await measure()
        return answer_of(found, shared)

    return perform(common, body)


def answer_of(found: Mapping[Level, Sound], shared: Protections | None) -> Answer:
    """What was measured, and what it means.

    Args:
        found: By level.
        shared: Of a worker of level `standard` that may have several processes, if one started.
    """
    data = {"system": platform.system(), "kernel": platform.release(), **document_of(found, shared)}
    lines = [visible(f"{platform.system()} {platform.release()}, {platform.machine()}"), ""]
    lines += table(table_of(found, shared))
    notes = notes_of(found, shared)
    for one in notes:
        mark, colour = ("weaker", "yellow") if one.weak else ("missing", "red")
        lines += ["", paint(mark, colour) + visible(f" in {', '.join(one.levels)}: {one.text}")]
        lines += [f"  {line}" for line in textwrap.wrap(visible(one.remedy), 100)] if one.remedy else []
    missing = any(not one.weak for one in notes)
    if found["standard"].protections is None:
        verdict, code = paint("no extension can run in level standard", "red"), exits.NO
    elif missing:
        verdict, code = paint("extensions run, with less than they should be held by", "yellow"), exits.DEGRADED
    else:
        verdict, code = paint("every level is whole", "green"), exits.DONE
    return Answer(data, [*lines, "", verdict], code)

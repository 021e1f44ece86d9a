"""`web4 doctor`."""

import platform
import textwrap
from collections.abc import Mapping

import msgspec

from web4.cli import exits
from web4.cli.doctor_protections import LEVELS, document_of, notes_of, table_of
from web4.cli.extensions.measuring import Sound, sound
from web4.cli.extensions.places import WHERE, Where, surroundings
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, paint, table, visible
from web4.extensions.manifests.manifest import Resources
from web4.extensions.processes import KernelReport, open_processes
from web4.worker.request import Level, Protections, Sandbox


def doctor(*, where: Where = WHERE, common: Common = COMMON) -> int:
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
        user = surroundings(common, where).configuration.worker_user
        async with open_processes() as processes:
            found = {level: await sound(processes, Sandbox(level=level), user=user) for level in LEVELS}
            several = await sound(processes, Sandbox(), resources=Resources(processes=4), user=user)
            kernel = processes.kernel()
        return answer_of(found, several.protections, kernel)

    return perform(common, body)


def answer_of(found: Mapping[Level, Sound], several: Protections | None, kernel: KernelReport) -> Answer:
    """What was measured, and what it means.

    Args:
        found: By level.
        several: Of a worker of level `standard` that may have several processes, if one started.
        kernel: What the machine gives.
    """
    notes = notes_of(found, several, kernel)
    data = {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "kernel": msgspec.to_builtins(kernel),
        **document_of(found, several),
        "notes": [
            {
                "what": one.what,
                "levels": list(one.levels),
                "text": one.text,
                "remedy": one.remedy,
                "weak": one.weak,
            }
            for one in notes
        ],
    }
    lines = facts(
        [
            ("machine", f"{platform.system()} {platform.release()}, {platform.machine()}"),
            ("template", "ready" if kernel.template else "not ready"),
            (
                "PID namespaces",
                {"privileged": "yes", "user": "inside a user namespace", "off": "no"}[kernel.pid_namespace],
            ),
            ("control groups", _groups(kernel)),
        ]
    )
    lines += ["", *table(table_of(found, several))]
    for one in notes:
        mark, colour = ("weaker", "yellow") if one.weak else ("missing", "red")
        where = f" in {', '.join(one.levels)}" if one.levels else ""
        lines += ["", paint(mark, colour) + visible(f"{where}: {one.text}")]
        lines += [f"  {line}" for line in textwrap.wrap(visible(one.remedy), 100)] if one.remedy else []
    missing = any(not one.weak for one in notes)
    if found["standard"].protections is None:
        verdict, code = paint("no extension can run in level standard", "red"), exits.NO
    elif missing:
        verdict, code = (
            paint("extensions run, with less than they should be held by", "yellow"),
            exits.DEGRADED,
        )
    else:
        verdict, code = paint("every level is whole", "green"), exits.DONE
    return Answer(data, [*lines, "", verdict], code)


def _groups(kernel: KernelReport) -> str:
    if kernel.cgroup == "off":
        return "none of its own"
    bound = [
        name
        for name, by in (("memory", kernel.memory_by), ("processes", kernel.processes_by))
        if by == "cgroup"
    ]
    does = [f"bounds {' and '.join(bound)}"] if bound else []
    does += ["kills a tree as one"] if kernel.cgroup_kill else []
    return f"{kernel.cgroup}; {', '.join(does) or 'of no use here'}"

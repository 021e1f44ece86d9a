"""What protects a machine from extensions: how it is told, and what to do where something is missing (EXT-32)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.cli.extensions.measuring import Sound
    from web4.extensions.processes import KernelReport
    from web4.worker.request import Level, Protections

LEVELS: Final[tuple[Level, ...]] = ("none", "standard", "strict")

FEATURES: Final = {
    "no_new_privs": "no program gains privileges",
    "capabilities": "no capabilities",
    "user": "runs as",
    "landlock": "files (Landlock)",
    "seccomp": "system calls (seccomp)",
    "network": "network",
    "signals": "signals to others held off by",
    "cgroup": "control group",
    "tree_kill": "the tree dies by",
    "memory": "memory held by",
    "processes": "processes held by",
    "parent_death": "ends with the node",
}
"""What a worker reports of itself, in words, in the order of the table."""

REMEDIES: Final = {
    "no_new_privs": "the kernel refuses PR_SET_NO_NEW_PRIVS: it is older than 3.5, or a filter above forbids prctl",
    "capabilities": "the node may not drop them: run it as an ordinary user, which has none",
    "landlock": "boot a kernel from 5.13 on with CONFIG_SECURITY_LANDLOCK, and `landlock` in its list `lsm=`; in a "
    "container, let its filter pass landlock_*",
    "seccomp": "boot a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64",
    "network": "it needs seccomp, see there; Landlock alone covers TCP and leaves UDP open",
    "signals": "boot a kernel from 6.12 on (Landlock ABI 6), or allow PID namespaces",
    "cgroup": "let the node make control groups: start it with `systemd-run --user --scope -p Delegate=yes`, or make a "
    "writable cgroup of its own in the container",
    "tree_kill": "with `resources.processes` above 1 it needs a control group of version 2, or PID namespaces",
    "memory": "the kernel refuses RLIMIT_AS, and there is no control group; see `cgroup`",
    "processes": "with `resources.processes` above 1 it needs a control group with `pids`; see `cgroup`",
    "parent_death": "the kernel refuses PR_SET_PDEATHSIG",
}
"""What to do where a protection is missing."""


class Note(NamedTuple):
    """Something that is missing, or weaker than it could be.

    Args:
        what: One of `PROTECTIONS`, or `user`, `start`, `machine` or `template`.
        levels: Where.
        text: What that means.
        remedy: What to do about it.
        weak: Whether it is what a level promises, in a weaker form.
    """

    what: str
    levels: tuple[str, ...]
    text: str
    remedy: str | None
    weak: bool = False


def table_of(found: Mapping[Level, Sound], several: Protections | None) -> list[list[str]]:
    """A row for each feature, a column for each level.

    Args:
        found: By level.
        several: Of a worker of level `standard` that may have children.
    """
    rows = [["", *found]]
    for name, words in FEATURES.items():
        rows.append([words, *(_cell(one.protections, name) for one in found.values())])
        if name == "tree_kill" and several is not None:
            rows.append(["  of more than one process", "", word_of(several.tree_kill), ""])
    return rows


def notes_of(found: Mapping[Level, Sound], several: Protections | None, kernel: KernelReport) -> list[Note]:
    """What is missing, and what is weaker than it could be; what is graver comes first."""
    notes = [Note("machine", LEVELS, kernel.refusal, None)] if kernel.refusal is not None else []
    notes += [
        Note("start", (level,), f"no worker starts: {one.error[1]}", None)
        for level, one in found.items()
        if one.error is not None
    ]
    missing: dict[str, list[str]] = {}
    for level, one in found.items():
        for name in one.protections.missing if one.protections is not None else ():
            missing.setdefault(name, []).append(level)
    notes += [
        Note(name, tuple(levels), f"{FEATURES.get(name, name)}: missing", REMEDIES.get(name))
        for name, levels in missing.items()
    ]
    notes += _weaknesses(found, several, missing)
    if not kernel.template and kernel.refusal is None:
        notes.append(Note("template", (), "no template is ready: every worker starts cold", None, weak=True))
    notes += [
        Note("template", (), f"the template cannot import {one}: every worker pays for it", None, weak=True)
        for one in kernel.template_failed
    ]
    return notes


def _weaknesses(
    found: Mapping[Level, Sound], several: Protections | None, missing: Mapping[str, Any]
) -> list[Note]:
    notes = []
    given = {level: one.protections for level, one in found.items() if one.protections is not None}
    roots = tuple(level for level, one in given.items() if one.user == "root")
    if roots:
        notes.append(
            Note(
                "user",
                roots,
                "workers stay root: whatever no other protection covers is open to them",
                "name a `worker_user` under [extensions] in web4.toml, or run the node as an ordinary user",
                weak=True,
            )
        )
    limited = tuple(level for level, one in given.items() if one.memory == "rlimit")
    if limited and "memory" not in missing:
        text = "memory is held by each process's address space, not by what the tree really holds"
        notes.append(Note("memory", limited, text, REMEDIES["cgroup"], weak=True))
    if several is not None and several.tree_kill == "best_effort" and "tree_kill" not in missing:
        text = "the end of a tree of several processes is best effort: one that forks faster than it is killed may live"
        notes.append(Note("tree_kill", (several.level,), text, REMEDIES["tree_kill"], weak=True))
    return notes


def document_of(found: Mapping[Level, Sound], several: Protections | None) -> dict[str, Any]:
    """The same for programs."""
    return {
        "levels": {
            level: {
                "starts": one.protections is not None,
                "protections": None if one.protections is None else msgspec.to_builtins(one.protections),
                "error": None if one.error is None else {"code": one.error[0], "message": one.error[1]},
            }
            for level, one in found.items()
        },
        "several_processes": None if several is None else msgspec.to_builtins(several),
    }


def _cell(protections: Protections | None, name: str) -> str:
    if protections is None:
        return "does not start"
    mark = " (missing)" if name in protections.missing else ""
    return word_of(getattr(protections, name)) + mark


def word_of(value: object) -> str:
    """What a worker reports of one feature, in words."""
    match value:
        case True:
            return "yes"
        case False:
            return "no"
        case int():
            return f"ABI {value}" if value else "off"
        case _:
            return str(value).replace("_", " ")

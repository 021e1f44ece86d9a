"""The numbers, against the headers of this system, as far as those know them."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from web4.worker.sandbox import libc
from web4.worker.sandbox.syscalls import numbers


def test_numbers_are_those_of_the_system() -> None:
    compiler = shutil.which("cc")
    if compiler is None or libc.MACHINE not in {"x86_64", "aarch64"}:
        pytest.skip("no C preprocessor, or a machine whose numbers are not known here")
    done = subprocess.run(
        [compiler, "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    )
    system = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)\b", done.stdout)}
    ours = numbers()
    assert len(system) > 250
    assert {name: system[name] for name in ours.keys() & system.keys()} == {
        name: ours[name] for name in ours.keys() & system.keys()
    }
    beyond = {name for name in system if name not in ours and system[name] <= max(ours.values())}
    assert beyond <= {"uretprobe", "uprobe", "arch_specific_syscall", "syscalls"}, beyond


def test_numbers_that_libc_names_itself() -> None:
    for machine in ("x86_64", "aarch64"):
        table = numbers(machine)
        assert len(set(table.values())) == len(table)
        assert table["pidfd_open"] == libc.SYS_PIDFD_OPEN
        assert table["clone3"] == libc.SYS_CLONE3
        assert table["close_range"] == libc.SYS_CLOSE_RANGE
        assert table["landlock_create_ruleset"] == libc.SYS_LANDLOCK_CREATE_RULESET
        assert table["landlock_add_rule"] == libc.SYS_LANDLOCK_ADD_RULE
        assert table["landlock_restrict_self"] == libc.SYS_LANDLOCK_RESTRICT_SELF
    if libc.MACHINE in {"x86_64", "aarch64"}:
        here = numbers()
        assert (here["clone"], here["capset"], here["seccomp"]) == (
            libc.SYS_CLONE,
            libc.SYS_CAPSET,
            libc.SYS_SECCOMP,
        )

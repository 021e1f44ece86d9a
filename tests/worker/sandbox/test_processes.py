"""Other processes, and more processes of its own (EXT-21, EXT-22, EXT-29, EXT-33, EXT-34)."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.worker.sandbox import attacks
from tests.worker.sandbox.inside import Call, asked, run
from web4.worker.sandbox import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.worker.request import Level

LEVELS = pytest.mark.parametrize("level", ["none", "standard", "strict"])
SANDBOXES = pytest.mark.parametrize("level", ["standard", "strict"])
NAMESPACES = {
    "user": libc.CLONE_NEWUSER,
    "pid": libc.CLONE_NEWPID,
    "net": libc.CLONE_NEWNET,
    "mount": libc.CLONE_NEWNS,
    "uts": libc.CLONE_NEWUTS,
    "ipc": libc.CLONE_NEWIPC,
    "cgroup": libc.CLONE_NEWCGROUP,
}


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same user, that lives until it is told or killed."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as one:
        yield one
        assert one.poll() is None, f"the victim ended with {one.returncode}"
        one.communicate(b"\n")
        assert one.returncode == 0


def signals_to(pid: int) -> list[Call]:
    kill = int(signal.SIGKILL)
    return [
        (attacks.signal_to, pid, kill),
        (attacks.signal_to, pid, 0),
        (attacks.signal_to, -1, kill),
        (attacks.signal_group, os.getpgid(pid), kill),
        (attacks.signal_thread, pid, pid, kill),
        (attacks.signal_bare_thread, pid, kill),
        (attacks.queue_signal, "rt_sigqueueinfo", pid, kill),
        (attacks.queue_signal, "rt_tgsigqueueinfo", pid, kill),
        (attacks.signal_descriptor, pid, kill),
    ]


@SANDBOXES
@pytest.mark.parametrize("without", [(), ("landlock",)])
def test_no_signal_to_another(
    tmp_path: Path, level: Level, without: tuple[str, ...], victim: subprocess.Popen[bytes]
) -> None:
    """Section 8: by process, group, thread and descriptor; by Landlock and by seccomp, each alone would do."""
    if level == "strict" and without:
        level = "standard"
    calls = signals_to(victim.pid)
    ran = run(asked(tmp_path, level=level, without=without), *calls)
    assert ran.protections.signals == ("seccomp" if without else "landlock")
    assert [one for one in ran.outcomes if one != "EPERM"] == [], list(enumerate(ran.outcomes))


@pytest.mark.parametrize("without", [(), ("landlock",), ("seccomp",)])
def test_no_signal_as_the_owner_of_a_descriptor(
    tmp_path: Path, without: tuple[str, ...], victim: subprocess.Popen[bytes]
) -> None:
    """The kernel sends these itself; Landlock keeps them back silently, the filter refuses to name an owner."""
    ran = run(
        asked(tmp_path, without=without),
        (attacks.signal_as_owner, victim.pid, int(signal.SIGUSR1)),
        (attacks.signal_as_owner_by_ioctl, victim.pid),
    )
    assert set(ran.outcomes) <= {"EPERM", None}
    if "seccomp" not in without:
        assert ran.outcomes == ["EPERM", "EPERM"]


@SANDBOXES
def test_signals_to_itself_work(tmp_path: Path, level: Level) -> None:
    ran = run(
        asked(tmp_path, level=level), (attacks.signal_to, 0, 0), (signal.raise_signal, int(signal.SIGKILL))
    )
    assert ran.outcomes == [None]
    assert ran.status == -signal.SIGKILL


def test_level_none_signals_as_its_user(tmp_path: Path, victim: subprocess.Popen[bytes]) -> None:
    """Section 8: it is no boundary."""
    ran = run(asked(tmp_path, level="none"), (attacks.signal_to, victim.pid, 0))
    assert ran.protections.signals == "off"
    assert ran.protections.missing == ()
    assert ran.outcomes == [None]


@SANDBOXES
def test_other_processes_are_out_of_reach(
    tmp_path: Path, level: Level, victim: subprocess.Popen[bytes]
) -> None:
    """EXT-29: memory, descriptors, limits, priority, processors."""
    pid = victim.pid
    attach, seize = 16, 0x4206
    before = (os.getpriority(os.PRIO_PROCESS, pid), resource.prlimit(pid, resource.RLIMIT_CORE))
    ran = run(
        asked(tmp_path, level=level),
        (attacks.trace, attach, pid),
        (attacks.trace, seize, pid),
        (attacks.trace, 0, 0),
        (attacks.read_memory, pid),
        (attacks.take_descriptor, pid),
        (attacks.lower_limits_of, pid),
        (attacks.lower_priority_of, pid),
        (attacks.lower_priority_of_user,),
        (attacks.lower_io_priority_of, pid),
        (attacks.pin, pid),
        (attacks.schedule, pid),
    )
    assert ran.outcomes == ["EPERM"] * 11
    assert before == (os.getpriority(os.PRIO_PROCESS, pid), resource.prlimit(pid, resource.RLIMIT_CORE))
    mine = run(
        asked(tmp_path, level=level),
        (attacks.lower_limits_of, 0),
        (attacks.lower_priority_of, 0),
        (attacks.pin, 0),
        (attacks.schedule, 0),
    )
    assert mine.outcomes == [None] * 4


# --- more of its own ------------------------------------------------------------------------------------------


@LEVELS
def test_one_process_stays_one(tmp_path: Path, level: Level) -> None:
    """EXT-22: no way to a second process, so that the kill of one is the kill of the tree; threads are free."""
    ran = run(
        asked(tmp_path, level=level),
        (attacks.fork,),
        (attacks.spawn,),
        (attacks.clone, 0),
        (attacks.clone, libc.CLONE_PARENT),
        (attacks.clone, libc.CLONE_VM | 0x4000),
        (attacks.without_names, "fork") if "fork" in attacks.NUMBERS else (attacks.clone, 0),
        (attacks.without_names, "vfork") if "vfork" in attacks.NUMBERS else (attacks.clone, 0),
        (attacks.clone3,),
        (attacks.threads, 16),
    )
    assert ran.protections.processes == "seccomp"
    assert ran.protections.tree_kill == "single_process"
    assert ran.outcomes == [*["EPERM"] * 7, "ENOSYS", 16]


@LEVELS
def test_more_processes_where_they_are_granted(tmp_path: Path, level: Level) -> None:
    """`processes` > 1: forks work, namespaces and siblings do not. Strict wants their number limited."""
    request = asked(tmp_path, level=level, processes=4)
    if level == "strict":
        assert "processes" in run(request).refusal
        return
    ran = run(
        request,
        (attacks.fork,),
        (attacks.spawn,),
        (attacks.output_of, sys.executable, "-I", "-S", "-c", "print(7)"),
        (attacks.threads, 4),
        (attacks.clone, libc.CLONE_PARENT),
        *[(attacks.clone, flag) for flag in NAMESPACES.values()],
        (attacks.clone3,),
    )
    assert ran.protections.processes == "off"
    assert {"processes", "tree_kill"} <= set(ran.protections.missing)
    assert ran.outcomes == [0, 0, "7", 4, *["EPERM"] * 8, "ENOSYS"]


@LEVELS
def test_no_namespace(tmp_path: Path, level: Level) -> None:
    """EXT-29. In level none too: a user namespace gives capabilities, and clears the parent-death signal."""
    calls: list[Call] = [(attacks.unshare, flag) for flag in (*NAMESPACES.values(), 0x80, 0x400)]
    calls += [(attacks.clone, flag | libc.CLONE_THREAD) for flag in NAMESPACES.values()]
    ran = run(asked(tmp_path, level=level), *calls, (attacks.join_namespace, "/proc/self/ns/net"))
    assert ran.outcomes == ["EPERM"] * (len(calls) + 1)


@LEVELS
def test_it_cannot_outlive_its_parent(tmp_path: Path, level: Level) -> None:
    """EXT-34: what the kernel was told stays told."""
    ran = run(
        asked(tmp_path, level=level),
        (attacks.outlive_parent,),
        (attacks.die_with_parent,),
        (libc.parent_death_signal,),
    )
    assert ran.protections.parent_death
    assert ran.outcomes == ["EPERM", None, signal.SIGKILL]


# --- who it is ------------------------------------------------------------------------------------------------


@LEVELS
def test_no_capabilities_even_for_root(tmp_path: Path, level: Level) -> None:
    """EXT-33: none held, none in the bounding set where it could be emptied, none to be had again."""
    ran = run(
        asked(tmp_path, level=level),
        *[(attacks.status, name) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
        (attacks.status, "CapBnd"),
        (attacks.regain_capabilities,),
        (attacks.status, "NoNewPrivs"),
    )
    assert ran.protections.capabilities
    assert ran.protections.user == ("root" if os.getuid() == 0 else str(os.getuid()))
    assert ran.outcomes[:4] == ["0" * 16] * 4
    if os.getuid() == 0:
        assert ran.outcomes[4] == "0" * 16
    assert ran.outcomes[5:] == ["EPERM", "1"]


def test_root_gets_nothing_by_executing(tmp_path: Path) -> None:
    """EXT-33: uid 0 is a user like others, also for the programs it starts."""
    program = (
        "import struct; import web4.worker.sandbox.libc as libc;"
        "sets = bytearray(24); header = bytearray(struct.pack('=Ii', 0x20080522, 0));"
        f"libc.syscall({attacks.NUMBERS['capget']}, libc.address(header), libc.address(sets));"
        "print(sum(sets), [libc.prctl(libc.PR_CAPBSET_READ, one) for one in (0, 21)],"
        " libc.prctl(libc.PR_GET_NO_NEW_PRIVS))"
    )
    code = f"import sys; sys.path[:] = {sys.path!r}; {program}"
    ran = run(asked(tmp_path, processes=2), (attacks.output_of, sys.executable, "-I", "-S", "-c", code))
    bounding = "[0, 0]" if os.getuid() == 0 else "[1, 1]"
    assert ran.outcome == f"0 {bounding} 1"


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory every user can get to; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="web4-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def root_only() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")


@LEVELS
def test_another_user(open_path: Path, level: Level) -> None:
    """EXT-33: all of its ids and groups, for good; the parent-death signal survives the change."""
    root_only()
    ran = run(
        asked(open_path, level=level, user=(65534, 65533)),
        (attacks.numbers_of_user,),
        (attacks.become_root,),
        (libc.parent_death_signal,),
        (attacks.create_and_remove, str(open_path / "tmp" / "new")),
        (attacks.read, "/proc/self/environ"),
        (attacks.change_mode, str(open_path / "tmp")),
    )
    assert ran.protections.user == "65534"
    assert ran.protections.parent_death
    assert ran.protections.missing == ()
    assert ran.outcomes[0] == [65534] * 3 + [65533] * 3
    assert ran.outcomes[1:4] == ["EPERM", signal.SIGKILL, None]
    assert ran.outcomes[4] != "EACCES", "its own entries of /proc are its own"
    assert ran.outcomes[5] is None, "files of a user of its own are no secret of the node's"


def test_a_set_user_id_program_gains_nothing(open_path: Path) -> None:
    """`no_new_privs`: the bit is without effect."""
    root_only()
    request = asked(open_path, user=(65534, 65534), processes=2)
    program = open_path / "extension" / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    ran = run(request, (attacks.output_of, str(program), "-u"))
    assert ran.outcome == "65534"


# --- limits ---------------------------------------------------------------------------------------------------


@LEVELS
def test_limits_are_in_force(tmp_path: Path, level: Level) -> None:
    """Section 6, soft and hard; and what the processes of one user share."""
    expected: dict[int, Any] = {
        resource.RLIMIT_NOFILE: [64, 64],
        resource.RLIMIT_FSIZE: [1024 * 1024] * 2,
        resource.RLIMIT_CPU: [60, 61],
        resource.RLIMIT_CORE: [1, 1],
        resource.RLIMIT_MSGQUEUE: [0, 0],
        resource.RLIMIT_RTPRIO: [0, 0],
    }
    ran = run(
        asked(tmp_path, level=level),
        *[(attacks.limit_of, which) for which in expected],
        (attacks.limit_of, resource.RLIMIT_AS),
        (attacks.raise_limit, resource.RLIMIT_NOFILE, 65),
        (attacks.take_memory, 1024),
        (attacks.write_much, str(tmp_path / "tmp" / "much"), 2),
        (attacks.open_many, 100),
    )
    assert ran.protections.memory == "rlimit"
    assert ran.outcomes[:6] == list(expected.values())
    assert 512 <= ran.outcomes[6][1] / 1024 / 1024 < 1024
    assert ran.outcomes[7].startswith("ValueError")
    assert ran.outcomes[8:] == ["MemoryError: ", "EFBIG", "EMFILE"]


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    """Section 8: core off; of a limit of 0, a core pattern that is a pipe would take no notice."""
    ran = run(asked(tmp_path), (os.chdir, str(tmp_path / "tmp")), (os.abort,))
    assert ran.status == -signal.SIGABRT
    assert list((tmp_path / "tmp").iterdir()) == []

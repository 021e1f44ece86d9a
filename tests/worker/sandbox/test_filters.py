"""What the filters say, for both machines, on either (EXT-29)."""

from __future__ import annotations

import errno
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.worker.sandbox.simulation import ALLOWED, decide
from web4.worker.sandbox import libc
from web4.worker.sandbox.bpf import ARCHITECTURES
from web4.worker.sandbox.calls_allowed import ALLOWED as ALLOW_LIST
from web4.worker.sandbox.calls_denied import DENIED, METADATA
from web4.worker.sandbox.filters import Wish, filter_for
from web4.worker.sandbox.syscalls import numbers

if TYPE_CHECKING:
    from web4.worker.request import Level

PID = 77
MACHINES = pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
LEVELS: tuple[Level, ...] = ("none", "standard", "strict")
NAMED_BY_THE_SPECIFICATION = """
    ptrace process_vm_readv process_vm_writev bpf perf_event_open userfaultfd
    io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key
    mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr setns unshare
    init_module finit_module delete_module kexec_load kexec_file_load open_by_handle_at pidfd_getfd
"""


def wished(
    level: Level, *, forks: bool = False, self_only: bool = True, programs: bool = False, files: bool = False
) -> Wish:
    return Wish(
        level,
        forks=forks,
        network=False,
        memory_files=files,
        self_only=self_only,
        programs=programs,
        shares_user=True,
    )


class Filter:
    def __init__(self, machine: str, wish: Wish) -> None:
        self._numbers = numbers(machine)
        self._program = bytes(filter_for(wish, machine).of(PID))
        self._architecture = ARCHITECTURES[machine]

    def __call__(self, name: str, *arguments: int) -> str | int | None:
        """The answer; None where the machine has no such call."""
        if name not in self._numbers:
            return None
        return decide(self._program, self._numbers[name], arguments, architecture=self._architecture)


@MACHINES
def test_the_deny_list_of_the_specification(machine: str) -> None:
    """EXT-29, in standard and strict, whatever else is wished."""
    for level, *flags in product(("standard", "strict"), *[(False, True)] * 6):
        wish = Wish(level, *flags)  # type: ignore[arg-type]
        shares = wish.shares_user
        asked = Filter(machine, wish)
        for name in (*NAMED_BY_THE_SPECIFICATION.split(), *DENIED.split()):
            assert asked(name) in {errno.EPERM, None}, (name, wish)
        assert asked("clone3") == errno.ENOSYS
        for name in METADATA.split():
            answer = asked(name)
            assert answer in {errno.EPERM, None} if shares else True


@MACHINES
def test_every_call_of_the_lists_is_known(machine: str) -> None:
    """A name that is misspelt would be neither allowed nor denied."""
    everywhere = {*numbers("x86_64"), *numbers("aarch64")}
    for text in (ALLOW_LIST, DENIED, METADATA, NAMED_BY_THE_SPECIFICATION):
        assert set(text.split()) <= everywhere
    assert not set(ALLOW_LIST.split()) & set(DENIED.split())
    assert len(numbers(machine)) > 300


@MACHINES
def test_strict_allows_nothing_it_does_not_name(machine: str) -> None:
    """Section 8: an allow list. What goes by its arguments is denied for arguments that mean nothing."""
    asked = Filter(machine, wished("strict"))
    for name in numbers(machine):
        if asked(name, *[0xD0D0D0] * 6) == ALLOWED:
            assert name in ALLOW_LIST.split(), name


@MACHINES
def test_what_is_newer_than_the_tables_is_absent(machine: str) -> None:
    highest = max(numbers(machine).values())
    for level in LEVELS:
        program = bytes(filter_for(wished(level), machine).of(PID))
        for number in (highest + 1, highest + 100, 0x40000000 | 41, 0xFFFFFFFF, 400):
            assert decide(program, number, architecture=ARCHITECTURES[machine]) == errno.ENOSYS


@MACHINES
@pytest.mark.parametrize("level", LEVELS)
def test_threads_and_forks(machine: str, level: Level) -> None:
    """`processes` (section 6): the flags of a thread as C libraries set them, of a fork, of what nobody may."""
    thread = 0x3D0F00
    fork = 0x1200011
    one, many = Filter(machine, wished(level)), Filter(machine, wished(level, forks=True))
    assert one("clone", thread) == many("clone", thread) == ALLOWED
    assert one("clone", fork) == errno.EPERM
    assert many("clone", fork) == ALLOWED
    for name in ("fork", "vfork"):
        assert one(name) in {errno.EPERM, None}
        assert many(name) in {ALLOWED, None}
    for flag in (1 << bit for bit in range(32) if (1 << bit) & (libc.CLONE_NEW_ANYTHING | libc.CLONE_PARENT)):
        for asked, base in ((one, thread), (many, thread), (many, fork)):
            assert asked("clone", base | flag) == errno.EPERM
    # The kernel looks at 32 bits of the flags: what stands above changes nothing.
    assert one("clone", fork | 1 << 40) == errno.EPERM


@MACHINES
@pytest.mark.parametrize("level", ["standard", "strict"])
def test_signals_by_number(machine: str, level: Level) -> None:
    asked = Filter(machine, wished(level))
    for name in ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
        assert asked(name, PID, 9) == ALLOWED
        for other in (PID + 1, 1, 0xFFFFFFFF, 2**64 - PID):
            assert asked(name, other, PID) == errno.EPERM
    assert asked("pidfd_send_signal", 3, 9) == errno.EPERM
    open_to = Filter(machine, wished(level, self_only=False))
    assert open_to("kill", 1, 9) == open_to("pidfd_send_signal", 3, 9) == ALLOWED


@MACHINES
@pytest.mark.parametrize("level", LEVELS)
def test_sockets_by_argument(machine: str, level: Level) -> None:
    asked = Filter(machine, wished(level))
    for family in range(64):
        assert asked("socket", family, 1) == errno.EACCES
        if family != 1:
            assert asked("socketpair", family, 1) == errno.EACCES
    nonblock_cloexec = 0o2004000
    for kind, answer in ((1, ALLOWED), (5, ALLOWED), (2, errno.EACCES), (3, errno.EACCES), (0, errno.EACCES)):
        assert asked("socketpair", 1, kind | nonblock_cloexec) == answer
    assert asked("sendto", 3, 0x1000, 1, 0, 0, 0) == ALLOWED
    for address in (1, 1 << 32, 1 << 63):
        assert asked("sendto", 3, 0x1000, 1, 0, address, 16) == errno.EACCES


@MACHINES
def test_programs_in_strict(machine: str) -> None:
    python, command = Filter(machine, wished("strict")), Filter(machine, wished("strict", programs=True))
    assert python("execve") == errno.EPERM
    assert command("execve") == ALLOWED
    assert python("execveat") == command("execveat") == errno.EPERM


@MACHINES
def test_memory_that_is_no_address_space(machine: str) -> None:
    """Section 6: where `RLIMIT_AS` is what limits memory, files of memory would go past it."""
    for level in LEVELS:
        asked = Filter(machine, wished(level))
        assert asked("memfd_create", 0, 8) == errno.ENOSYS
        assert asked("shmget") != ALLOWED
        assert asked("memfd_secret") != ALLOWED
    assert Filter(machine, wished("standard", files=True))("memfd_create", 0, 0) == ALLOWED
    strict = Filter(machine, wished("strict", files=True))
    assert strict("memfd_create", 0, 0) == errno.EPERM, "it could be executed as a program"
    assert strict("memfd_create", 0, 8 | 1) == ALLOWED


@MACHINES
@pytest.mark.parametrize("level", LEVELS)
def test_one_table_of_descriptors(machine: str, level: Level) -> None:
    """Section 6: `open_files` holds for a table; a thread, or `close_range`, could have another."""
    asked = Filter(machine, wished(level))
    assert asked("clone", 0x3D0F00 & ~libc.CLONE_FILES) == errno.EPERM
    assert asked("close_range", 3, 0xFFFFFFFF, 0) == asked("close_range", 3, 0xFFFFFFFF, 4) == ALLOWED
    assert asked("close_range", 3, 0xFFFFFFFF, 2) == asked("close_range", 3, 3, 6) == errno.EPERM
    assert asked("unshare", libc.CLONE_FILES) == errno.EPERM


@MACHINES
@pytest.mark.parametrize("level", ["standard", "strict"])
def test_descriptors_of_everybody(machine: str, level: Level) -> None:
    asked = Filter(machine, wished(level))
    for command in (1024, 1031, 8, 10, 15):  # F_SETLEASE, F_SETPIPE_SZ, F_SETOWN, F_SETSIG, F_SETOWN_EX
        assert asked("fcntl", 3, command) == errno.EPERM
    for command in (0, 1, 2, 3, 4, 5, 6, 7, 9, 1030, 1032, 1033):
        assert asked("fcntl", 3, command) == ALLOWED
    assert asked("get_robust_list", 0) == ALLOWED
    assert asked("get_robust_list", PID + 1) == errno.EPERM


def test_no_filter_for_a_machine_that_is_not_known() -> None:
    assert numbers("riscv64") == {}
    with pytest.raises(ValueError, match="no seccomp on"):
        filter_for(wished("standard"), "riscv64")

# ruff: noqa: PTH101, PTH104, PTH108, PTH123 - system calls are what is meant here
"""What an extension might try. Each function is one attempt: it gives what it got, or raises what it met."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import threading
from pathlib import Path

from web4.worker.sandbox import libc
from web4.worker.sandbox.syscalls import numbers

NUMBERS = numbers()


def call(name: str, *arguments: int) -> int:
    """A system call by name, with no library in between."""
    return libc.syscall(NUMBERS[name], *arguments)


def text(value: str) -> int:
    """The address of a path, which is never freed."""
    _KEPT.append(os.fsencode(value) + b"\0")
    return libc.address(_KEPT[-1])


_KEPT: list[bytes] = []


# --- files ----------------------------------------------------------------------------------------------------


def read(path: str) -> str:
    return Path(path).read_text(errors="replace")[:64]


def write(path: str) -> None:
    Path(path).write_text("overwritten")


def create_and_remove(path: str) -> None:
    Path(path).write_text("new")
    Path(path).unlink()


def read_through_path_descriptor(path: str) -> str:
    """`O_PATH` needs no right; reading must need one still."""
    handle = os.open(path, os.O_PATH)
    with open(f"/proc/self/fd/{handle}") as file:
        return file.read(64)


def read_from_directory_descriptor(directory: str, name: str) -> str:
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    return os.read(os.open(name, os.O_RDONLY, dir_fd=handle), 64).decode()


def read_after_chdir(directory: str, name: str) -> str:
    os.chdir(directory)
    return read(name)


def read_through_symlink(tmp: str, target: str) -> str:
    link = Path(tmp, "link")
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(target)
    return read(str(link))


def read_through_hard_link(tmp: str, target: str) -> str:
    Path(tmp, "hard").hardlink_to(target)
    return read(str(Path(tmp, "hard")))


def move(source: str, target: str) -> None:
    os.rename(source, target)


def exchange(one: str, other: str) -> None:
    here = 0xFFFFFF9C  # AT_FDCWD
    call("renameat2", here, text(one), here, text(other), 2)


def truncate(path: str) -> None:
    os.truncate(path, 0)


def empty_while_reading(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))


def make_device(path: str) -> None:
    os.mknod(path, 0o020600, os.makedev(1, 1))  # /dev/mem


def open_by_handle(path: str) -> int:
    handle = bytearray(struct.pack("=Ii", 128, 0) + bytes(128))
    mount = bytearray(4)
    at = libc.address(handle)
    call("name_to_handle_at", 0xFFFFFF9C, text(path), at, libc.address(mount), 0)
    return call("open_by_handle_at", os.open("/", os.O_PATH), at, os.O_RDONLY)


def watch(path: str) -> int:
    descriptor = call("inotify_init1", 0)
    return call("inotify_add_watch", descriptor, text(path), 0xFFF)


def change_mode(path: str) -> None:
    os.chmod(path, 0o777)


def change_mode_of_open(path: str) -> None:
    os.fchmod(os.open(path, os.O_RDONLY), 0o777)


def change_owner(path: str) -> None:
    os.chown(path, os.getuid(), os.getgid())


def set_attribute(path: str) -> None:
    os.setxattr(path, "user.web4", b"1")


def execute_memory(program: str) -> None:
    """A program that has no file: replaces this process when it works."""
    descriptor = os.memfd_create("program", 0)
    os.write(descriptor, Path(program).read_bytes())
    os.execv(f"/proc/self/fd/{descriptor}", ["program", "-c", "pass"])


def execute(program: str, *arguments: str) -> None:
    os.execv(program, [program, *arguments])


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


# --- network --------------------------------------------------------------------------------------------------


def make_socket(family: int, kind: int, protocol: int = 0) -> None:
    socket.socket(family, kind, protocol).close()


def connect_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path if path[0] != "@" else "\0" + path[1:])


def pair(kind: int) -> str:
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    with one, other:
        one.send(b"hello")
        return other.recv(16).decode()


def reconnect_pair(path: str) -> None:
    one, _ = socket.socketpair()
    one.connect(path)


def send_from_pair(path: str) -> None:
    one, _ = socket.socketpair()
    one.sendto(b"hello", path)


def listen_on_pair(path: str) -> None:
    one, _ = socket.socketpair()
    one.bind(path)


def make_ring() -> int:
    parameters = bytearray(248)
    return call("io_uring_setup", 8, libc.address(parameters))


def look_up(name: str) -> list[str]:
    return [str(one[4][0]) for one in socket.getaddrinfo(name, 80)]


# --- other processes ------------------------------------------------------------------------------------------


def signal_to(pid: int, number: int) -> None:
    os.kill(pid, number)


def signal_group(group: int, number: int) -> None:
    os.killpg(group, number)


def signal_thread(process: int, thread: int, number: int) -> None:
    call("tgkill", process, thread, number)


def signal_bare_thread(thread: int, number: int) -> None:
    call("tkill", thread, number)


def queue_signal(name: str, pid: int, number: int) -> None:
    information = bytearray(struct.pack("=iii", number, 0, -1) + bytes(116))  # SI_QUEUE
    more = (pid, pid) if name == "rt_tgsigqueueinfo" else (pid,)
    call(name, *more, number, libc.address(information))


def signal_descriptor(pid: int, number: int) -> None:
    signal.pidfd_send_signal(os.pidfd_open(pid), number)


def signal_as_owner(pid: int, number: int) -> None:
    """Who owns a descriptor's events gets the signal of one's choice."""
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, pid)
    fcntl.fcntl(reader, fcntl.F_SETSIG, number)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(writer, b"now")


def signal_as_owner_by_ioctl(pid: int) -> None:
    one, _ = socket.socketpair()
    fcntl.ioctl(one, 0x8902, struct.pack("=i", pid))  # SIOCSPGRP


def trace(request: int, pid: int) -> int:
    return call("ptrace", request, pid, 0, 0)


def read_memory(pid: int) -> int:
    buffer = bytearray(8)
    here = struct.pack("=QQ", libc.address(buffer), 8)
    return call("process_vm_readv", pid, libc.address(here), 1, libc.address(here), 1, 0)


def take_descriptor(pid: int) -> int:
    return call("pidfd_getfd", os.pidfd_open(pid), 0, 0)


def lower_limits_of(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def lower_priority_of(pid: int) -> None:
    os.setpriority(os.PRIO_PROCESS, pid, 19)


def lower_priority_of_user() -> None:
    os.setpriority(os.PRIO_USER, 0, 19)


def lower_io_priority_of(pid: int) -> None:
    call("ioprio_set", 1, pid, 3 << 13)


def pin(pid: int) -> None:
    os.sched_setaffinity(pid, {0})


def schedule(pid: int) -> None:
    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


# --- more processes -------------------------------------------------------------------------------------------


def fork() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def spawn() -> int:
    return os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1]


def clone(flags: int) -> None:
    """With flags that do not go together: the kernel would answer EINVAL, and start nothing."""
    call("clone", flags | 0x800, 0, 0, 0, 0)


def clone3() -> None:
    arguments = bytearray(88)
    call("clone3", libc.address(arguments), 1)


def threads(count: int) -> int:
    seen: list[int] = []
    started = [threading.Thread(target=seen.append, args=(number,)) for number in range(count)]
    for one in started:
        one.start()
    for one in started:
        one.join()
    return len(seen)


def outlive_parent() -> None:
    libc.set_parent_death_signal(0)


def die_with_parent() -> None:
    libc.set_parent_death_signal(signal.SIGKILL)


# --- the kernel -----------------------------------------------------------------------------------------------


def unshare(flags: int) -> None:
    call("unshare", flags)


def join_namespace(path: str) -> None:
    call("setns", os.open(path, os.O_RDONLY), 0)


def regain_capabilities() -> None:
    header = struct.pack("=Ii", 0x20080522, 0)
    every = struct.pack("=6I", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x1FF, 0x1FF, 0x1FF)
    call("capset", libc.address(header), libc.address(every))


def become_root() -> None:
    os.setresuid(0, 0, 0)


def without_names(name: str, *arguments: int) -> str:
    """A call with arguments that would be wrong or harmless: only the filter can say EPERM before the kernel looks."""
    try:
        return str(call(name, *arguments))
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def x32(name: str, *arguments: int) -> int:
    return libc.syscall(0x40000000 | NUMBERS[name], *arguments)


def of_i386() -> int:
    """getpid by the system call gate of 32-bit programs."""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return int(function())


def type_into_terminal() -> None:
    reader, _ = os.pipe()
    fcntl.ioctl(reader, 0x5412, b"x")  # TIOCSTI


def status(field: str) -> str:
    with open("/proc/self/status") as file:
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(field + ":"))


def limit_of(which: int) -> tuple[int, int]:
    return resource.getrlimit(which)


def numbers_of_user() -> tuple[int, ...]:
    return (*os.getresuid(), *os.getresgid(), *os.getgroups())


def raise_limit(which: int, value: int) -> None:
    resource.setrlimit(which, (value, value))


def take_memory(mebibytes: int) -> int:
    return len(bytearray(mebibytes * 1024 * 1024))


def open_many(count: int) -> None:
    kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    assert not kept


def write_much(path: str, mebibytes: int) -> None:
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(mebibytes * 16):
                file.write(bytes(65_536))
    finally:
        os.unlink(path)

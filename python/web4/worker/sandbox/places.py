"""Which paths a worker may touch, and which no grant may reach (section 8, EXT-31).

Paths are judged once they are open: a descriptor cannot be turned into something else behind the judge's back. What
every worker may read is judged once, in the template, and only looked at again if it has changed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from web4.worker.request import CommandEntry
from web4.worker.sandbox import landlock
from web4.worker.sandbox.errors import Unprotected
from web4.worker.sandbox.programs import programs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from web4.worker.request import WorkerRequest

PROGRAMS: Final = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
)
"""Programs and libraries: read in standard and strict, executed in standard. This interpreter's own join them."""
FILES: Final = (
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",
)
"""Read, never executed. No accounts, no names of machines, no keys."""
DEVICES: Final = {
    "/dev/null": landlock.READ_FILE | landlock.WRITE_FILE,
    "/dev/zero": landlock.READ_FILE | landlock.WRITE_FILE,
    "/dev/full": landlock.READ_FILE | landlock.WRITE_FILE,
    "/dev/random": landlock.READ_FILE,
    "/dev/urandom": landlock.READ_FILE,
}
_INTERPRETER: Final = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
ITSELF: Final = "/proc/self"
_HOMES: Final = ("/home", "/root", "/var/home")

Identity = tuple[int, int, bool]
"""Device, number, and whether it is a directory."""


class Place(NamedTuple):
    """A path and the rights beneath it.

    Args:
        path: Absolute.
        rights: Landlock's.
        known: What it was when it was judged; None for a path to judge when it is open.
        granted: Whether a manifest asked for it.
        own: Whether the node made it for this worker; then it may lie in a hidden directory, the node's data say.
    """

    path: str
    rights: int
    known: Identity | None = None
    granted: bool = False
    own: bool = False

    @property
    def needed(self) -> bool:
        """Whether the worker cannot do without."""
        return self.known is None and self.path != ITSELF


def within(path: str, directory: str) -> bool:
    """Whether a resolved path is the directory or lies in it."""
    return directory in {path, "/"} or path.startswith(directory + "/")


def resolved(paths: Iterable[str]) -> tuple[str, ...]:
    """Real names, for the functions below. The paths need not exist yet."""
    return tuple(os.path.realpath(one) for one in paths)


@functools.lru_cache(maxsize=32)
def hidden_names(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Real names of what is hidden: looked up once, for it is the node's own and stays where it is."""
    return resolved(paths)


@functools.lru_cache(maxsize=32)
def system_places(hidden: tuple[str, ...], *, execute: bool) -> tuple[Place, ...]:
    """What every worker may read, of what is here. Each once: what lies in another is left out.

    Args:
        hidden: Real names of what no worker may read.
        execute: Whether programs may be executed.

    Raises:
        Unprotected: It covers what is hidden, or lies in it.
    """
    rights = landlock.READ | (landlock.EXECUTE if execute else 0)
    needed = resolved((*PROGRAMS, *_INTERPRETER))
    # A directory of `sys.path` that holds what is hidden (a checkout, say) is left out: it is not worth a refusal.
    useful = [
        one for one in resolved(filter(None, sys.path)) if not any(_collide(one, name) for name in hidden)
    ]
    found: list[Place] = []
    for path in sorted({*needed, *useful}):
        if not any(within(path, other.path) for other in found):
            found.append(Place(path, rights, _identity(path)))
    programs = tuple(found)
    for path in resolved(FILES):
        if not any(within(path, other.path) for other in programs):
            found.append(Place(path, landlock.READ, _identity(path)))
    found += [Place(path, device, _identity(path)) for path, device in DEVICES.items()]
    here = tuple(one for one in found if one.known)
    judge = Judge(hidden, "what no worker may read")
    for one in here:
        judge.look(one, one.path, one.known)
    return here


_program: list[str] = []


def tell_program(directories: Iterable[str]) -> None:
    """Say which directories the node imports from and workers do not: told once, before the first of them."""
    _program.extend(directories)


@functools.lru_cache(maxsize=1)
def run_by_the_node() -> tuple[str, ...]:
    """Real names of what the node itself runs: who writes there is the node, when it starts the next time."""
    return tuple(dict.fromkeys(resolved((*PROGRAMS, *_INTERPRETER, *filter(None, sys.path), *_program))))


def places_of(request: WorkerRequest, hidden: tuple[str, ...]) -> Iterator[Place]:
    """Everything the worker may touch, by the table of section 8."""
    execute = request.sandbox.level != "strict"
    read = landlock.READ | (landlock.EXECUTE if execute else 0)
    yield from system_places(hidden, execute=execute)
    yield Place(ITSELF, landlock.READ)
    yield Place(request.directory, read, own=True)
    yield Place(request.tmp, read | landlock.WRITE, own=True)
    for path in request.sandbox.read:
        yield Place(path, read, granted=True)
    for path in request.sandbox.write:
        yield Place(path, read | landlock.WRITE, granted=True)
    if isinstance(request.entry, CommandEntry):
        for path in programs_of(request):
            yield Place(path, landlock.READ | landlock.EXECUTE, own=True)


@functools.lru_cache(maxsize=8)
def homes(user: int) -> tuple[str, ...]:
    """Where people keep their files: the usual places, and the home of this user.

    It reads the file of accounts, and asks no name service: those may leave threads and sockets in a template.
    """
    found = list(_HOMES)
    with contextlib.suppress(OSError), open("/etc/passwd", encoding="utf-8", errors="replace") as accounts:  # noqa: PTH123
        fields = [line.rstrip("\n").split(":") for line in accounts]
        found += [one[5] for one in fields if len(one) > 5 and one[2] == str(user)]
    return tuple(one for one in dict.fromkeys(resolved(filter(os.path.isabs, found))) if one != "/")


class Judge:
    """Knows what is out of bounds, by name and by identity, so that a second mount of it is found too.

    Args:
        names: Real names of what no grant may reach; they need not exist yet.
        what: Why, for the error.
    """

    def __init__(self, names: tuple[str, ...], what: str) -> None:
        self._names = names
        self._what = what
        self._itself, self._above = _identities(names)

    def look(self, place: Place, real: str, identity: Identity | None) -> None:
        """Judge a path by its real name and what it is.

        Raises:
            Unprotected: It covers what is out of bounds, or lies in it and is not the worker's own.
        """
        if identity in self._above or any(within(one, real) for one in self._names):
            raise Unprotected(f"{place.path} covers {self._what}")
        if place.own:
            return
        if any(within(real, one) for one in self._names):
            raise Unprotected(f"{place.path} lies in {self._what}")
        if place.granted and any(_identity(above) in self._itself for above in _upwards(real)):
            raise Unprotected(f"{place.path} lies in {self._what}, by another name of it")


@functools.lru_cache(maxsize=32)
def _identities(names: tuple[str, ...]) -> tuple[frozenset[Identity], frozenset[Identity]]:
    """What these are, and they and everything above them."""
    itself = frozenset(filter(None, map(_identity, names)))
    return itself, frozenset(filter(None, (_identity(above) for one in names for above in _upwards(one))))


def _collide(one: str, other: str) -> bool:
    return within(one, other) or within(other, one)


def _upwards(path: str) -> Iterator[str]:
    """The path and every directory above it."""
    while True:
        yield path
        parent = os.path.dirname(path)  # noqa: PTH120 - pathlib would be one more import of the template
        if parent == path:
            return
        path = parent


def _identity(path: str) -> Identity | None:
    try:
        return identity_of(path)
    except OSError:
        return None


def identity_of(opened: int | str) -> Identity:
    """What a path or descriptor is.

    Raises:
        OSError: There is none.
    """
    found = os.stat(opened)  # noqa: PTH116
    return (found.st_dev, found.st_ino, stat.S_ISDIR(found.st_mode))


def real_path(path: str, descriptor: int) -> str:
    """The kernel's own name of an open path."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    except OSError:
        return os.path.realpath(path)

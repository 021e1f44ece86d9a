"""Which paths a worker may touch, and which no grant may reach (section 8, EXT-31).

Paths are judged once they are open: a descriptor cannot be turned into something else behind the judge's back.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from web4.worker.request import PythonEntry
from web4.worker.sandbox import landlock
from web4.worker.sandbox.errors import Unprotected
from web4.worker.sandbox.programs import programs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from web4.worker.request import WorkerRequest

SYSTEM: Final = (
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
"""Programs and libraries: read everywhere, executed in standard."""
SYSTEM_FILES: Final = (
    "/etc/alternatives",
    "/etc/debian_version",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/localtime",
    "/etc/lsb-release",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/random/uuid",
    "/proc/sys/vm/max_map_count",
    "/proc/sys/vm/overcommit_memory",
    "/proc/uptime",
    "/proc/version",
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
ITSELF: Final = "/proc/self"
_HOMES: Final = ("/home", "/root")

Identity = tuple[int, int]


class Place(NamedTuple):
    """A path and the rights beneath it.

    Args:
        path: Absolute.
        rights: Landlock's.
        needed: Whether it must be there.
        granted: Whether a manifest asked for it.
        own: Whether the node made it for this worker; then it may lie in a hidden directory, the node's data say.
    """

    path: str
    rights: int
    needed: bool = False
    granted: bool = False
    own: bool = False


def within(path: str, directory: str) -> bool:
    """Whether a resolved path is the directory or lies in it."""
    return directory in {path, "/"} or path.startswith(directory + "/")


@functools.lru_cache(maxsize=1)
def system_places() -> tuple[tuple[str, bool], ...]:
    """What of `SYSTEM` and of this interpreter is here, resolved, each once; with each whether it may be left out."""
    found: dict[str, bool] = {}
    for path in (*SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix):
        if os.path.exists(path):  # noqa: PTH110 - pathlib would be one more import of the template
            found[os.path.realpath(path)] = False
    for path in sys.path:
        if path and os.path.exists(path):  # noqa: PTH110
            found.setdefault(os.path.realpath(path), True)
    kept: dict[str, bool] = {}
    for path, optional in sorted(found.items()):
        if not any(within(path, other) for other in kept):
            kept[path] = optional
    return tuple(kept.items())


@functools.lru_cache(maxsize=8)
def homes(user: int) -> tuple[str, ...]:
    """Where people keep their files: the usual places, and the home of this user."""
    found = [*_HOMES]
    with contextlib.suppress(KeyError):
        found.append(os.path.realpath(pwd.getpwuid(user).pw_dir))
    return tuple(one for one in dict.fromkeys(found) if one != "/")


def places_of(request: WorkerRequest) -> Iterator[Place]:
    """Everything the worker may touch, by the table of section 8."""
    strict = request.sandbox.level == "strict"
    execute = 0 if strict else landlock.EXECUTE
    read = landlock.READ | execute
    write = read | landlock.WRITE
    hidden = [os.path.realpath(one) for one in request.sandbox.hidden]
    for path, optional in system_places():
        # A directory of `sys.path` that holds what is hidden (a checkout, say) is not worth a refusal.
        if not (optional and any(_collide(path, one) for one in hidden)):
            yield Place(path, read)
    for path in SYSTEM_FILES:
        yield Place(path, landlock.READ)
    for path, rights in DEVICES.items():
        yield Place(path, rights)
    yield Place(ITSELF, landlock.READ)
    yield Place(request.directory, read, needed=True, own=True)
    yield Place(request.tmp, write, needed=True, own=True)
    for path in request.sandbox.read:
        yield Place(path, read, needed=True, granted=True)
    for path in request.sandbox.write:
        yield Place(path, write, needed=True, granted=True)
    if not isinstance(request.entry, PythonEntry):
        for path in programs_of(request):
            yield Place(path, landlock.READ | landlock.EXECUTE, needed=True)


def _collide(one: str, other: str) -> bool:
    return within(one, other) or within(other, one)


class Judge:
    """Knows what is out of bounds, by name and by identity, so that a second mount of it is found too.

    Args:
        paths: What no grant may reach; they need not exist yet.
        what: Why, for the error.
    """

    def __init__(self, paths: Iterable[str], what: str) -> None:
        self._names = [os.path.realpath(one) for one in paths]
        self._what = what
        self._itself = {_identity(one) for one in self._names} - {None}
        self._above = {_identity(above) for one in self._names for above in _upwards(one)} - {None}

    def look(self, place: Place, descriptor: int) -> None:
        """Judge an open path.

        Raises:
            Unprotected: It covers what is out of bounds, or lies in it and is not the worker's own.
        """
        real = _real_path(place.path, descriptor)
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) in self._above or any(within(one, real) for one in self._names):
            raise Unprotected(f"{place.path} covers {self._what}")
        if place.own:
            return
        if any(within(real, one) for one in self._names):
            raise Unprotected(f"{place.path} lies in {self._what}")
        if place.granted and any(_identity(above) in self._itself for above in _upwards(real)):
            raise Unprotected(f"{place.path} lies in {self._what}, by another name of it")


def _upwards(path: str) -> Iterator[str]:
    """The path and every directory above it."""
    while True:
        yield path
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent == path:
            return
        path = parent


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _real_path(path: str, descriptor: int) -> str:
    """The kernel's own name of an open path."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    except OSError:
        return os.path.realpath(path)

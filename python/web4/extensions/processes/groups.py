"""Control groups from the node's side: where they can be made, how a tree in one is killed, what they tell (EXT-22).

A worker makes and joins its own, below a parent that the node made once. What is used is what a throw-away group
turned out to give; nothing of the machine's own set-up is changed.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

CONTROLLERS: Final = ("memory", "pids")
_REMOVE_SECONDS: Final = 5.0


class Hierarchy(NamedTuple):
    """A hierarchy in which this process may make groups.

    Args:
        root: Of the groups of this run of the node: `web4.<instance>`, below the node's own group.
        version: 1 or 2.
        controllers: Of `CONTROLLERS`, those it has.
        kills: Whether it has `cgroup.kill`.
    """

    root: Path
    version: int
    controllers: frozenset[str]
    kills: bool


class Root(NamedTuple):
    """A parent group to be tried."""

    path: Path
    version: int
    controllers: frozenset[str]


def plan_roots(instance: str) -> tuple[Root, ...]:
    """The parent groups that a run could have: one below each group that this process is in."""
    return tuple(Root(own / f"web4.{instance}", version, names) for version, names, own in _own_groups())


def make_roots(planned: tuple[Root, ...]) -> tuple[Hierarchy, ...]:
    """Make those of them that can be made, and are of use. Blocks for a millisecond or two."""
    found: list[Hierarchy] = []
    for root in planned:
        try:
            root.path.mkdir(mode=0o755)
        except OSError:
            continue
        hierarchy = _tried(*root)
        if hierarchy is None:
            with suppress(OSError):
                root.path.rmdir()
        else:
            found.append(hierarchy)
    return tuple(found)


def remove_root(root: Path) -> int:
    """Kill whoever is left below a parent group, and remove it; how many groups went. Blocks, for seconds at most."""
    removed = 0
    if not root.name.startswith("web4."):
        return removed
    end = time.monotonic() + _REMOVE_SECONDS
    while root.exists() and time.monotonic() < end:
        for group in (*root.glob("*/"), root):
            if group != root:
                _empty(group)
            with suppress(OSError):
                group.rmdir()
                removed += 1
        if root.exists():
            time.sleep(0.005)
    return removed


def _empty(group: Path) -> None:
    with suppress(OSError):
        (group / "cgroup.kill").write_text("1")
        return
    for pid in _words(group / "cgroup.procs") - {"0"}:  # 0 is one of another namespace, and no number to kill
        with suppress(OSError):
            os.kill(int(pid), signal.SIGKILL)


def _tried(root: Path, version: int, controllers: frozenset[str]) -> Hierarchy | None:
    """What groups below `root` give, as a throw-away one shows; None if nothing of use."""
    if version == 2:
        for name in _words(root / "cgroup.controllers") & set(CONTROLLERS):
            with suppress(OSError):
                (root / "cgroup.subtree_control").write_text(f"+{name}")
        controllers = frozenset(_words(root / "cgroup.subtree_control") & set(CONTROLLERS))
    probe = root / "probe"
    try:
        probe.mkdir()
    except OSError:
        return None
    try:
        writable = os.access(probe / "cgroup.procs", os.W_OK)
        kills = os.access(probe / "cgroup.kill", os.W_OK)
    finally:
        probe.rmdir()
    return Hierarchy(root, version, controllers, kills) if writable and (kills or controllers) else None


def _own_groups() -> list[tuple[int, frozenset[str], Path]]:
    """The groups this process is in: version, controllers of interest (version 1), directory."""
    mounts: dict[tuple[int, str], Path] = {}
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            kind, _source, options = after.split(" ", 2)
            place = Path(before.split(" ")[4])
            if kind == "cgroup2":
                mounts[2, ""] = place
            elif kind == "cgroup":
                mounts.update({(1, name): place for name in options.split(",") if name in CONTROLLERS})
    found: list[tuple[int, frozenset[str], Path]] = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, names, path = line.split(":", 2)
            wanted = frozenset(names.split(",")) & set(CONTROLLERS)
            version = 2 if number == "0" else 1
            name = "" if version == 2 else next(iter(sorted(wanted)), None)
            if name is not None and (version, name) in mounts:
                found.append((version, frozenset(wanted), mounts[version, name] / path.lstrip("/")))
    return found


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()


class WorkerGroups:
    """The groups of one worker; it has made them itself, or has not.

    Args:
        hierarchies: Those to use.
        name: Of its directory in each.
    """

    def __init__(self, hierarchies: tuple[Hierarchy, ...], name: str) -> None:
        self._directories = [(hierarchy, f"{hierarchy.root}/{name}") for hierarchy in hierarchies]

    @property
    def directories(self) -> tuple[str, ...]:
        """One in each hierarchy."""
        return tuple(directory for _, directory in self._directories)

    def kill(self) -> None:
        """Kill every process in them at once, where the kernel does that."""
        for hierarchy, directory in self._directories:
            if hierarchy.kills:
                with suppress(OSError):
                    _write(f"{directory}/cgroup.kill", b"1")

    def processes(self) -> list[int] | None:
        """Who is in them; None where there is no group to ask."""
        for _, directory in self._directories:
            said = _read(f"{directory}/cgroup.procs")
            if said is not None:
                return [int(word) for word in said.split()]
        return None

    def cpu_ns(self) -> int | None:
        """Processor time of all that were ever in them, nanoseconds; None where nobody counts."""
        for hierarchy, directory in self._directories:
            if hierarchy.version == 2:
                said = _read(f"{directory}/cpu.stat")
                if said is not None and said.startswith(b"usage_usec "):
                    return int(said.split(None, 2)[1]) * 1000
        return None

    def peak_memory(self) -> int | None:
        """The most that they held, bytes."""
        return self._number("memory.peak", "memory.max_usage_in_bytes")

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed a process of theirs for want of memory."""
        for _, directory in self._directories:
            for name in ("memory.events", "memory.oom_control"):
                words = (_read(f"{directory}/{name}") or b"").split()
                if b"oom_kill" in words and int(words[words.index(b"oom_kill") + 1]) > 0:
                    return True
        return False

    def remove(self) -> bool:
        """Remove those that nobody is in; whether none is left."""
        left = []
        for hierarchy, directory in self._directories:
            try:
                os.rmdir(directory)  # noqa: PTH106 - strings: this is on the path of every exit
            except FileNotFoundError:
                continue
            except OSError:
                left.append((hierarchy, directory))
        self._directories = left
        return not left

    def _number(self, *names: str) -> int | None:
        for _, directory in self._directories:
            for name in names:
                said = _read(f"{directory}/{name}")
                if said is not None:
                    return int(said)
        return None


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return b"".join(iter(lambda: os.read(descriptor, 65536), b""))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)

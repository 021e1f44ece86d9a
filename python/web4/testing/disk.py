"""A disk that fails, under the real engine: what SQLite writes through it can be torn, reordered and lost.

`SimulatedDisk` is a file layer (VFS) of SQLite. Files lie where their names say, as the page cache would show them;
what a loss of power would leave of them is kept in memory beside that. Nothing is ever really synced, so thousands of
crashes take seconds. Memory shared between connections, and locks, are the system's own.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import apsw

Fault = Literal["cut", "sync", "write", "full"]
"""`cut`: the power goes. `sync`: EIO from fsync. `write`: EIO from a write. `full`: no space for a write."""

SECTOR: Final = 512
"""What a disk writes as a whole."""


@dataclass(slots=True)
class _Image:
    """One file: what is on the platter, and what was written since and not synced, in order."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Offset and bytes of a write; or the new size, and None, of a truncation."""

    def apply(self, offset: int, data: bytes | None) -> None:
        if data is None:
            del self.durable[offset:]
            return
        if len(self.durable) < offset:
            self.durable.extend(bytes(offset - len(self.durable)))
        self.durable[offset : offset + len(data)] = data

    def settle(self) -> None:
        """All of it reaches the disk."""
        for offset, data in self.pending:
            self.apply(offset, data)
        self.pending.clear()

    def scatter(self, chance: random.Random) -> None:
        """Some of it reaches the disk: any sectors of any writes, whatever their order."""
        luck = chance.random()  # from almost nothing to almost everything
        for offset, data in self.pending:
            if data is None:
                if chance.random() < luck:
                    self.apply(offset, None)
                continue
            begin = 0
            while begin < len(data):
                # Sectors lie where the disk has them, not where a write begins.
                end = min(len(data), begin + SECTOR - (offset + begin) % SECTOR)
                if chance.random() < luck:
                    self.apply(offset + begin, data[begin:end])
                begin = end
        self.pending.clear()


class _Machine:
    """What is common to a disk and its files: power, faults, chance, and what every file's disk holds."""

    def __init__(self, seed: int | str, capacity: int | None) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.capacity = capacity
        self.images: dict[str, _Image] = {}
        self.armed: tuple[Fault, int] | None = None
        self.mutex = threading.RLock()
        self.off = False
        self.writes = 0
        self.syncs = 0
        self.struck = 0

    def require_power(self) -> None:
        if self.off:
            raise _failure(apsw.IOError, apsw.SQLITE_IOERR)

    def strikes(self, *kinds: Fault) -> Fault | None:
        """The fault that strikes this call, which is of `kinds`."""
        if self.armed is None:
            return None
        fault, after = self.armed
        if fault != "cut" and fault not in kinds:
            return None
        if after:
            self.armed = (fault, after - 1)
            return None
        self.armed = None
        self.struck += 1
        self.off = fault == "cut"
        return fault

    def no_room(self, end: int, size: int) -> bool:
        """Whether a file of `size` bytes cannot be made to end at `end`."""
        if self.capacity is None or end <= size:
            return False
        used = sum(Path(name).stat().st_size for name in self.images if Path(name).exists())
        return used + end - size > self.capacity


class SimulatedDisk(apsw.VFS):
    """A disk to open a journal on: `open_sqlite(directory, vfs=disk.name)`.

    Faults are armed one at a time and strike once. Everything random comes from the seed; the calls it is
    drawn for come in one order as long as one connection writes.

    Args:
        name: Of the file layer; one is unlike any other as long as it lives.
        seed: Of what a power cut leaves.
        capacity: How many bytes all files may have together; None for any number.
    """

    def __init__(self, name: str, *, seed: int | str, capacity: int | None = None) -> None:
        super().__init__(name, "")
        self.name = name
        self._machine = _Machine(seed, capacity)

    # --- what a test does -----------------------------------------------------------------------------------

    def arm(self, fault: Fault, *, after: int = 0) -> None:
        """Have `fault` strike once, after as many harmless calls of its kind: writes and syncs for a `cut`."""
        self._machine.armed = (fault, after)

    def disarm(self) -> bool:
        """Take back a fault that did not strike; whether there was one."""
        there = self._machine.armed is not None
        self._machine.armed = None
        return there

    def cut(self) -> None:
        """Cut the power: from now on everything fails, and what was not synced is at the mercy of the seed."""
        with self._machine.mutex:
            self._machine.off = True
            self._machine.armed = None

    def restore(self) -> None:
        """Bring the power back. Every connection must have been closed.

        The files are then what the disk kept of them; memory shared between connections is gone.
        """
        machine = self._machine
        with machine.mutex:
            for name, image in sorted(machine.images.items()):
                image.scatter(machine.chance)
                Path(name).write_bytes(image.durable)
                if name.endswith("-wal"):
                    Path(name.removesuffix("wal") + "shm").unlink(missing_ok=True)
            machine.off = False

    @property
    def off(self) -> bool:
        """Whether the power is off: everything fails until `restore`."""
        return self._machine.off

    @property
    def struck(self) -> int:
        """How many armed faults have struck."""
        return self._machine.struck

    @property
    def calls(self) -> int:
        """How many writes, truncations and syncs there were."""
        return self._machine.writes + self._machine.syncs

    @property
    def capacity(self) -> int | None:
        """How many bytes all files may have together."""
        return self._machine.capacity

    @capacity.setter
    def capacity(self, capacity: int | None) -> None:
        self._machine.capacity = capacity

    # --- what the engine does -------------------------------------------------------------------------------

    def xOpen(  # noqa: N802 - the engine's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file; see `apsw.VFS.xOpen`."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        machine = self._machine
        with machine.mutex:
            machine.require_power()
            if path is None or name is None:
                raise _failure(apsw.IOError, apsw.SQLITE_IOERR)  # a journal has no temporary files
            file = _File(machine, path, name, flags)
            if path not in machine.images:
                machine.images[path] = _Image(bytearray(Path(path).read_bytes()))
            return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - the engine's name
        """Delete a file, at once and for good."""
        with self._machine.mutex:
            self._machine.require_power()
            self._machine.images.pop(filename, None)
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    """One open file. Reads are the system's; writes are noted on their way to it."""

    def __init__(self, machine: _Machine, path: str, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._machine = machine
        self._path = path

    @property
    def _image(self) -> _Image:
        return self._machine.images[self._path]

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - the engine's name
        """See `apsw.VFSFile.xRead`."""
        self._machine.require_power()
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - the engine's name
        """See `apsw.VFSFile.xWrite`."""
        machine = self._machine
        with machine.mutex:
            machine.require_power()
            machine.writes += 1
            fault = machine.strikes("write", "full")
            if fault is None and machine.no_room(offset + len(data), super().xFileSize()):
                fault = "full"
            if fault is not None:
                data = data[: machine.chance.randrange(len(data))]  # as much as was taken before it failed
            if data:
                super().xWrite(data, offset)
                self._image.pending.append((offset, bytes(data)))
        if fault == "full":
            raise _failure(apsw.FullError, apsw.SQLITE_FULL)
        if fault is not None:
            raise _failure(apsw.IOError, apsw.SQLITE_IOERR_WRITE)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - the engine's name
        """See `apsw.VFSFile.xTruncate`."""
        machine = self._machine
        with machine.mutex:
            machine.require_power()
            machine.writes += 1
            if machine.strikes("write"):
                raise _failure(apsw.IOError, apsw.SQLITE_IOERR_TRUNCATE)
            super().xTruncate(newsize)
            self._image.pending.append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802 - the engine's name
        """See `apsw.VFSFile.xSync`. When it fails, what was to be synced is called clean and never written."""
        machine = self._machine
        with machine.mutex:
            machine.require_power()
            machine.syncs += 1
            fault = machine.strikes("sync")
            if fault == "sync":
                self._image.scatter(machine.chance)
            if fault is not None:
                raise _failure(apsw.IOError, apsw.SQLITE_IOERR_FSYNC)
            self._image.settle()


def _failure(kind: type[apsw.Error], code: int) -> apsw.Error:
    """An error that the engine takes for that of a disk."""
    error = kind("simulated")
    error.extendedresult = code  # type: ignore[attr-defined]  # where apsw looks for it
    return error

"""What must be executable for the entry program to start, in strict nothing else is (section 8)."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from web4.worker.request import CommandEntry
from web4.worker.sandbox.errors import Unprotected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.worker.request import WorkerRequest

_SCRIPTS_DEEP: Final = 5  # the kernel follows no more
_HEAD: Final = 4096
_ELF64: Final = b"\x7fELF\x02"
_PT_INTERP: Final = 3
_PROGRAM_HEADER: Final = 56


def program_of(request: WorkerRequest) -> str:
    """The path of the entry program; empty for a Python entry."""
    if not isinstance(request.entry, CommandEntry):
        return ""
    return os.path.join(request.directory, request.entry.argv[0])  # noqa: PTH118 - no pathlib in the template


def programs_of(request: WorkerRequest) -> Iterator[str]:
    """The entry program, the interpreters its first lines name, and the loader of the last.

    Raises:
        Unprotected: In strict, a script is run by `env`, which could run anything.
        OSError: A program cannot be read.
    """
    path = program_of(request)
    for _ in range(_SCRIPTS_DEEP):
        yield path
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(_HEAD)
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n", 1)[0].split(None, 1)
            path = os.fsdecode(words[0]) if words else ""
            if os.path.basename(path) == "env" and request.sandbox.level == "strict":  # noqa: PTH119
                raise Unprotected(
                    "strict runs the entry program only: its first line must name its interpreter, not env"
                )
            if not os.path.isabs(path):  # noqa: PTH117
                return
            continue
        loader = _loader(path, head)
        if loader:
            yield loader
        return


def _loader(path: str, head: bytes) -> str:
    """The program interpreter an ELF file of 64 bits names; empty if none."""
    if not head.startswith(_ELF64):
        return ""
    (headers,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    with open(path, "rb") as file:  # noqa: PTH123
        for index in range(count):
            file.seek(headers + index * size)
            header = file.read(_PROGRAM_HEADER)
            if len(header) < _PROGRAM_HEADER:
                return ""
            kind, offset, length = *struct.unpack_from("<I4xQ", header), *struct.unpack_from("<Q", header, 32)
            if kind == _PT_INTERP:
                file.seek(offset)
                return os.fsdecode(file.read(min(length, _HEAD)).rstrip(b"\0"))
    return ""

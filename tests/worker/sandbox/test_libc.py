"""The bindings: compiled from what they declare, and honest about errors."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import cffi
import pytest

from web4.worker.sandbox import _libc, libc


def test_the_compiled_declarations_are_those_written(tmp_path: Path) -> None:
    builder = cffi.FFI()
    builder.cdef(libc.DECLARATIONS)
    builder.set_source("web4.worker.sandbox._libc", None)
    builder.emit_python_code(str(tmp_path / "made.py"))
    made: dict[str, object] = {}

    class Recorder:
        def __init__(self, *arguments: object, **named: object) -> None:
            made.update(named, name=arguments)

    sources = [(tmp_path / "made.py").read_text(), Path(_libc.__file__).read_text()]
    found = []
    for source in sources:
        made.clear()
        exec(
            source.replace("import _cffi_backend", "").replace("_cffi_backend.FFI", "Recorder"),
            {"Recorder": Recorder},
        )
        found.append(dict(made))
    assert found[0] == found[1]


def test_errors_are_the_kernels() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        libc.prctl(123_456)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSYS)):
        libc.syscall(-1)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        libc.syscall(libc.SYS_CLOSE_RANGE, 3, 2, 0)


def test_close_range_closes_what_is_there() -> None:
    descriptors = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    high = os.dup2(descriptors[0], 900)
    libc.close_range(high)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(high)
    for one in descriptors:
        os.close(one)


def test_parent_death_signal() -> None:
    before = libc.parent_death_signal()
    libc.set_parent_death_signal(signal.SIGCONT)
    try:
        assert libc.parent_death_signal() == signal.SIGCONT
    finally:
        libc.set_parent_death_signal(before)

"""The workers of `examples/workers`, ready to be started."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples" / "workers"


def compiler() -> str | None:
    """A C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(source: str, directory: Path, *flags: str) -> Path:
    """Compile a worker; the program."""
    program, file = directory / "everything", directory / "everything.c"
    file.write_text(source)
    found = compiler()
    assert found is not None, "this machine has no C compiler; apt-get install gcc"
    subprocess.run(
        [found, "-std=c99", "-D_POSIX_C_SOURCE=200809L", *flags, "-o", str(program), str(file)],
        check=True,
        timeout=60,
    )
    return program


def source() -> str:
    """The worker in C."""
    return (EXAMPLES / "c" / "everything.c").read_text()


def commands(directory: Path) -> dict[str, list[str]]:
    """What starts each worker, the one in C built into a directory."""
    return {
        "python": [sys.executable, "-m", "web4.ext", "everything:ext", str(EXAMPLES / "python")],
        "c": [str(build(source(), directory, "-O1", "-Wall", "-Wextra", "-Werror"))],
        "shell": [str(EXAMPLES / "shell" / "everything.sh")],
    }

"""What the guide warns of."""

from __future__ import annotations

import ctypes.util
import fcntl
import os
import pwd
import shutil
import tarfile
import zipfile
from pathlib import Path


def account() -> str:
    """Not of uid 0 and 65534: systemd's library makes those up without reading anything."""
    return pwd.getpwuid(1).pw_name


def library() -> str | None:
    return ctypes.util.find_library("z")


def copy(tmp: str) -> None:
    Path(tmp, "one").write_text("hello")
    shutil.copy(Path(tmp, "one"), Path(tmp, "two"))


def copy_contents(tmp: str) -> str:
    """By `copyfile`, through a tape and through an archive."""
    root = Path(tmp)
    (root / "one").write_text("hello")
    shutil.copyfile(root / "one", root / "three")
    with tarfile.open(root / "tape.tar", "w") as tape:
        tape.add(root / "three", "from-tape")
    with tarfile.open(root / "tape.tar") as tape:
        tape.extractall(root, filter="data")
    with zipfile.ZipFile(root / "archive.zip", "w") as archive:
        archive.write(root / "from-tape", "from-archive")
    with zipfile.ZipFile(root / "archive.zip") as archive:
        archive.extractall(root)
    return (root / "from-archive").read_text()


def lock(path: str) -> None:
    with Path(path).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def group_of(pid: int) -> int:
    return os.getpgid(pid)

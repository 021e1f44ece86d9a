"""The place of a control socket: its directory, its lock, who is at the other end (NDJ-4 to NDJ-7)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from web4.doors.control.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH_BYTES: Final = 107
"""What the path of a socket may have (NDJ-4)."""
_CREDENTIALS: Final = struct.Struct("=iII")


def socket_path(data: Path) -> Path:
    """Where the node of a data directory listens."""
    return data / "run" / "node.sock"


class Credentials(NamedTuple):
    """Who is at the other end of a Unix socket, as the kernel says."""

    pid: int
    uid: int
    gid: int


def peer_credentials(connection: socket.socket) -> Credentials:
    """Read `SO_PEERCRED`."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Credentials(*_CREDENTIALS.unpack(raw))


@contextlib.contextmanager
def listening(path: Path, *, backlog: int) -> Iterator[socket.socket]:
    """Hold the lock of a path and listen there, mode 0600; on leaving, the socket is removed.

    Raises:
        ControlError: `socket_path`, `socket_permissions`, `socket_in_use`.
        OSError: The directory or the socket cannot be made.
    """
    if len(os.fsencode(path)) > PATH_BYTES:
        raise ControlError(
            f"{path} has more than {PATH_BYTES} bytes: choose a shorter one", code="socket_path"
        )
    _check_directory(path.parent)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ControlError(f"another node holds {path}", code="socket_in_use") from None
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # a node that was killed left it: whoever holds the lock may remove it
        server = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        try:
            before = os.umask(0o077)
            try:
                server.bind(str(path))
            finally:
                os.umask(before)
            path.chmod(0o600)
            server.listen(backlog)
            yield server
        finally:
            server.close()
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    finally:
        os.close(lock)


def _check_directory(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if found.st_uid not in {os.geteuid(), 0} or (others and not found.st_mode & stat.S_ISVTX):
        raise ControlError(
            f"{directory} is not yours alone: `chmod go-w {directory}`, or choose another",
            code="socket_permissions",
        )

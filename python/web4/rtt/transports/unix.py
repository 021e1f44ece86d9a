"""Unix sockets (RTT-67): a private file in a directory of this user, and what becomes of a stale one."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from web4.rtt.errors import TransportUnavailableError
from web4.rtt.transports.sockets import BACKLOG, SocketAcceptor, not_listening, unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from web4.rtt.transports.address import Address
    from web4.rtt.transports.transport import GivenUp

SOCKET_MODE = 0o600
LOCK_ATTEMPTS = 100


class UnixTransport:
    """Unix sockets: `unix:///path`, the socket file of mode 0600 in a directory that this user owns."""

    scheme = "unix"
    local_only = True
    survives_address_change = False
    max_write: int | None = None

    async def connect(self, address: Address, given_up: GivenUp | None = None) -> trio.SocketStream:
        """See `Transport.connect`."""
        path = _socket_path(address)
        try:
            return await trio.open_unix_socket(path)
        except OSError as error:
            raise unreachable(address, error) from error

    async def listen(self, address: Address) -> SocketAcceptor:
        """See `Transport.listen`. A stale socket file is replaced after a failed connect, and only then."""
        await trio.lowlevel.checkpoint()
        path = _socket_path(address)
        try:
            async with _locked(path.parent, address):
                sock, file = _listen_unix(path, address)
        except OSError as error:
            raise not_listening(address, error) from error
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        return _UnixAcceptor(listener, str(address), file)


class _UnixAcceptor(SocketAcceptor):
    """One socket and its file; peers are counted by the user they run as."""

    def __init__(self, listener: trio.SocketListener, address: str, file: _SocketFile) -> None:
        super().__init__([listener], (address,))
        self._listener = listener
        self._file = file

    def peer_address(self, stream: trio.abc.Stream) -> str:
        assert isinstance(stream, trio.SocketStream)
        credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return f"uid:{int.from_bytes(credentials[4:8], 'little')}"

    async def aclose(self) -> None:
        # The file first: nobody takes the place of a socket that still answers, so it is still ours.
        if self._listener.socket.fileno() >= 0:
            self._file.remove()
        await super().aclose()


@dataclass(frozen=True, slots=True)
class _SocketFile:
    path: Path
    identity: tuple[int, int]

    def remove(self) -> None:
        """Remove the file, unless something else has been put there since."""
        try:
            if _identity(self.path) == self.identity:
                self.path.unlink()
        except OSError:
            # Gone, or not ours to remove any more; a stale file is replaced by whoever listens next.
            return


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


@asynccontextmanager
async def _locked(directory: Path, address: Address) -> AsyncGenerator[None]:
    """Keep a second endpoint from replacing the file that a first one has just put in a stale one's place."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise TransportUnavailableError(
                f"{directory} belongs to another user; a socket there is not safe", code="bad_address"
            )
        for _ in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await trio.sleep(0.01)
        else:
            raise TransportUnavailableError(
                f"{directory} is locked: cannot listen at {address}", code="address_in_use"
            )
        yield
    finally:
        os.close(descriptor)


def _socket_path(address: Address) -> Path:
    """The file an address names.

    Absolute, so that what a listener says can be dialled from anywhere; without a zero byte, which would begin an
    abstract name (RTT-67).
    """
    path = address.path
    if address.host or not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise TransportUnavailableError(f"{address} is not unix:///path", code="bad_address")
    return Path(path)


def _listen_unix(path: Path, address: Address) -> tuple[socket.socket, _SocketFile]:
    _clear_stale(path, address)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Linux gives the file the mode that the socket has when it is bound.
        os.fchmod(sock.fileno(), SOCKET_MODE)
        sock.bind(str(path))
        sock.listen(BACKLOG)
        return sock, _SocketFile(path, _identity(path))
    except BaseException:
        sock.close()
        raise


def _clear_stale(path: Path, address: Address) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise TransportUnavailableError(f"{path} exists and is not a socket", code="address_in_use")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            # Its backlog is full: somebody listens.
            pass
    raise TransportUnavailableError(f"something listens at {address}", code="address_in_use")

"""Transports: what a carrier's bytes travel on, by the scheme of an address (section 20).

A transport gives Trio socket streams, which the core drives through their descriptors; TLS and everything above is
the core's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import trio

from web4.rtt.errors import TransportUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

NOT_SENT_LOW_WATER = 128 * 1024
"""Bytes the operating system may hold before it takes more, so that control never waits behind more (RTT-21)."""

BACKLOG = 1024

SOCKET_MODE = 0o600
LOCK_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed transport address, such as `tcp://127.0.0.1:7440` or `unix:///run/web4/a.sock`."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse a URL.

        Raises:
            TransportUnavailableError: `bad_address` when it is none.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 0
        except ValueError as error:
            raise TransportUnavailableError(
                f"{url!r} is not an address: {error}", code="bad_address"
            ) from None
        if not parts.scheme or parts.query or parts.fragment or parts.username is not None:
            raise TransportUnavailableError(
                f"{url!r} is not an address: write tcp://host:port or unix:///path", code="bad_address"
            )
        return cls(parts.scheme, parts.hostname or "", port, parts.path)

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Acceptor(Protocol):
    """A listening place of a transport."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The bound addresses, as URLs."""
        ...

    @property
    def listeners(self) -> list[trio.SocketListener]:
        """The sockets that accept."""
        ...

    def peer_address(self, stream: trio.SocketStream) -> str:
        """What limits per address count by: a host without its port, or a user of this machine."""
        ...

    async def aclose(self) -> None:
        """Stop accepting."""
        ...


class Transport(Protocol):
    """What a scheme stands for."""

    scheme: str
    local_only: bool
    survives_address_change: bool

    async def connect(self, address: Address) -> trio.SocketStream:
        """Open a byte stream to an address.

        Raises:
            TransportUnavailableError: `unreachable`, or `bad_address`.
        """
        ...

    async def listen(self, address: Address) -> Acceptor:
        """Accept byte streams at an address.

        Raises:
            TransportUnavailableError: `address_in_use`, or `bad_address`.
        """
        ...


class Registry:
    """Transports by scheme (RTT-66)."""

    def __init__(self) -> None:
        self._factories: dict[str, Callable[[], Transport]] = {}

    def register(self, scheme: str, factory: Callable[[], Transport], *, replace: bool = False) -> None:
        """Make a transport known under a scheme.

        Raises:
            ValueError: The scheme is registered already, and `replace` is false.
        """
        if scheme in self._factories and not replace:
            raise ValueError(f"a transport is registered for {scheme!r}; pass replace=True to replace it")
        self._factories[scheme] = factory

    def create(self, scheme: str) -> Transport:
        """The transport of a scheme.

        Raises:
            TransportUnavailableError: `unknown_scheme`.
        """
        if scheme not in self._factories:
            known = ", ".join(self.available())
            raise TransportUnavailableError(
                f"no transport is registered for {scheme!r}; there are {known}", code="unknown_scheme"
            )
        return self._factories[scheme]()

    def available(self) -> list[str]:
        """All schemes, sorted."""
        return sorted(self._factories)


@dataclass(frozen=True, slots=True)
class _SocketAcceptor:
    listeners: list[trio.SocketListener]
    addresses: tuple[str, ...]
    socket_file: _SocketFile | None = None

    def peer_address(self, stream: trio.SocketStream) -> str:
        if self.socket_file is None:
            return str(stream.socket.getpeername()[0])
        credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return f"uid:{int.from_bytes(credentials[4:8], 'little')}"

    async def aclose(self) -> None:
        # The file first: nobody takes the place of a socket that still answers, so it is still ours.
        if self.socket_file is not None and self.listeners[0].socket.fileno() >= 0:
            self.socket_file.remove()
        for listener in self.listeners:
            listener.socket.close()
        await trio.lowlevel.checkpoint()


class TcpTransport:
    """TCP with `TCP_NODELAY`, dual stack: `tcp://host:port`; port 0 lets the operating system choose."""

    scheme = "tcp"
    local_only = False
    survives_address_change = False

    async def connect(self, address: Address) -> trio.SocketStream:
        """See `Transport.connect`."""
        if not address.host or not address.port or address.path.strip("/"):
            raise TransportUnavailableError(f"{address} is not tcp://host:port", code="bad_address")
        try:
            stream = await trio.open_tcp_stream(address.host, address.port)
        except UnicodeError as error:
            raise TransportUnavailableError(f"{address} names no host", code="bad_address") from error
        except OSError as error:
            raise _unreachable(address, error) from error
        tune(stream.socket)
        return stream

    async def listen(self, address: Address) -> Acceptor:
        """See `Transport.listen`."""
        if not address.host or address.path.strip("/"):
            raise TransportUnavailableError(f"{address} is not tcp://host:port", code="bad_address")
        try:
            listeners = await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)
        except UnicodeError as error:
            raise TransportUnavailableError(f"{address} names no host", code="bad_address") from error
        except OSError as error:
            raise _not_listening(address, error) from error
        bound = tuple(
            str(Address("tcp", listener.socket.getsockname()[0], listener.socket.getsockname()[1]))
            for listener in listeners
        )
        return _SocketAcceptor(listeners, bound)


class UnixTransport:
    """Unix sockets: `unix:///path`, the socket file of mode 0600 in a directory that this user owns."""

    scheme = "unix"
    local_only = True
    survives_address_change = False

    async def connect(self, address: Address) -> trio.SocketStream:
        """See `Transport.connect`."""
        path = _socket_path(address)
        try:
            return await trio.open_unix_socket(path)
        except OSError as error:
            raise _unreachable(address, error) from error

    async def listen(self, address: Address) -> Acceptor:
        """See `Transport.listen`. A stale socket file is replaced after a failed connect, and only then."""
        path = _socket_path(address)
        try:
            async with _locked(path.parent, address):
                sock, file = _listen_unix(path, address)
        except OSError as error:
            raise _not_listening(address, error) from error
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        return _SocketAcceptor([listener], (str(address),), file)


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


def tune(sock: trio.socket.SocketType) -> None:
    """Send small writes at once, and keep little in the kernel (RTT-21). For TCP only."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 25), NOT_SENT_LOW_WATER)


def _unreachable(address: Address, error: OSError) -> TransportUnavailableError:
    return TransportUnavailableError(f"{address} cannot be reached: {error}", code="unreachable")


def _not_listening(address: Address, error: Exception) -> TransportUnavailableError:
    in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
    code = "address_in_use" if in_use else "bad_address"
    return TransportUnavailableError(f"cannot listen at {address}: {error}", code=code)


def default_registry() -> Registry:
    """A registry with the shipped transports."""
    registry = Registry()
    registry.register("tcp", TcpTransport)
    registry.register("unix", UnixTransport)
    return registry

"""Transports: what a carrier's bytes travel on, by the scheme of an address (section 20).

A transport gives Trio byte streams; TLS and everything above is the core's. A stream over a socket is driven
through its descriptor, any other one through its methods.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import trio

from web4.rtt.errors import TransportUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_SENT_LOW_WATER = 128 * 1024
"""Bytes the operating system may hold before it takes more, so that control never waits behind more (RTT-21)."""

BACKLOG = 1024


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
        for listener in self.listeners:
            listener.socket.close()
        if self.socket_file is not None:
            self.socket_file.remove()
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
        if address.host or not address.path:
            raise TransportUnavailableError(f"{address} is not unix:///path", code="bad_address")
        try:
            return await trio.open_unix_socket(address.path)
        except OSError as error:
            raise _unreachable(address, error) from error

    async def listen(self, address: Address) -> Acceptor:
        """See `Transport.listen`. A stale socket file is replaced after a failed connect, and only then."""
        if address.host or not address.path:
            raise TransportUnavailableError(f"{address} is not unix:///path", code="bad_address")
        try:
            await self._clear_stale(address)
            sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                file = await _bind_unix(sock, Path(address.path))
                sock.listen(BACKLOG)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            raise _not_listening(address, error) from error
        return _SocketAcceptor([trio.SocketListener(sock)], (str(address),), file)

    async def _clear_stale(self, address: Address) -> None:
        path = Path(address.path)
        directory = path.parent.stat()
        if directory.st_uid != os.geteuid():
            raise TransportUnavailableError(
                f"{path.parent} belongs to another user; a socket there is not safe", code="bad_address"
            )
        try:
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise TransportUnavailableError(f"{path} exists and is not a socket", code="address_in_use")
        except FileNotFoundError:
            return
        try:
            probe = await trio.open_unix_socket(address.path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108 - and the other rule forbids the method here
        else:
            await probe.aclose()
            raise TransportUnavailableError(f"something listens at {address}", code="address_in_use")


@dataclass(frozen=True, slots=True)
class _SocketFile:
    path: Path
    inode: int

    def remove(self) -> None:
        """Remove the file, unless another endpoint has put its own there since."""
        try:
            if self.path.lstat().st_ino == self.inode:
                self.path.unlink()
        except FileNotFoundError:
            pass


async def _bind_unix(sock: trio.socket.SocketType, path: Path) -> _SocketFile:
    # The mask is the process's: no await may stand between the two calls.
    mask = os.umask(0o177)
    try:
        os_socket = socket.socket(fileno=os.dup(sock.fileno()))
        with os_socket:
            os_socket.bind(str(path))
    finally:
        os.umask(mask)
    await trio.lowlevel.checkpoint()
    return _SocketFile(path, os.lstat(path).st_ino)


def tune(sock: trio.socket.SocketType) -> None:
    """Send small writes at once, and keep little in the kernel (RTT-21). For TCP only."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_NOTSENT_LOWAT", 25), NOT_SENT_LOW_WATER)


def _unreachable(address: Address, error: OSError) -> TransportUnavailableError:
    return TransportUnavailableError(f"{address} cannot be reached: {error}", code="unreachable")


def _not_listening(address: Address, error: OSError) -> TransportUnavailableError:
    code = "address_in_use" if error.errno == errno.EADDRINUSE else "bad_address"
    return TransportUnavailableError(f"cannot listen at {address}: {error}", code=code)


def default_registry() -> Registry:
    """A registry with the shipped transports."""
    registry = Registry()
    registry.register("tcp", TcpTransport)
    registry.register("unix", UnixTransport)
    return registry

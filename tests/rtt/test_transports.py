"""Transports and the registry (section 20; RTT-66, RTT-67)."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.rtt.arrange import ALICE, BOB, LOOPBACK, Events, anybody, next_session
from tests.rtt.processes import descriptors
from web4 import rtt
from web4.rtt.pump import Pump
from web4.rtt.transports import Address, TcpTransport, UnixTransport
from web4.rtt.transports.sockets import SocketAcceptor

if TYPE_CHECKING:
    from pathlib import Path

    from web4.rtt.transports.transport import GivenUp


async def test_xport_registry() -> None:
    """RTT-66: overwriting is refused unless asked for, an unknown scheme is named, `available` is sorted."""
    registry = rtt.default_registry()
    assert registry.available() == ["memory", "tcp", "unix"]
    with pytest.raises(ValueError, match="tcp"):
        registry.register("tcp", TcpTransport)
    registry.register("tcp", UnixTransport, replace=True)
    assert isinstance(registry.create("tcp"), UnixTransport)
    registry.register("carrier-pigeon", TcpTransport)
    assert registry.available() == ["carrier-pigeon", "memory", "tcp", "unix"]
    with pytest.raises(rtt.TransportUnavailableError, match="smoke") as caught:
        registry.create("smoke")
    assert caught.value.code == "unknown_scheme"
    # Another registry is another world.
    assert rtt.default_registry().available() == ["memory", "tcp", "unix"]
    async with rtt.open_endpoint(ALICE) as alice:
        with pytest.raises(rtt.TransportUnavailableError, match="quic"):
            await alice.listen("quic://127.0.0.1:1", admit=anybody)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:7440",
        "tcp//x",
        "tcp://u@h:1",
        "tcp://h:1?q=1",
        "tcp://h:1#f",
        "tcp://h:99999",
        "tcp://h:x",
        "tcp://[::1",
    ],
)
def test_what_is_no_address(url: str) -> None:
    """RTT-66."""
    with pytest.raises(rtt.TransportUnavailableError) as caught:
        Address.parse(url)
    assert caught.value.code == "bad_address"


@pytest.mark.parametrize(
    "url", ["tcp://127.0.0.1:7440", "tcp://[::1]:7440", "tcp://host:1", "unix:///run/a.sock"]
)
def test_addresses_read_back(url: str) -> None:
    assert str(Address.parse(url)) == url


NOT_A_SOCKET_FILE = [
    "unix://",
    "unix://host/path",
    "unix:///\0x",
    "unix:\0x",
    "unix:relative",
    "unix:///tmp/",
]


@pytest.mark.parametrize("url", ["tcp://", "tcp://127.0.0.1:0/path", "tcp://a..b:0", *NOT_A_SOCKET_FILE])
async def test_where_nobody_can_listen(url: str) -> None:
    async with rtt.open_endpoint(BOB) as bob:
        with pytest.raises(rtt.TransportUnavailableError):
            await bob.listen(url, admit=anybody)


@pytest.mark.parametrize("url", NOT_A_SOCKET_FILE)
async def test_what_is_no_socket_file_is_not_dialled(url: str) -> None:
    """RTT-67: never the abstract namespace, and nothing that depends on the directory the process is in."""
    async with rtt.open_endpoint(ALICE) as alice:
        with pytest.raises(rtt.TransportUnavailableError) as caught:
            async with alice.dial(url, expect=BOB.fingerprint):
                pytest.fail("it opened")
        assert caught.value.code == "bad_address"


async def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/{'x' * 108}"
    async with rtt.open_endpoint(BOB) as bob:
        with pytest.raises(rtt.TransportUnavailableError) as caught:
            await bob.listen(url, admit=anybody)
        assert caught.value.code == "bad_address"
        with pytest.raises(rtt.TransportUnavailableError) as caught:
            async with bob.dial(url, expect=ALICE.fingerprint):
                pytest.fail("it opened")
        assert caught.value.code == "unreachable"


async def test_an_address_in_use_says_so(tmp_path: Path) -> None:
    async with rtt.open_endpoint(BOB) as bob:
        for url in (LOOPBACK, f"unix://{tmp_path}/s"):
            listener = await bob.listen(url, admit=anybody)
            with pytest.raises(rtt.TransportUnavailableError) as caught:
                await bob.listen(listener.addresses[0], admit=anybody)
            assert caught.value.code == "address_in_use"


class Both(TcpTransport):
    """TCP on two sockets, as a name with an IPv4 and an IPv6 address has."""

    async def listen(self, address: Address) -> SocketAcceptor:
        first = await super().listen(address)
        second = await super().listen(address)
        return SocketAcceptor([*first.listeners, *second.listeners], (*first.addresses, *second.addresses))


async def test_several_sockets_of_one_address() -> None:
    """RTT-67: a listener with more than one socket accepts at each, and closes each."""
    registry = rtt.default_registry()
    registry.register("both", Both)
    before = descriptors()
    async with rtt.open_endpoint(BOB, transports=registry) as bob, rtt.open_endpoint(ALICE) as alice:
        listener = await bob.listen("both://127.0.0.1:0", admit=anybody)
        assert len(set(listener.addresses)) == 2
        for address in listener.addresses:
            async with alice.dial(address, expect=BOB.fingerprint) as session:
                await next_session(bob)
                session.abort("done")
        await listener.aclose()
        for address in listener.addresses:
            with pytest.raises(rtt.TransportUnavailableError):
                async with alice.dial(address, expect=BOB.fingerprint):
                    pytest.fail("it opened")
    assert descriptors() <= before + 3  # an epoll and a wake-up pair of Trio's own may have come


async def test_listening_ends_with_the_endpoint(url: str) -> None:
    """RTT-61: nothing of it runs afterwards: no socket, no file."""
    async with rtt.open_endpoint(BOB) as bob:
        address = (await bob.listen(url, admit=anybody)).addresses[0]
    async with rtt.open_endpoint(ALICE) as alice:
        with pytest.raises(rtt.TransportUnavailableError) as caught:
            async with alice.dial(address, expect=BOB.fingerprint):
                pytest.fail("it opened")
        assert caught.value.code == "unreachable"
    if url.startswith("unix"):
        assert not await trio.Path(url.removeprefix("unix://")).exists()


async def test_closing_a_listener_leaves_its_sessions() -> None:
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE) as alice:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        async with alice.dial(listener.addresses[0], expect=BOB.fingerprint) as session:
            there = await next_session(bob)
            await listener.aclose()
            await listener.aclose()
            await session.control.send(b"still here")
            assert await there.control.receive() == b"still here"
            session.abort("done")


async def test_unix_files_are_private_and_taken_away(tmp_path: Path) -> None:
    """RTT-67: mode 0600, whatever the mask of the process is; the file goes with the listener."""
    path = tmp_path / "s"
    mask = os.umask(0)
    try:
        async with rtt.open_endpoint(BOB) as bob:
            listener = await bob.listen(f"unix://{path}", admit=anybody)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            await listener.aclose()
            assert not path.exists()
    finally:
        os.umask(mask)


async def test_unix_replaces_only_what_is_stale(tmp_path: Path) -> None:
    """RTT-67: a socket nobody answers at is replaced; one that somebody does, a file or a directory is not."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with rtt.open_endpoint(BOB) as bob:
        await bob.listen(f"unix://{path}", admit=anybody)
        file, directory = tmp_path / "file", tmp_path / "directory"
        file.touch()
        directory.mkdir()
        for other in (file, directory):
            with pytest.raises(rtt.TransportUnavailableError) as caught:
                await bob.listen(f"unix://{other}", admit=anybody)
            assert caught.value.code == "address_in_use"
            assert other.exists()
        with socket.socket(socket.AF_UNIX) as full:
            # Somebody whose backlog is full does not answer at once, and lives all the same.
            full.bind(str(tmp_path / "full"))
            full.listen(0)
            waiting = socket.socket(socket.AF_UNIX)
            waiting.connect(str(tmp_path / "full"))
            with waiting, pytest.raises(rtt.TransportUnavailableError, match="listens"):
                await bob.listen(f"unix://{tmp_path}/full", admit=anybody)


async def test_unix_race_for_a_stale_file(tmp_path: Path) -> None:
    """RTT-67: of several that find one stale file, one listens, and the file is its own."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    outcomes: list[str] = []
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE) as alice:

        async def race() -> None:
            try:
                await bob.listen(f"unix://{path}", admit=anybody)
                outcomes.append("listening")
            except rtt.TransportUnavailableError as error:
                outcomes.append(error.code)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(race)
        assert sorted(outcomes) == ["address_in_use"] * 7 + ["listening"]
        async with alice.dial(f"unix://{path}", expect=BOB.fingerprint) as session:
            session.abort("done")


async def test_a_closed_listener_does_not_take_the_next_ones_file(tmp_path: Path) -> None:
    """RTT-67: closing twice, after somebody else has come, leaves that one's file alone."""
    url = f"unix://{tmp_path}/s"
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE) as alice:
        first = await bob.listen(url, admit=anybody)
        await first.aclose()
        await alice.listen(url, admit=anybody)
        await first.aclose()
        assert (tmp_path / "s").exists()


async def test_a_locked_directory_is_not_waited_for_for_ever(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """RTT-67: who holds the lock of the directory delays a listener for a bounded time."""
    holder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(rtt.TransportUnavailableError, match="locked"):
            await UnixTransport().listen(Address.parse(f"unix://{tmp_path}/s"))
    finally:
        os.close(holder)


async def test_sockets_send_at_once_and_keep_little() -> None:
    """RTT-21, RTT-67: both ends, the accepted one too."""
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE) as alice:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        async with alice.dial(address, expect=BOB.fingerprint) as session:
            for end in (session, await next_session(bob)):
                assert isinstance(end.pump, Pump)
                sock = end.pump._stream.socket
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert sock.getsockopt(socket.IPPROTO_TCP, 25) == 128 * 1024
            session.abort("done")


async def test_out_of_descriptors() -> None:
    """Section 15: a process out of descriptors goes on accepting when it has some again."""
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE) as alice:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        client = socket.socket()
        client.setblocking(False)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        held: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 10, hard))
        try:
            while True:
                try:
                    held.append(os.dup(0))
                except OSError as error:
                    if error.errno != errno.EMFILE:
                        raise
                    break
            client.connect_ex(("127.0.0.1", int(address.rsplit(":", 1)[1])))
            while bob.hits["accept"] < 2:
                await trio.testing.wait_all_tasks_blocked(0.001)
        finally:
            for descriptor in held:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        async with alice.dial(address, expect=BOB.fingerprint) as session:
            session.abort("done")
        client.close()


class TwoAddresses(trio.abc.HostnameResolver):
    """A name with two addresses, of which only the second is listened at."""

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the name of Python's own function
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, int(port or 0)))
            for address in ("127.0.0.2", "127.0.0.1")
        ]

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
    ) -> tuple[str, str]:
        raise NotImplementedError


async def test_xport_fallback_is_loud() -> None:
    """RTT-68: of a list, the second is used when the first is down, and an event says so; of a name with several
    addresses as well; a single address that is down fails."""
    events = Events()
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE, emit=events) as alice:
        up = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        down = "memory://nobody-here"
        with pytest.raises(rtt.TransportUnavailableError) as caught:
            async with alice.dial(down, expect=BOB.fingerprint):
                pytest.fail("it opened")
        assert caught.value.code == "unreachable"
        assert events.fields("transport_fallback") == []
        async with alice.dial([down, up], expect=BOB.fingerprint) as session:
            session.abort("done")
        told = [
            {key: fields[key] for key in ("severity", "address", "following", "why")}
            for fields in events.fields("transport_fallback")
        ]
        assert told == [{"severity": "warning", "address": down, "following": up, "why": "unreachable"}]
        trio.socket.set_custom_hostname_resolver(TwoAddresses())
        port = up.rsplit(":", 1)[1]
        async with alice.dial(f"tcp://two.example:{port}", expect=BOB.fingerprint) as session:
            session.abort("done")
        last = events.fields("transport_fallback")[-1]
        assert last["address"] == f"tcp://127.0.0.2:{port}"
        assert "refused" in last["why"].lower()


async def test_who_was_reached_is_not_dialled_elsewhere() -> None:
    """RTT-46, RTT-68: a wrong key at the first address ends the dial; the second is not tried."""
    events = Events()
    async with rtt.open_endpoint(BOB) as bob, rtt.open_endpoint(ALICE, emit=events) as alice:
        up = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        with pytest.raises(rtt.AuthenticationError):
            async with alice.dial([up, up], expect=ALICE.fingerprint):
                pytest.fail("it opened")
        assert events.fields("transport_fallback") == []


async def test_a_transport_that_fails_in_its_own_words() -> None:
    """RTT-61: what a foreign transport raises is an address that is not reached, and never the end of an endpoint."""

    class Foreign(TcpTransport):
        async def connect(self, address: Address, given_up: GivenUp | None = None) -> trio.SocketStream:
            raise ConnectionResetError("somebody pulled the plug")

    registry = rtt.Registry()
    registry.register("tcp", Foreign)
    async with rtt.open_endpoint(ALICE, transports=registry) as alice:
        with pytest.raises(rtt.TransportUnavailableError, match="pulled the plug") as caught:
            async with alice.dial("tcp://127.0.0.1:1", expect=BOB.fingerprint):
                pytest.fail("it opened")
        assert caught.value.code == "unreachable"

"""No way out: sockets of every family, pairs, rings (EXT-29, EXT-30)."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.worker.sandbox import attacks
from tests.worker.sandbox.inside import Call, asked, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from web4.worker.request import Level

SOCKETS: tuple[Call, ...] = (
    (attacks.make_socket, socket.AF_INET, socket.SOCK_STREAM),
    (attacks.make_socket, socket.AF_INET, socket.SOCK_DGRAM),
    (attacks.make_socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    (
        attacks.make_socket,
        socket.AF_INET,
        socket.SOCK_STREAM,
        262,
    ),  # IPPROTO_MPTCP, which Landlock passed over
    (attacks.make_socket, socket.AF_INET6, socket.SOCK_STREAM),
    (attacks.make_socket, socket.AF_INET6, socket.SOCK_DGRAM),
    (attacks.make_socket, socket.AF_UNIX, socket.SOCK_STREAM),
    (attacks.make_socket, socket.AF_UNIX, socket.SOCK_DGRAM),
    (attacks.make_socket, socket.AF_NETLINK, socket.SOCK_RAW),
    (attacks.make_socket, socket.AF_PACKET, socket.SOCK_RAW),
    (attacks.make_socket, socket.AF_VSOCK, socket.SOCK_STREAM),
    (attacks.make_socket, socket.AF_ALG, socket.SOCK_SEQPACKET),
    (attacks.make_socket, socket.AF_CAN, socket.SOCK_RAW),
    (attacks.make_socket, 31, socket.SOCK_SEQPACKET),  # AF_BLUETOOTH
)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A listener of the node's, by path and by abstract name, in a directory that is granted."""
    (tmp_path / "granted").mkdir()
    path, name = str(tmp_path / "granted" / "door"), f"web4-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(path)
        one.listen()
        other.bind("\0" + name)
        other.listen()
        yield path, "@" + name


@pytest.mark.parametrize("level", ["none", "standard", "strict"])
def test_no_socket_of_any_family(tmp_path: Path, level: Level) -> None:
    """EXT-29, EXT-30."""
    ran = run(asked(tmp_path, level=level), *SOCKETS)
    assert ran.protections.network == "denied"
    assert ran.outcomes == ["EACCES"] * len(SOCKETS)


@pytest.mark.parametrize("level", ["none", "standard", "strict"])
def test_pairs_work_and_lead_nowhere(tmp_path: Path, level: Level, door: tuple[str, str]) -> None:
    """EXT-29: a pair of datagram sockets could be sent to any socket with a name; so could one that reconnects."""
    path, name = door
    ran = run(
        asked(tmp_path, level=level),
        (attacks.pair, socket.SOCK_STREAM),
        (attacks.pair, socket.SOCK_SEQPACKET),
        (attacks.pair, socket.SOCK_DGRAM),
        (attacks.pair, socket.SOCK_RAW),
        (attacks.reconnect_pair, path),
        (attacks.send_from_pair, path),
        (attacks.listen_on_pair, str(tmp_path / "tmp" / "mine")),
        (attacks.connect_unix, path),
        (attacks.connect_unix, name),
        (attacks.look_up, "localhost.example"),
    )
    assert ran.outcomes[:9] == ["hello", "hello", *["EACCES"] * 7]
    assert ran.outcomes[9] == "gaierror"


@pytest.mark.parametrize("level", ["none", "standard", "strict"])
def test_no_ring_and_no_other_way_of_calling(tmp_path: Path, level: Level) -> None:
    """EXT-29: a ring makes sockets without `socket`; so do the numbers of x32, where the kernel has them."""
    ran = run(
        asked(tmp_path, level=level),
        (attacks.make_ring,),
        (attacks.x32, "socket", socket.AF_INET, socket.SOCK_STREAM, 0),
        (attacks.x32, "getpid"),
    )
    assert ran.outcomes == ["EPERM", "ENOSYS", "ENOSYS"]


@pytest.mark.parametrize("level", ["none", "standard", "strict"])
def test_calling_as_a_32_bit_program_kills(tmp_path: Path, level: Level) -> None:
    """EXT-29: other numbers mean other calls there."""
    if os.uname().machine != "x86_64":
        pytest.skip("the gate is one of x86_64")
    ran = run(asked(tmp_path, level=level), (attacks.of_i386,))
    assert ran.outcomes == []
    assert ran.status == -signal.SIGSYS  # which comes before the kernel looks whether it can do 32 bits


def test_allowed_in_level_none_alone(tmp_path: Path, door: tuple[str, str]) -> None:
    """EXT-30."""
    path, name = door
    ran = run(
        asked(tmp_path, level="none", network="allow"),
        (attacks.make_socket, socket.AF_INET, socket.SOCK_STREAM),
        (attacks.connect_unix, path),
        (attacks.connect_unix, name),
    )
    assert ran.protections.network == "allowed"
    assert ran.protections.missing == ()
    assert ran.outcomes == [None, None, None]
    for level in ("standard", "strict"):
        refused = run(asked(tmp_path, level=level, network="allow"))
        assert "level none alone" in refused.refusal


def test_landlock_alone_closes_tcp_only(tmp_path: Path) -> None:
    """What the guide says of a kernel with Landlock and without seccomp: datagrams and Unix sockets go through."""
    ran = run(
        asked(tmp_path, without=("seccomp",)),
        (attacks.make_socket, socket.AF_INET, socket.SOCK_DGRAM),
        (attacks.make_socket, socket.AF_UNIX, socket.SOCK_STREAM),
    )
    assert ran.protections.network == "tcp_only"
    assert {"seccomp", "network"} <= set(ran.protections.missing)
    assert ran.outcomes == [None, None]


def test_landlock_closes_abstract_sockets_alone(tmp_path: Path, door: tuple[str, str]) -> None:
    """Of Unix sockets it covers those without a path; hence the filter."""
    path, name = door
    ran = run(
        asked(tmp_path, without=("seccomp",), read=(str(tmp_path / "granted"),)),
        (attacks.connect_unix, name),
        (attacks.connect_unix, path),
    )
    assert ran.outcomes == ["EPERM", None]

"""Those who are no peers: other TLS, junk, floods (RTT-4, RTT-9, RTT-51, RTT-53, section 15)."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import ssl
import struct
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from tests.rtt import foreign
from tests.rtt.arrange import ALICE, BOB, LOOPBACK, SAFETY, Events, anybody, next_session, until
from tests.rtt.foreign import Foreigner
from tests.rtt.processes import memory
from web4 import rtt
from web4.rtt.pump import Pump

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEED = b"stranger".ljust(32, b"\0")
ADDRESS = "127.0.0.1"


def port_of(listener: rtt.Listener) -> int:
    return int(listener.addresses[0].rsplit(":", 1)[1])


def certificate(directory: Path) -> Path:
    """A self-signed X.509 certificate and its key, in one file."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=36500))
        .sign(key, None)
    )
    path = directory / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def tls(connection: socket.socket, *, newest: ssl.TLSVersion, directory: Path) -> None:
    """What an ordinary TLS client does."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = min(newest, ssl.TLSVersion.TLSv1_2)
    context.maximum_version = newest
    context.set_alpn_protocols(["web4-rtt/1"])
    context.load_cert_chain(certificate(directory))
    with context.wrap_socket(connection) as wrapped:
        wrapped.recv(1)


def foreigner(**differences: Any) -> Callable[[socket.socket, Path], None]:
    def run(connection: socket.socket, directory: Path) -> None:
        peer = Foreigner(connection, SEED, **differences)
        peer.handshake()
        # The client completes first; the acceptor's answer to its last flight comes afterwards.
        peer.write(foreign.VERSION + foreign.start())
        peer.read()

    return run


def raw(said: bytes) -> Callable[[socket.socket, Path], None]:
    """Say something, and listen to what is said back until it ends."""

    def run(connection: socket.socket, directory: Path) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(100):
            pass
        raise EOFError

    return run


PRE_SHARED = foreign.extension(45, b"\x01\x01") + foreign.extension(
    41, foreign.u16(foreign.u16(b"ticket") + bytes(4)) + foreign.u16(foreign.u8(bytes(32)))
)

MATRIX: dict[str, tuple[Callable[[socket.socket, Path], None], str]] = {
    "TLS 1.2": (lambda s, d: tls(s, newest=ssl.TLSVersion.TLSv1_2, directory=d), "tls_version"),
    "X.509 only": (lambda s, d: tls(s, newest=ssl.TLSVersion.TLSv1_3, directory=d), "no_raw_key"),
    "no raw keys": (foreigner(raw_keys=False), "no_raw_key"),
    "no client key": (foreigner(with_key=False), "no_client_key"),
    "wrong ALPN": (foreigner(alpn=[b"h2"]), "alpn"),
    "no ALPN": (foreigner(alpn=[]), "alpn"),
    "0-RTT": (foreigner(extra=foreign.extension(42, b"")), "resumption"),
    "0-RTT with a pre-shared key": (foreigner(extra=foreign.extension(42, b"") + PRE_SHARED), "resumption"),
    "pre-shared key": (foreigner(extra=PRE_SHARED), "resumption"),
    "TLS 1.1 only": (foreigner(versions=[0x0302]), "tls_version"),
    "plain text": (raw(b"GET / HTTP/1.1\r\n\r\n"), "damaged"),
    "an alert": (raw(b"\x15\x03\x03\0\x02\x02\x28"), "damaged"),
    "a huge record": (raw(b"\x16\x03\x01\xff\xff"), "damaged"),
    "nothing": (raw(b""), "unreachable"),
    "half a hello": (raw(b"\x16\x03\x01\x01\0" + bytes(9)), "unreachable"),
}
REFUSALS = (foreign.RefusedError, EOFError, OSError)


@pytest.mark.parametrize("case", MATRIX)
async def test_rtt_tls_matrix(case: str, tmp_path: Path) -> None:
    """RTT-4: every other way to speak TLS is refused with its own error, charged to the address; no session comes
    of it, and an honest peer still opens."""
    attack, code = MATRIX[case]
    asked = []

    def admit(peer: str, address: str) -> bool:
        asked.append(peer)
        return True

    def run() -> None:
        with socket.create_connection((ADDRESS, port), timeout=SAFETY) as connection, pytest.raises(REFUSALS):
            attack(connection, tmp_path)

    events = Events()
    async with rtt.open_endpoint(BOB, emit=events) as bob, rtt.open_endpoint(ALICE) as alice:
        listener = await bob.listen(LOOPBACK, admit=admit)
        port = port_of(listener)
        with trio.fail_after(SAFETY):
            await trio.to_thread.run_sync(run)
        await until(lambda: bool(bob.failures))
        assert dict(bob.failures) == {(ADDRESS, code): 1}
        name = "auth_failure" if code == "no_client_key" else "carrier_failed"
        assert events.seen == [
            (name, {"severity": "warning", "peer": None, "address": ADDRESS, "code": code})
        ]
        assert not asked
        async with alice.dial(listener.addresses[0], expect=BOB.fingerprint) as session:
            session.abort("done")
        assert asked == [ALICE.fingerprint]


async def test_an_acceptor_that_is_no_peer(tmp_path: Path) -> None:
    """RTT-4, RTT-46: a server that knows X.509 only, another protocol or no TLS fails the dial, each by name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    context.set_alpn_protocols(["web4-rtt/1"])
    server = socket.create_server((ADDRESS, 0))
    url = f"tcp://{ADDRESS}:{server.getsockname()[1]}"

    def x509_only(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(1)

    def plain(connection: socket.socket) -> None:
        connection.sendall(b"220 mail.example ESMTP\r\n")
        connection.recv(1000)

    def serve(speak: Callable[[socket.socket], None]) -> None:
        connection, _ = server.accept()
        connection.settimeout(SAFETY)
        with connection:
            try:
                speak(connection)
            except OSError:
                return

    async with rtt.open_endpoint(ALICE) as alice:
        for speak, error, code in (
            (x509_only, rtt.HandshakeError, None),
            (plain, rtt.HandshakeError, "damaged"),
            (lambda connection: None, rtt.HandshakeError, "unreachable"),
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(trio.to_thread.run_sync, serve, speak, abandon_on_cancel=True))
                with pytest.raises(error) as caught:
                    async with alice.dial(url, expect=BOB.fingerprint):
                        pytest.fail("it opened")
            assert code is None or caught.value.code == code
            assert caught.value.code != "refused"
        assert all(whom == url for whom, _ in alice.failures)
    server.close()


async def test_rtt_auth_charged_to_address() -> None:
    """RTT-9: junk before a key is proven counts against its address, even if it names a fingerprint."""
    async with rtt.open_endpoint(BOB) as bob:
        port = port_of(await bob.listen(LOOPBACK, admit=anybody))
        junk = [ALICE.fingerprint.encode(), b"\x16\x03\x01" + foreign.u16(ALICE.public_key), b"\0" * 100]

        def throw() -> None:
            for source, said in enumerate(junk, start=2):
                with socket.create_connection(
                    (ADDRESS, port), timeout=SAFETY, source_address=(f"127.0.0.{source}", 0)
                ) as connection:
                    connection.sendall(said)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(100):
                        pass

        await trio.to_thread.run_sync(throw)
        await until(lambda: sum(bob.failures.values()) == len(junk))
        assert {whom for whom, _ in bob.failures} == {"127.0.0.2", "127.0.0.3", "127.0.0.4"}


async def test_counters_do_not_grow_with_strangers() -> None:
    """RTT-51: however many addresses fail, what is remembered of them is bounded, and the common ones stay."""
    async with rtt.open_endpoint(BOB) as bob:
        common = rtt.HandshakeError("", code="damaged")
        for number in range(20_000):
            bob._report_failure(common, f"10.0.{number // 256}.{number % 256}")
            bob._report_failure(common, "192.0.2.1")
        assert len(bob.failures) <= 10_000
        assert bob.failures["192.0.2.1", "damaged"] == 20_000


async def test_rtt_half_open_flood() -> None:
    """Section 15: 10 000 silent connections of one address: their number and the memory are bounded, and an honest
    peer of another address opens within the deadline, all the while."""
    count = 10_000
    options = rtt.Options(half_open=64, half_open_per_address=32)
    async with rtt.open_endpoint(BOB, options=options) as bob, rtt.open_endpoint(ALICE) as alice:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        most = opened = 0
        command = [sys.executable, "-c", FLOOD, str(port_of(listener)), str(count)]
        with trio.fail_after(SAFETY * 2):
            before = memory()
            async with trio.open_nursery() as nursery:
                flooding = await nursery.start(trio.run_process, command)
                while opened < 100 and (flooding.poll() is None or not opened):
                    # The honest dialer's own deadline is 5 s: later would be a HandshakeError.
                    async with alice.dial(listener.addresses[0], expect=BOB.fingerprint) as session:
                        session.abort("done")
                    (await next_session(bob)).abort("done")
                    opened += 1
                    most = max(most, bob._admission.half_open)
            # What was let in ends by eviction or with the flooder; nothing of it stays.
            await until(lambda: bob._admission.half_open == 0)
        assert most <= 33
        assert bob.hits["half_open_per_address"] > 0
        assert bob.hits["carriers_per_address"] > 0
        assert memory() - before < 32 * 1024 * 1024
        assert bob.session_count == 0


FLOOD = """
import resource, socket, struct, sys
# Connects and says nothing, from another address, and holds on to as many as there is room for.
port, count = map(int, sys.argv[1:])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for _ in range(count):
    connection = socket.socket()
    # IP_BIND_ADDRESS_NO_PORT: a port for this pair of addresses is enough.
    connection.setsockopt(socket.IPPROTO_IP, 24, 1)
    connection.bind(("127.0.0.2", 0))
    connection.connect(("127.0.0.1", port))
    # An abrupt end leaves no TIME_WAIT behind.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    held.append(connection)
    if len(held) > hard - 100:
        held.pop(0).close()
"""


GARBAGE = {
    "unknown core frame": (foreign.frame(0x3F, b""), "unknown_frame"),
    "reserved frame": (foreign.frame(0x80, b""), "unknown_frame"),
    "unknown flag": (foreign.frame(0x21, bytes(8), flags=0x10), "unknown_flag"),
    "opening frame": (foreign.start(), "out_of_state"),
    "oversized frame": (struct.pack(">BBI", 0x11, 0x83, 1 << 30), "frame_too_large"),
    "truncated field": (foreign.frame(0x21, bytes(7)), "malformed"),
    "sequence gap": (foreign.message(2, 0, b"x"), "sequence_gap"),
    "sequence zero": (foreign.message(0, 0, b"x"), "malformed"),
    "cursor beyond": (foreign.frame(0x21, struct.pack(">Q", 1)), "bad_cursor"),
    "message too large": (
        foreign.numbered(0x11, 1, struct.pack(">II", 0, 65537) + b"x", flags=0x01),
        "message_too_large",
    ),
    "credit overrun": (b"".join(foreign.message(n + 1, 0, b"") for n in range(257)), "credit_overrun"),
    "unknown channel": (foreign.message(1, 77, b"x"), "bad_channel"),
    "channel out of turn": (foreign.opened(1, 2), "bad_channel"),
    "ping flood": (foreign.frame(0x22, bytes(8)) * 21, "ping_flood"),
    "bad UTF-8 in CLOSE": (foreign.frame(0x24, b"\0\0\xff"), "malformed"),
}


@pytest.mark.parametrize("case", GARBAGE)
async def test_a_violation_ends_the_session_with_its_code(case: str) -> None:
    """RTT-17, RTT-53: CLOSE with the code, ProtocolError in every operation, evidence with the fingerprint; the
    endpoint goes on."""
    said, code = GARBAGE[case]
    events = Events()
    async with rtt.open_endpoint(BOB, emit=events) as bob:
        port = port_of(await bob.listen(LOOPBACK, admit=anybody))

        def attack() -> list[tuple[int, bytes]]:
            with socket.create_connection((ADDRESS, port), timeout=SAFETY) as connection:
                peer = Foreigner(connection, SEED)
                peer.handshake()
                foreign.open_session(peer)
                peer.write(said)
                return foreign.frames(peer.read_to_the_end())

        answers: list[tuple[int, bytes]] = []

        async def run() -> None:
            answers.extend(await trio.to_thread.run_sync(attack, abandon_on_cancel=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            async with await next_session(bob) as session:
                with pytest.raises(rtt.ProtocolError, match=code) as caught:
                    await receive_to_the_end(session.control)
                assert caught.value.peer == foreign.fingerprint(SEED)
                with pytest.raises(trio.BrokenResourceError):
                    await session.control.send(b"x")
                with pytest.raises(rtt.ProtocolError):
                    await session.open_channel("knowledge")
        kind, body = answers[-1]
        assert kind == 0x24
        close = events.fields("session_close")
        assert [(event["reason"], event["code"]) for event in close] == [("protocol_error", code)]
        assert close[0]["peer"] == foreign.fingerprint(SEED)
        assert len({body}) == 1
        assert bob.session_count == 0


async def receive_to_the_end(channel: rtt.Channel) -> None:
    while True:
        await channel.receive()


async def test_a_peer_that_reads_nothing_cannot_hold_a_dead_session() -> None:
    """RTT-53, RTT-61: after one attempt to write CLOSE the socket goes, however full it is."""
    async with rtt.open_endpoint(BOB) as bob:
        port = port_of(await bob.listen(LOOPBACK, admit=anybody))
        release = trio.Event()
        ended: list[bool] = []

        def attack() -> None:
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.settimeout(SAFETY)
                connection.connect((ADDRESS, port))
                peer = Foreigner(connection, SEED)
                peer.handshake()
                foreign.open_session(peer)
                peer.write(foreign.opened(1, 1, credit=(1000, 1 << 30), max_message=1 << 20))
                trio.from_thread.run(release.wait)
                peer.write(foreign.frame(0x3F, b""))
                trio.from_thread.run(until, lambda: bool(ended))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, attack, abandon_on_cancel=True))
            session = await next_session(bob)
            channel = await session.accept_channel()
            while not session.pump.draining:
                channel.send_nowait(bytes(1 << 20))
            release.set()
            with pytest.raises(rtt.ProtocolError):
                await channel.receive()
            await until(lambda: session.ended)
            assert bob.session_count == 0
            ended.append(True)


async def test_a_blocked_session_may_end_at_once() -> None:
    """RTT-61: ending a session in the moment its socket became full breaks nothing."""
    async with rtt.open_endpoint(BOB) as bob:
        port = port_of(await bob.listen(LOOPBACK, admit=anybody))
        over = trio.Event()

        def attack() -> None:
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.settimeout(SAFETY)
                connection.connect((ADDRESS, port))
                peer = Foreigner(connection, SEED)
                peer.handshake()
                foreign.open_session(peer)
                peer.write(foreign.opened(1, 1, credit=(1000, 1 << 30), max_message=1 << 20))
                trio.from_thread.run(over.wait)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, attack, abandon_on_cancel=True))
            session = await next_session(bob)
            channel = await session.accept_channel()
            while not session.pump.draining:
                channel.send_nowait(bytes(1 << 20))
            session.abort("now")
            await trio.testing.wait_all_tasks_blocked()
            assert session.ended
            over.set()
        assert (await rest_of(bob)) == 0


@pytest.mark.parametrize("at_once", [True, False])
async def test_close_notify_is_an_end(at_once: bool) -> None:
    """Section 4: a carrier that TLS says is closed has ended, though its socket stays open, and though that came in
    one piece with CONFIRM."""
    async with rtt.open_endpoint(BOB, options=rtt.Options(heartbeat=600.0)) as bob:
        port = port_of(await bob.listen(LOOPBACK, admit=anybody))
        over = trio.Event()

        def attack() -> None:
            with socket.create_connection((ADDRESS, port), timeout=SAFETY) as connection:
                peer = Foreigner(connection, SEED)
                peer.handshake()
                peer.write(foreign.VERSION + foreign.start())
                _, body = foreign.frames(peer.read()[1:])[0]
                confirm = peer._writing.seal(23, foreign.confirm(body[1:17]))
                close_notify = peer._writing.seal(21, b"\x01\x00")
                for piece in [confirm + close_notify] if at_once else [confirm, close_notify]:
                    connection.sendall(piece)
                    trio.from_thread.run(trio.testing.wait_all_tasks_blocked, 0.01)
                trio.from_thread.run(over.wait)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, attack, abandon_on_cancel=True))
            session = await next_session(bob)
            with trio.fail_after(SAFETY), pytest.raises(rtt.SessionLost) as caught:
                await session.control.receive()
            assert caught.value.reason == "connection_lost"
            over.set()


async def test_a_dead_session_touches_no_descriptor_of_others() -> None:
    """RTT-61: what a closed session still had to write never goes to whoever got its descriptor next."""
    async with rtt.open_endpoint(BOB) as bob:
        port = port_of(await bob.listen(LOOPBACK, admit=anybody))
        over = trio.Event()

        def attack() -> None:
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.settimeout(SAFETY)
                connection.connect((ADDRESS, port))
                peer = Foreigner(connection, SEED)
                peer.handshake()
                foreign.open_session(peer)
                peer.write(foreign.opened(1, 1, credit=(1000, 1 << 30), max_message=1 << 20))
                trio.from_thread.run(over.wait)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, attack, abandon_on_cancel=True))
            session = await next_session(bob)
            channel = await session.accept_channel()
            while not session.pump.draining:
                channel.send_nowait(bytes(1 << 20))
            assert isinstance(session.pump, Pump)
            descriptor = session.pump._stream.socket.fileno()
            session.abort("now")
            with contextlib.ExitStack() as stack:
                others = [stack.enter_context(end) for end in socket.socketpair()]
                if descriptor not in (end.fileno() for end in others):
                    os.dup2(others[0].fileno(), descriptor)
                    stack.callback(os.close, descriptor)
                await channel.aclose()
                session.link.write()
                session.link.advance(1 << 60)
                for end in others:
                    end.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        end.recv(1)
            over.set()


async def rest_of(endpoint: rtt.Endpoint) -> int:
    await trio.lowlevel.checkpoint()
    return endpoint.session_count

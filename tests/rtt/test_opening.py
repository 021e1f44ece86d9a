"""Who gets a session, who does not, and who is blamed (sections 3 and 4; RTT-3 to RTT-9, RTT-35 to RTT-37)."""

from __future__ import annotations

import select
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.rtt import foreign
from tests.rtt.arrange import (
    ALICE,
    BOB,
    CAROL,
    LOOPBACK,
    SAFETY,
    Events,
    anybody,
    next_session,
    paired,
    until,
)
from tests.rtt.foreign import Foreigner
from tests.rtt.processes import peer_process
from web4 import rtt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_rtt_open_both_transports(url: str) -> None:
    """RTT-3, RTT-8: two processes over tcp and over unix see each other's fingerprint and one binding."""
    async with peer_process("alice") as alice, peer_process("bob") as bob:
        address = (await bob.ask("listen", url=url))["addresses"][0]
        dialled = await alice.ask("dial", url=address, expect=BOB.fingerprint)
        accepted = await bob.ask("accept")
        assert (dialled["peer"], accepted["peer"]) == (BOB.fingerprint, ALICE.fingerprint)
        assert dialled["binding"] == accepted["binding"]
        assert len(bytes.fromhex(dialled["binding"])) == 32
        assert dialled["id"] == accepted["id"]
        await alice.ask("open_channel", kind="knowledge", name="facts")
        assert await bob.ask("accept_channel") == {"kind": "knowledge", "name": "facts"}
        await alice.ask("send", messages=["", "00ff"])
        assert await bob.ask("receive", count=2) == {"messages": ["", "00ff"]}


async def test_bindings_differ_between_sessions() -> None:
    """RTT-8: a binding belongs to one session, even of the same two keys."""
    async with paired() as one, paired() as other:
        assert one.here.binding == one.there.binding
        assert one.here.binding != other.here.binding
        assert one.here.binding.hex() not in repr((one.here, one.alice_events.seen))


async def test_rtt_wrong_pin() -> None:
    """RTT-5: any other key ends the dial before the acceptor sees an RTT frame."""
    events = Events()
    async with peer_process("bob") as bob, rtt.open_endpoint(ALICE, emit=events) as alice:
        address = (await bob.ask("listen", url=LOOPBACK))["addresses"][0]
        with pytest.raises(rtt.AuthenticationError) as caught:
            async with alice.dial(address, expect=CAROL.fingerprint):
                pytest.fail("it opened")
        assert (caught.value.code, caught.value.peer) == ("wrong_key", BOB.fingerprint)
        assert [event["code"] for event in events.fields("auth_failure")] == ["wrong_key"]
        # A START would have made the acceptor ask `admit`. An honest dial afterwards proves that it was done.
        async with alice.dial(address, expect=BOB.fingerprint) as session:
            told = await bob.ask("failures")
            session.abort("done")
        assert told["asked"] == [ALICE.fingerprint]


@pytest.mark.parametrize(
    "wrong", ["", "00", "A" * 64, "z" * 64, BOB.fingerprint.upper(), f" {BOB.fingerprint}"]
)
async def test_what_is_no_fingerprint_is_not_dialled(wrong: str) -> None:
    """RTT-5: only a whole fingerprint, or ANY by its name, dials at all."""
    async with rtt.open_endpoint(ALICE) as alice:
        with pytest.raises(ValueError, match="fingerprint"):
            async with alice.dial("tcp://127.0.0.1:9", expect=wrong):
                pytest.fail("it opened")


async def test_any_is_not_pinned() -> None:
    """RTT-5: `ANY` opens with whoever answers, and the session says that nobody checked."""
    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB) as bob:
        listener = await bob.listen(LOOPBACK, admit=anybody)
        async with alice.dial(listener.addresses[0], expect=rtt.ANY) as session:
            assert session.peer == BOB.fingerprint
            assert not session.pinned
            async with await next_session(bob) as accepted:
                assert accepted.pinned
                session.abort("done")


@pytest.mark.parametrize("expect", [rtt.ANY, ALICE.fingerprint])
async def test_self_connection(expect: Any) -> None:
    """RTT-7: an endpoint has no session with itself, whether it dials by its fingerprint or at random."""
    async with rtt.open_endpoint(ALICE) as alice:
        listener = await alice.listen(LOOPBACK, admit=anybody)
        with pytest.raises(rtt.AuthenticationError) as caught:
            async with alice.dial(listener.addresses[0], expect=expect):
                pytest.fail("it opened")
        assert caught.value.code == "self_connection"
        assert alice.session_count == 0


def refuse(peer: str, address: str) -> bool:
    return False


def fail(peer: str, address: str) -> bool:
    raise RuntimeError("the trust store burns")


async def mistaken(peer: str, address: str) -> bool:
    return False


@pytest.mark.parametrize("admit", [refuse, fail, lambda peer, address: 1, lambda peer, address: None])
async def test_refused_learns_nothing(admit: Callable[[str, str], bool]) -> None:
    """RTT-6: whatever `admit` does that is not True, the peer gets REFUSED(not_admitted) and no more."""
    events = Events()
    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB, emit=events) as bob:
        listener = await bob.listen(LOOPBACK, admit=admit)
        with pytest.raises(rtt.HandshakeError) as caught:
            async with alice.dial(listener.addresses[0], expect=BOB.fingerprint):
                pytest.fail("it opened")
        error = caught.value
        assert (error.code, error.retry_after_ms, error.peer) == ("not_admitted", 0, BOB.fingerprint)
        assert "burns" not in str(error)
        # The acceptor charges the proven key, not the address (RTT-9).
        await events.wait("carrier_failed")
        assert dict(bob.failures) == {(ALICE.fingerprint, "not_admitted"): 1}
        assert bool(events.fields("error")) == (admit is not refuse)
        assert bob.session_count == 0


async def test_a_coroutine_admits_nobody() -> None:
    """RTT-6: an `async def` as `admit` returns something true; nobody comes in by that mistake."""
    coroutines = []

    def admit(peer: str, address: str) -> Any:
        coroutines.append(mistaken(peer, address))
        return coroutines[-1]

    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB) as bob:
        listener = await bob.listen(LOOPBACK, admit=admit)
        with pytest.raises(rtt.HandshakeError, match="not_admitted"):
            async with alice.dial(listener.addresses[0], expect=BOB.fingerprint):
                pytest.fail("it opened")
    coroutines[0].close()


async def test_admit_is_told_who_and_from_where(url: str) -> None:
    """RTT-6: the proven fingerprint, and a host without its port or a user of this machine."""
    asked: list[tuple[str, str]] = []

    def admit(peer: str, address: str) -> bool:
        asked.append((peer, address))
        return True

    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB) as bob:
        listener = await bob.listen(url, admit=admit)
        async with alice.dial(listener.addresses[0], expect=BOB.fingerprint) as session:
            session.abort("done")
    peer, address = asked[0]
    assert peer == ALICE.fingerprint
    assert address == "127.0.0.1" or address.startswith("uid:")


async def test_sessions_per_peer() -> None:
    """Section 15: one session too many is REFUSED(limit), with a time; the others are untouched."""
    options = rtt.Options(sessions_per_peer=2)
    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB, options=options) as bob:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        async with (
            alice.dial(address, expect=BOB.fingerprint) as one,
            alice.dial(address, expect=BOB.fingerprint),
        ):
            with pytest.raises(rtt.HandshakeError) as caught:
                async with alice.dial(address, expect=BOB.fingerprint):
                    pytest.fail("it opened")
            assert caught.value.code == "limit"
            assert caught.value.retry_after_ms
            assert bob.hits["sessions_per_peer"] == 1
            assert bob.session_count == 2
            # Somebody else is not disturbed, and an end makes room.
            async with (
                rtt.open_endpoint(CAROL) as carol,
                carol.dial(address, expect=BOB.fingerprint) as session,
            ):
                session.abort("done")
            (await next_session(bob)).abort("make room")
            await until(lambda: one.state == "closed")
            async with alice.dial(address, expect=BOB.fingerprint) as session:
                session.abort("done")
            bob.abort_all()


async def test_sessions_of_an_endpoint() -> None:
    """Section 15: a full endpoint answers REFUSED(busy), with a time."""
    options = rtt.Options(sessions=1)
    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB, options=options) as bob:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        async with alice.dial(address, expect=BOB.fingerprint), rtt.open_endpoint(CAROL) as carol:
            with pytest.raises(rtt.HandshakeError) as caught:
                async with carol.dial(address, expect=BOB.fingerprint):
                    pytest.fail("it opened")
            assert (caught.value.code, bob.hits["sessions"]) == ("busy", 1)
            assert caught.value.retry_after_ms
            bob.abort_all()


async def test_sessions_granted_at_once_count() -> None:
    """Section 15: carriers that were granted a session and do not confirm it are sessions for the limit."""
    options = rtt.Options(sessions_per_peer=2)
    seed = b"f" * 32
    async with rtt.open_endpoint(BOB, options=options) as bob:
        host, port = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0][len("tcp://") :].split(":")

        def open_three() -> list[int]:
            answers, sockets = [], [socket.create_connection((host, int(port)), timeout=20) for _ in range(3)]
            for connection in sockets:
                foreigner = Foreigner(connection, seed)
                foreigner.handshake()
                foreigner.write(foreign.VERSION + foreign.start())
                answers.append(foreign.frames(foreigner.read()[1:])[0][0])
            for connection in sockets:
                connection.close()
            return answers

        assert await trio.to_thread.run_sync(open_three, abandon_on_cancel=True) == [0x02, 0x02, 0x06]
        assert bob.hits["sessions_per_peer"] == 1
        # What was granted and never confirmed is forgotten (RTT-37).
        await until(lambda: sum(bob.failures.values()) == 3)
        assert bob.session_count == 0


async def test_sessions_that_nobody_takes_are_bounded() -> None:
    """RTT-51: a peer that comes and goes cannot fill the acceptor; what it left can still be read."""
    options = rtt.Options(sessions_per_peer=2)
    async with rtt.open_endpoint(ALICE) as alice, rtt.open_endpoint(BOB, options=options) as bob:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        for text in (b"one", b"two"):
            async with alice.dial(address, expect=BOB.fingerprint) as session:
                await session.control.send(text)
                await session.control.flush()
                session.abort("gone")
        with pytest.raises(rtt.HandshakeError, match="limit"):
            async with alice.dial(address, expect=BOB.fingerprint):
                pytest.fail("it opened")
        for text in (b"one", b"two"):
            session = await next_session(bob)
            assert await session.control.receive() == text
            with pytest.raises(rtt.SessionClosedError):
                await session.control.receive()
        assert bob.session_count == 0


async def test_peer_restarted() -> None:
    """RTT-35: a START of a later boot ends the sessions of the earlier one, with what they had not delivered."""
    options = rtt.Options(heartbeat=600.0)
    events = Events()
    async with rtt.open_endpoint(BOB, options=options, emit=events) as bob:
        address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        async with (
            rtt.open_endpoint(ALICE, options=options) as first,
            first.dial(address, expect=BOB.fingerprint) as dialled,
        ):
            earlier = await next_session(bob)
            async with (
                rtt.open_endpoint(ALICE, options=options) as second,
                second.dial(address, expect=BOB.fingerprint) as session,
            ):
                with pytest.raises(rtt.SessionLost) as caught:
                    await earlier.control.receive()
                assert caught.value.reason == "peer_restarted"
                assert events.names("session_lost", "session_close") == ["session_lost", "session_close"]
                later = await next_session(bob)
                assert later.state == "open"
                session.abort("done")
            dialled.abort("done")


@pytest.mark.parametrize(
    ("said", "answer", "error", "code"),
    [
        (b"\x02", None, "ProtocolError", "protocol_error"),
        (b"\x01" + foreign.message(1, 0, b"x"), None, "ProtocolError", "protocol_error"),
        (b"\x01" + foreign.frame(0x01, b""), None, "ProtocolError", "protocol_error"),
        (b"\x01" + foreign.start(versions=b"\x09"), 0x0100, "VersionError", "version"),
        (
            b"\x01" + foreign.start(extensions=b"\x01" + b"\0\x07\x01\0\0"),
            0x0101,
            "VersionError",
            "extension",
        ),
        (
            b"\x01" + foreign.frame(0x03, b"\x01\x01" + bytes(16 + 16 + 32 + 4 + 8) + b"\0"),
            0x0103,
            "HandshakeError",
            "unknown_session",
        ),
    ],
    ids=["opening version", "frame before START", "truncated START", "version", "extension", "resume"],
)
async def test_wrong_openings_are_charged_to_the_proven_key(
    said: bytes, answer: int | None, error: str, code: str
) -> None:
    """RTT-9, RTT-15 to RTT-17, RTT-33: after TLS the key is proven, and it answers for what it says."""
    events = Events()
    seed = b"f" * 32
    async with rtt.open_endpoint(BOB, emit=events) as bob:
        host, port = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0][len("tcp://") :].split(":")

        def attack() -> bytes:
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                foreigner = Foreigner(connection, seed)
                foreigner.handshake()
                foreigner.write(said)
                return foreigner.read_to_the_end()

        said_back = await trio.to_thread.run_sync(attack, abandon_on_cancel=True)
        if answer is None:
            assert said_back == b""
        else:
            (kind, body), *rest = foreign.frames(said_back[1:])
            assert (kind, int.from_bytes(body[:2]), rest) == (0x06, answer, [])
        fields = await events.wait("carrier_failed")
        assert fields["code"] == code
        assert dict(bob.failures) == {(foreign.fingerprint(seed), code): 1}
        assert code in {entry.code for entry in getattr(rtt, error).codes}
        assert bob.session_count == 0


@pytest.mark.parametrize(
    "url",
    [
        "tcp://127.0.0.1:1",
        "unix:///nowhere/at/all",
        "tcp://127.0.0.1",
        "unix://",
        "tcp://a..b:1",
        "x",
        "quic://a:1",
    ],
)
async def test_addresses_that_lead_nowhere(url: str) -> None:
    """RTT-66, section 17: what cannot be reached is a `TransportUnavailableError` and no crash."""
    async with rtt.open_endpoint(ALICE) as alice:
        with pytest.raises(rtt.TransportUnavailableError):
            async with alice.dial(url, expect=BOB.fingerprint):
                pytest.fail("it opened")


async def test_a_silent_acceptor_times_out() -> None:
    """Section 15: an opening that nobody answers ends with the deadline, by Trio's clock."""
    options = rtt.Options(handshake_timeout=0.05)
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    async with listener, rtt.open_endpoint(ALICE, options=options) as alice:
        with pytest.raises(rtt.HandshakeError) as caught:
            async with alice.dial(f"tcp://127.0.0.1:{port}", expect=BOB.fingerprint):
                pytest.fail("it opened")
        assert caught.value.code == "handshake_timeout"


async def test_a_left_endpoint_opens_nothing() -> None:
    """RTT-61: after its block an endpoint neither dials nor listens."""
    async with rtt.open_endpoint(ALICE) as alice:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await alice.listen(LOOPBACK, admit=anybody)
    with pytest.raises(trio.ClosedResourceError):
        async with alice.dial("tcp://127.0.0.1:1", expect=BOB.fingerprint):
            pytest.fail("it opened")


async def test_leaving_ends_who_waits_for_sessions() -> None:
    """RTT-61: nobody waits for ever for sessions of an endpoint that was left."""
    with trio.fail_after(SAFETY):
        await _leave_with_two_waiting()


async def _leave_with_two_waiting() -> None:
    async with trio.open_nursery() as nursery:

        async def wait(endpoint: rtt.Endpoint) -> None:
            async for session in endpoint.sessions():
                pytest.fail(f"nobody dialled, but {session} came")

        async with rtt.open_endpoint(BOB) as bob:
            nursery.start_soon(wait, bob)
            nursery.start_soon(wait, bob)
            await trio.testing.wait_all_tasks_blocked()
        await wait(bob)


async def test_an_endpoint_left_while_it_dials() -> None:
    """RTT-61: whoever dials from outside of the endpoint's block learns that it was left, wherever the dial is."""
    # The peer takes no session, so it never says that it has all: the endpoint waits for that no longer than this.
    brief = rtt.Options(drain_timeout=0.05)
    for steps in range(12):
        async with rtt.open_endpoint(BOB) as bob, trio.open_nursery() as nursery:
            address = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
            outcomes: list[str] = []

            async def dial(endpoint: rtt.Endpoint, url: str, outcomes: list[str]) -> None:
                try:
                    async with endpoint.dial(url, expect=BOB.fingerprint) as session:
                        await session.control.receive()
                except (trio.ClosedResourceError, trio.BrokenResourceError, rtt.HandshakeError) as error:
                    outcomes.append(type(error).__name__)

            async with rtt.open_endpoint(ALICE, options=brief) as alice:
                nursery.start_soon(dial, alice, address, outcomes)
                for _ in range(steps):
                    await (
                        trio.testing.wait_all_tasks_blocked()
                    ) if steps > 8 else await trio.lowlevel.checkpoint()
            await until(partial(bool, outcomes))
            assert alice.session_count == 0


async def test_a_silent_peer_that_was_proven_is_charged(tmp_path: Path) -> None:
    """RTT-9: an acceptor that proves its key and then answers nothing is charged by its fingerprint."""
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        silent = rtt.Options().build(BOB, bytes(16))

        def prove() -> None:
            connection, _ = listening.accept()
            with connection:
                link = silent.accept(connection.fileno())
                while link.advance() != 1:
                    link.flush()
                    select.select([connection], [], [], SAFETY)
                trio.from_thread.run(over.wait)

        over = trio.Event()
        async with rtt.open_endpoint(ALICE, options=rtt.Options(handshake_timeout=1.0)) as alice:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(trio.to_thread.run_sync, prove, abandon_on_cancel=True))
                with pytest.raises(rtt.HandshakeError) as caught:
                    async with alice.dial(f"unix://{path}", expect=BOB.fingerprint):
                        pytest.fail("it opened")
                over.set()
            assert (caught.value.code, caught.value.peer) == ("handshake_timeout", BOB.fingerprint)
            assert alice.failures == {(BOB.fingerprint, "handshake_timeout"): 1}


async def test_peers_that_left_are_forgotten() -> None:
    """RTT-52: an endpoint keeps nothing of a peer whose last session has ended."""
    async with paired() as pair:
        assert [session.peer for session in pair.bob._roster] == [ALICE.fingerprint]
        pair.here.abort("bye")
        await until(lambda: pair.there.ended)
        assert not list(pair.alice._roster)
        assert not list(pair.bob._roster)
        assert (pair.alice.session_count, pair.bob.session_count) == (0, 0)

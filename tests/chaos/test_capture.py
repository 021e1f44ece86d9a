"""What somebody on the path sees of three busy channels (section 21): nothing that was said, and nobody's name."""

from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING

import trio

from tests.chaos.lanes import Chaos, chaos, run_all
from tests.chaos.lanes import Lane as Lane_
from tests.rtt.arrange import ALICE, BOB, SAFETY

if TYPE_CHECKING:
    from web4.foundation.identity import Identity

SECRET = b"the eggs are in the blue basket behind the mill"
NAMES = {"control": "errands of today", "state": "where the hens are", "knowledge": "what the fox knows"}


class Lane(Lane_):
    """A lane whose every message says the same secret."""

    async def send(self) -> None:
        await self.say(SECRET)


def forms(secret: bytes) -> list[bytes]:
    """Every spelling in which a secret would still be one: raw, hexadecimal, base64 at each of its three phases."""
    spelled = [secret, secret.hex().encode(), secret.hex().upper().encode()]
    for phase in range(3):
        padded = bytes(phase) + secret
        whole = base64.b64encode(padded[: len(padded) // 3 * 3])[4:]
        spelled += [whole, whole.replace(b"+", b"-").replace(b"/", b"_")]
    return spelled


def secrets_of(identity: Identity) -> dict[str, bytes]:
    return {
        "fingerprint": bytes.fromhex(identity.fingerprint),
        "fingerprint in letters": identity.fingerprint.encode(),
        "public key": identity.public_key,
    }


async def capture(net: Chaos) -> tuple[dict[str, bytes], list[dict[str, bytes]]]:
    """Traffic on three channels over two carriers; what must not be seen of it, and what was."""
    await net.proxy.ask("record")
    async with net.session() as session:
        every = [
            Lane(await session.open_channel(kind, name=name, policy="block"), random.Random(0))
            for kind, name in NAMES.items()
        ]
        await run_all(every, 20)
        await net.proxy.ask("cut")
        await run_all(every, 20)
        assert session.reconnects == 1
        hidden = {"payload": SECRET, "session id": session.session_id, "binding": session.binding}
        hidden |= {f"name of {kind}": name.encode() for kind, name in NAMES.items()}
        hidden |= {
            f"{key} of {who.fingerprint[:4]}": value
            for who in (ALICE, BOB)
            for key, value in secrets_of(who).items()
        }
    told = (await net.proxy.ask("recorded"))["connections"]
    return hidden, [{way: bytes.fromhex(data) for way, data in each.items()} for each in told]


def seen(hidden: dict[str, bytes], captured: list[dict[str, bytes]]) -> set[str]:
    """Which of the hidden things can be read in what was captured."""
    return {
        name
        for name, secret in hidden.items()
        for connection in captured
        for data in connection.values()
        for form in forms(secret)
        if form in data
    }


async def test_a_captured_stream_says_nothing() -> None:
    """Section 21: two carriers of a session with traffic on all kinds of channels, recorded both ways."""
    with trio.fail_after(SAFETY):
        async with chaos() as net:
            hidden, captured = await capture(net)
    assert len(captured) == 2
    assert all(len(data) > len(SECRET) * 60 for connection in captured for data in connection.values())
    # That it was TLS, and that the search would find what is there.
    assert seen({"ALPN": b"web4-rtt/1"}, captured) == {"ALPN"}
    for form in forms(SECRET):
        assert seen({"payload": SECRET}, [{"up": b"x" + form + b"x"}]) == {"payload"}
    assert seen(hidden, captured) == set()


async def test_equal_sessions_look_different() -> None:
    """Section 21: the same messages of the same peers share no record of 16 bytes and more between two sessions."""
    with trio.fail_after(SAFETY):
        async with chaos() as net:
            _, first = await capture(net)
            _, both = await capture(net)
    ours = {first[0]["up"][at : at + 16] for at in range(1000, len(first[0]["up"]) - 16)}
    other = both[2]["up"]
    assert not any(other[at : at + 16] in ours for at in range(1000, len(other) - 16))

"""What is altered on its way (RTT-46, RTT-49): it ends a carrier, never the session, and nothing of it is delivered."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest
import trio

from tests.chaos.damage import Act, Damage
from tests.chaos.lanes import chaos, lanes, run_all
from tests.seeds import a_seed

TAMPERING = ("drop", "truncate", "repeat", "swap", "flip")


@pytest.mark.parametrize(
    ("what", "unit", "expected"),
    [
        ("drop", "byte", b"0145678"),
        ("truncate", "byte", b"01245678"),
        ("repeat", "byte", b"01232345678"),
        ("swap", "byte", b"014523678"),
        ("flip", "byte", b"012\x2345678"),
        ("rst", "byte", b"01"),
        ("drop", "record", b"aaa\0\x01Accc\0\x00"),
        ("repeat", "record", b"aaa\0\x01Abbb\0\x02BBbbb\0\x02BBccc\0\x00"),
        ("swap", "record", b"aaa\0\x01Accc\0\x00bbb\0\x02BB"),
        ("fin", "record", b"aaa\0\x01A"),
    ],
)
@pytest.mark.parametrize("piece", [1, 2, 5, 100])
def test_the_proxy_does_what_it_says(what: Any, unit: Any, expected: bytes, piece: int) -> None:
    """The harm of the other tests is the one they name, however the bytes arrive."""
    data = b"012345678" if unit == "byte" else b"aaa\0\x01Abbb\0\x02BBccc\0\x00"
    damage = Damage(Act(what, 2, "byte", 2) if unit == "byte" else Act(what, 1, "record"))
    result = b""
    for at in range(0, len(data), piece):
        result += damage.feed(data[at : at + piece])
        if damage.end is not None:
            break
    assert result == expected
    assert damage.end == (what if what in ("rst", "fin") else None)


@pytest.mark.parametrize("unit", ["byte", "record"])
async def test_rtt_tamper_proxy(unit: str) -> None:
    """RTT-49: a proxy drops, reorders, duplicates, truncates and flips, in the opening of a carrier and in its
    traffic: what is delivered stays exact, there and back, and the session lives on."""
    seed = a_seed()
    print(f"seed {seed}")
    choose = random.Random(seed)
    acts = [
        Act(what, choose.randrange(3000) if unit == "byte" else at, unit, choose.randint(1, 40))  # type: ignore[arg-type]
        for what, at in product(TAMPERING, range(8))
    ]
    quick = {"heartbeat": 0.1, "handshake_timeout": 0.3}
    with trio.fail_after(90):
        async with chaos(here=quick, there=quick) as net, net.session() as session:
            every = await lanes(session, choose)
            await run_all(every, 1)
            for act in acts:
                plan = {choose.choice(["up", "down"]): vars(act)}
                print(plan)
                await net.proxy.ask("plan", plans=[plan])
                await net.proxy.ask("cut")
                await run_all(every, 5)
            assert session.state == "open"
            assert session.reconnects > len(acts)
            assert net.violations() == []

"""Two processes over packets that are lost, late and out of order: real TCP of a real kernel (RTT-23)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.rtt.processes import ROOT, Peer, obedient_process, peer_process
from tests.seeds import a_seed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

LIMIT = 180.0
"""Seconds after which a test that hangs fails. Nothing is measured by it."""


def namespace() -> tuple[list[str], list[str]]:
    """How to make a network namespace, and how to join one, but for the process; who is not root becomes it inside."""
    if os.geteuid() == 0:
        return ["unshare", "--net"], ["nsenter", "--net"]
    return (
        ["unshare", "--user", "--map-root-user", "--net"],
        ["nsenter", "--preserve-credentials", "--user", "--net"],
    )


@pytest.fixture(params=["netem", "tun"])
def kind(request: pytest.FixtureRequest) -> str:
    """Who makes the weather, if this machine can; else the reason is that of the first thing that failed."""
    make, _ = namespace()
    command = [*make, sys.executable, "-m", "tests.chaos.weather", request.param, "0", "1", "0", "0"]
    try:
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=LIMIT,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip(f"no bad weather by {request.param}: {make[0]} is not installed")
    if ran.returncode:
        pytest.skip(f"no bad weather by {request.param}: {' '.join(make)}: {ran.stderr.strip()[-200:]}")
    if "impossible" in (told := json.loads(ran.stdout)):
        pytest.skip(f"no bad weather by {request.param}: {told['impossible']}")
    return str(request.param)


@asynccontextmanager
async def weather(kind: str, loss: float, *, seed: int) -> AsyncGenerator[tuple[Peer, list[str], str, str]]:
    """A namespace with this weather: its process, how to join it, where to listen and where to dial in it."""
    make, join = namespace()
    numbers = (str(loss), "4", "3", str(seed))
    async with obedient_process("tests.chaos.weather", kind, *numbers, within=make) as sky:
        told = await sky.news("weather")
        yield sky, [*join, "--target", str(sky.process.pid)], told["listen"], told["dial"]


@pytest.mark.parametrize(("loss", "count"), [(0.01, 300), (0.05, 150), (0.2, 20)])
async def test_bad_weather(kind: str, loss: float, count: int) -> None:
    """RTT-23: with 1, 5 and 20 % of all packets lost, and others overtaken, everything arrives once and in order."""
    seed = a_seed()
    print(f"seed {seed}")
    with trio.fail_after(LIMIT):
        async with weather(kind, loss, seed=seed) as (sky, within, listen, dial):
            async with peer_process("bob", within=within, handshake_timeout=20.0) as bob:
                address = (await bob.ask("listen", url=f"tcp://{listen}:0"))["addresses"][0]
                await bob.ask("mirror")
                url = f"tcp://{dial}:{address.rsplit(':', 1)[1]}"
                arguments = (url, str(count), str(seed))
                async with obedient_process("tests.chaos.crossing", *arguments, within=within) as alice:
                    told = await alice.news("crossed")
            counted = await sky.ask("look")
    print(told, counted)
    assert set(told["returned"].values()) == {count + 1}
    # The weather was as bad as it says.
    assert counted["lost"] > 0
    assert counted.get("overtaken", 1) > 0

"""Bad weather for real packets, in a network namespace of its own.

Run as `python -m tests.chaos.weather KIND LOSS DELAY JITTER SEED`, times in milliseconds.
`netem` asks the kernel to lose, delay and reorder what passes its loopback. `tun` does it here, for kernels without:
what is sent to 10.7.0.2 comes back from there to 10.7.0.1, so a listener at the one is dialled at the other. Swapping
the two addresses of a packet leaves every checksum as it is.

It tells where to listen and where to dial, or why it cannot; `look` counts packets. The namespace, and all in it, ends
with the last process in it.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from math import inf
from typing import Any

import trio

from tests.rtt.peer import tell

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
HERE, THERE = "10.7.0.1", "10.7.0.2"


class WeatherError(Exception):
    """This kernel, or this machine, does not do it."""


def run(*command: str) -> str:
    """Run a tool of the system.

    Raises:
        WeatherError: It failed, or is not there.
    """
    if shutil.which(command[0]) is None:
        raise WeatherError(f"{command[0]} is not installed")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise WeatherError(f"{' '.join(command)}: {ran.stderr.strip()}")
    return ran.stdout


class Netem:
    """The kernel's own."""

    listen, dial = "127.0.0.1", "127.0.0.1"

    def __init__(self, loss: float, delay_ms: float, jitter_ms: float, seed: int) -> None:
        run("ip", "link", "set", "lo", "up")
        # One packet after another is delayed by its own time: that reorders them.
        rule = ["loss", f"{loss * 100}%", "delay", f"{delay_ms}ms", f"{jitter_ms}ms"]
        run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "limit", "10000", *rule)

    async def serve(self) -> None:
        await trio.sleep_forever()

    def counts(self) -> dict[str, int]:
        (queue,) = json.loads(run("tc", "-s", "-j", "qdisc", "show", "dev", "lo"))
        return {"packets": queue["packets"], "lost": queue["drops"]}


class Tun:
    """A device whose packets come to this process, and go back into it later, in another order, or not at all."""

    listen, dial = HERE, THERE

    def __init__(self, loss: float, delay_ms: float, jitter_ms: float, seed: int) -> None:
        self.loss, self.delay, self.jitter = loss, delay_ms / 1000, jitter_ms / 1000
        self.packets = self.lost = self.overtaken = 0
        self._random = random.Random(seed)
        self._latest = -inf
        try:
            self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", b"weather", IFF_TUN | IFF_NO_PI))
        except OSError as error:
            raise WeatherError(f"/dev/net/tun: {error.strerror}") from None
        run("ip", "addr", "add", f"{HERE}/24", "dev", "weather")
        run("ip", "link", "set", "weather", "up")

    async def serve(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(self.device)
                packet = os.read(self.device, 65536)
                if packet[0] >> 4 != 4:
                    continue
                self.packets += 1
                if self._random.random() < self.loss:
                    self.lost += 1
                    continue
                due = trio.current_time() + max(0.0, self.delay + self._random.uniform(-1, 1) * self.jitter)
                self.overtaken += due < self._latest
                self._latest = max(self._latest, due)
                nursery.start_soon(
                    self._deliver, packet[:12] + packet[16:20] + packet[12:16] + packet[20:], due
                )

    async def _deliver(self, packet: bytes, due: float) -> None:
        await trio.sleep_until(due)
        os.write(self.device, packet)

    def counts(self) -> dict[str, int]:
        return {"packets": self.packets, "lost": self.lost, "overtaken": self.overtaken}


async def main(kind: str, numbers: list[str]) -> None:
    loss, delay, jitter, seed = numbers
    weather: Netem | Tun
    try:
        weather = (Netem if kind == "netem" else Tun)(float(loss), float(delay), float(jitter), int(seed))
    except WeatherError as error:
        tell("weather", impossible=str(error))
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(weather.serve)
        tell("weather", listen=weather.listen, dial=weather.dial)
        async for _ in trio.lowlevel.FdStream(os.dup(0)):
            told: dict[str, Any] = weather.counts()
            tell("look", **told)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2:])

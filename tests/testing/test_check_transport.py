"""The contract suite of transports passes those that are shipped, and fails those that are broken (RTT-69)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio

from web4 import rtt
from web4.rtt.transports import TcpTransport, UnixTransport
from web4.testing import TransportContractError, check_transport
from web4.testing.transport import CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STRIDE = int(os.environ.get("WEB4_TRANSPORT_STRIDE", "211"))
ROUNDS = int(os.environ.get("WEB4_TRANSPORT_ROUNDS", "20"))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("scheme", ["tcp", "unix", "memory"])
async def test_xport_contract_suite(scheme: str, check: str, tmp_path: Path) -> None:
    """RTT-69: every shipped transport fulfils the contract, as it is and with a stream that has no descriptor."""
    network = rtt.MemoryNetwork()
    shipped: dict[str, tuple[Callable[[], rtt.Transport], str]] = {
        "tcp": (TcpTransport, "tcp://127.0.0.1:0"),
        "unix": (UnixTransport, f"unix://{tmp_path}/s"),
        "memory": (lambda: rtt.MemoryTransport(network), "memory://contract"),
    }
    factory, at = shipped[scheme]
    ran = await check_transport(factory, at, only=[check], stride=STRIDE, rounds=ROUNDS)
    assert ran[check] > 0


class Broken(trio.abc.HalfCloseableStream):
    """A stream that is as good as the one it wraps, until somebody breaks it."""

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        self.inner = inner
        self.calls = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self.inner.send_eof()

    async def aclose(self) -> None:
        await self.inner.aclose()


class DropsAByte(Broken):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.calls += 1
        await self.inner.send_all(data[1:] if self.calls == 3 else data)


class Repeats(Broken):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.calls += 1
        await self.inner.send_all(bytes(data) * (2 if self.calls == 3 else 1))


class Reorders(Broken):
    held = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.calls += 1
        if self.calls == 3:
            self.held = bytes(data)
        else:
            await self.inner.send_all(bytes(data) + self.held)
            self.held = b""


class NeverEnds(Broken):
    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()


class EndsTooSoon(Broken):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.calls += 1
        return b"" if self.calls == 5 else await self.inner.receive_some(max_bytes)


class ForgetsWhatACancelledReceiveTook(Broken):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.inner.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        return data


class SleepsThroughItsClose(Broken):
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            return await self.inner.receive_some(max_bytes)
        except trio.ClosedResourceError:
            await trio.sleep_forever()
            raise


class LeavesATask(Broken):
    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        super().__init__(inner)
        trio.lowlevel.spawn_system_task(trio.sleep_forever)


class BrokenTransport(rtt.MemoryTransport):
    def __init__(self, network: rtt.MemoryNetwork, breaks: type[Broken]) -> None:
        super().__init__(network)
        self._breaks = breaks

    async def connect(self, address: rtt.Address, given_up: rtt.GivenUp | None = None) -> trio.abc.Stream:
        stream = await super().connect(address, given_up)
        assert isinstance(stream, trio.abc.HalfCloseableStream)
        return self._breaks(stream)


@pytest.mark.parametrize(
    ("breaks", "check"),
    [
        (DropsAByte, "carries every byte"),
        (DropsAByte, "echoes every size"),
        (Repeats, "carries every byte"),
        (Repeats, "echoes every size"),
        (Reorders, "carries every byte"),
        (Reorders, "echoes every size"),
        (NeverEnds, "behaves as a stream"),
        (NeverEnds, "carries every byte"),
        (NeverEnds, "notices silence"),
        (EndsTooSoon, "carries every byte"),
        (EndsTooSoon, "looks like memory"),
        (ForgetsWhatACancelledReceiveTook, "cancels its methods"),
        (SleepsThroughItsClose, "behaves as a stream"),
        (LeavesATask, "leaves nothing"),
    ],
)
async def test_a_broken_transport_fails(breaks: type[Broken], check: str) -> None:
    """RTT-69: each check sees what it is for, and says where."""
    network = rtt.MemoryNetwork()
    with pytest.raises(TransportContractError) as caught:
        await check_transport(
            lambda: BrokenTransport(network, breaks), "memory://contract", only=[check], patience=0.5
        )
    assert str(caught.value).startswith(f"{check}: ")


async def test_a_transport_without_back_pressure_fails() -> None:
    """RTT-69: a sender that never waits would hold a flood in memory."""
    network = rtt.MemoryNetwork(capacity=1 << 40)
    with pytest.raises(TransportContractError, match="holds back a sender"):
        await check_transport(
            lambda: rtt.MemoryTransport(network), "memory://contract", only=["holds back a sender"]
        )


async def test_a_transport_that_lies_about_itself_fails() -> None:
    network = rtt.MemoryNetwork()

    class Lies(rtt.MemoryTransport):
        max_write = 0

    with pytest.raises(TransportContractError, match="max_write"):
        await check_transport(lambda: Lies(network), "memory://contract", only=["declares itself"])
    with pytest.raises(TransportContractError, match="scheme"):
        await check_transport(lambda: Lies(network), "tcp://127.0.0.1:0", only=["declares itself"])


async def test_what_check_transport_refuses() -> None:
    network = rtt.MemoryNetwork()
    with pytest.raises(ValueError, match="no check telepathy"):
        await check_transport(lambda: rtt.MemoryTransport(network), "memory://a", only=["telepathy"])
    with pytest.raises(ValueError, match="stride"):
        await check_transport(lambda: rtt.MemoryTransport(network), "memory://a", stride=0)

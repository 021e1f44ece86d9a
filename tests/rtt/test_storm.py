"""A storm of cancellations on both sides of a session, against a model of what was accepted (RTT-23, RTT-62, RTT-63).

A failure names the seed, which repeats the options and the choices of every task, though not the kernel's timing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio

from tests.rtt.arrange import SAFETY, paired
from web4 import rtt

if TYPE_CHECKING:
    from pathlib import Path

SENDERS = 3
STEPS = 25
LAST = b"last"
KINDS = ("knowledge", "control", "state")


@dataclass
class Direction:
    """One direction of a channel, and what its model knows of it."""

    sending: rtt.Channel
    receiving: rtt.Channel
    accepted: dict[int, list[bytes]] = field(default_factory=lambda: {who: [] for who in range(SENDERS)})
    refused: set[bytes] = field(default_factory=set)
    delivered: list[bytes] = field(default_factory=list)

    def check(self) -> None:
        """Exactly once, in each sender's order, and nothing that was cancelled."""
        accepted = [message for messages in self.accepted.values() for message in messages]
        assert sorted(self.delivered) == sorted(accepted)
        assert self.refused.isdisjoint(self.delivered)
        for who, messages in self.accepted.items():
            assert [message for message in self.delivered if message.startswith(b"%d:" % who)] == messages
        stats = self.sending.stats()
        assert stats["accepted"] == stats["acknowledged"] == len(accepted) + 1
        assert stats["attempted"] == stats["accepted"] + stats["failed"] + stats["cancelled"]


class Storm:
    """Tasks that send, receive and flush, and a task that cancels them, several in one moment."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.choose = random.Random(seed)
        self.scopes: list[trio.CancelScope] = []

    def options(self) -> rtt.Options:
        return rtt.Options(
            frame_payload=self.choose.choice([4096, 16384, 65536]),
            control=self.limits(64 * 1024),
            state=self.limits(64 * 1024),
            knowledge=self.limits(256 * 1024),
            resend_bytes=self.choose.choice([64 * 1024, 4 * 1024 * 1024]),
            resend_reserve=16 * 1024,
        )

    def limits(self, largest: int) -> rtt.ChannelLimits:
        size = self.choose.choice([1024, 4096, largest])
        window = self.choose.choice([size, size + 1, 2 * size])
        return rtt.ChannelLimits(size, self.choose.choice([1, 2, 7, 256]), window)

    def scope(self, choose: random.Random) -> trio.CancelScope:
        scope = trio.CancelScope()
        match choose.randrange(4):
            case 0:
                scope.deadline = trio.current_time() + choose.choice([0, 1e-6, 1e-4, 1e-3])
            case 1:
                self.scopes.append(scope)
        return scope

    async def cancel(self) -> None:
        while True:
            await trio.sleep(self.choose.choice([0, 1e-5, 1e-4]))
            while self.scopes:
                self.scopes.pop().cancel()

    async def send(self, direction: Direction, who: int) -> None:
        choose = random.Random(f"{self.seed} send {direction.sending.kind} {direction.sending.id} {who}")
        largest = direction.sending.max_message
        for step in range(STEPS):
            batch = []
            for number in range(choose.choice([1, 1, 1, 2, 4])):
                head = b"%d:%d:%d:" % (who, step, number)
                batch.append(head.ljust(choose.choice([len(head), 100, largest // 8, largest]), b"."))
            direction.refused.update(batch)
            with self.scope(choose):
                try:
                    if len(batch) == 1:
                        await direction.sending.send(batch[0])
                    else:
                        await direction.sending.send_many(batch)
                except rtt.BatchTooLargeError:
                    continue
                # It returned, so it was accepted, cancelled or not.
                direction.refused.difference_update(batch)
                direction.accepted[who] += batch
            if choose.random() < 0.1:
                with self.scope(choose):
                    await direction.sending.flush()

    async def receive(self, direction: Direction) -> None:
        choose = random.Random(f"{self.seed} receive {direction.receiving.kind} {direction.receiving.id}")
        while direction.delivered[-1:] != [LAST]:
            with self.scope(choose):
                most = choose.choice([1, 3, 1000])
                direction.delivered += await direction.receiving.receive_many(max=most)
        direction.delivered.pop()

    async def run(self, directions: list[Direction]) -> None:
        async with trio.open_nursery() as chaos:
            chaos.start_soon(self.cancel)
            async with trio.open_nursery() as readers:
                for direction in directions:
                    readers.start_soon(self.receive, direction)
                async with trio.open_nursery() as senders:
                    for direction in directions:
                        for who in range(SENDERS):
                            senders.start_soon(self.send, direction, who)
                for direction in directions:
                    await direction.sending.send(LAST)
                    await direction.sending.flush()
            chaos.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(12))
async def test_rtt_cancellation_storm(seed: int, tmp_path: Path) -> None:
    """RTT-23, RTT-62, RTT-63: exactly once and in order, whatever is cancelled and whenever."""
    storm = Storm(seed)
    url = storm.choose.choice(["tcp://127.0.0.1:0", f"unix://{tmp_path}/s"])
    with trio.fail_after(SAFETY):
        async with paired(url=url, options=storm.options(), there=storm.options()) as pair:
            directions = []
            for kind in KINDS:
                here = await pair.here.open_channel(kind, policy="block")
                there = await pair.there.accept_channel(policy="block")
                directions += [Direction(here, there), Direction(there, here)]
            await storm.run(directions)
            for direction in directions:
                direction.check()
            assert not pair.here.waits
            assert not pair.there.waits

"""A node that is killed while it talks: what it took in it has heard for good, and whom it trusts it knows (REP-2).

`WEB4_PEER_KILLS` says how many times (3); `WEB4_SEED` repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from tests.protocols.cip.examples import ADA, BOB, EVERYTHING, FACT, TRACE
from tests.seeds import a_seed
from web4 import rtt
from web4.journal import EventRegistry
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.replay import replay
from web4.journal.verify import verify
from web4.protocols.cip import PEER_EVENTS, CipOptions, CipRuntime
from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.errors import HandshakeFailed, NotConnectedError
from web4.protocols.messages import cip as m

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("WEB4_PEER_KILLS", "3"))
PATIENCE = 60
AGAIN = 64
"""How many of the newest messages are said again after each restart."""


class Victim:
    """Bob in a process of his own, and what he said."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []
        self.more = trio.Event()
        self.ended = False

    async def listen(self) -> None:
        assert self.process.stdout is not None
        pending = b""
        async for chunk in self.process.stdout:
            *lines, pending = (pending + chunk).split(b"\n")
            self.said += [json.loads(line) for line in lines]
            self._wake()
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        self.more.set()
        self.more = trio.Event()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.said if line["kind"] == kind]

    async def until(self, kind: str, number: int = 1) -> list[dict[str, Any]]:
        while len(self.of(kind)) < number:
            assert not self.ended, f"ended without {number} {kind}: {self.said[-5:]}"
            await self.more.wait()
        return self.of(kind)

    async def end(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        await self.process.wait()


async def start(directory: Path, nursery: trio.Nursery) -> Victim:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.protocols.cip.durable_node", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    victim = Victim(process)
    nursery.start_soon(victim.listen)
    return victim


class Teller:
    """Ada, who keeps what she said, byte for byte."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.said: dict[str, bytes] = {}

    async def talk(self, url: str, known: list[str], most: int) -> None:
        """Establish a session, say `known` once more, then `most` new facts; ends when the session does."""
        options = CipOptions(agent_id="ada", offer=EVERYTHING)
        trouble = (rtt.RttError, HandshakeFailed, NotConnectedError)
        async with rtt.open_endpoint(ADA) as endpoint, CipRuntime(ADA, options=options) as cip:
            with suppress(*trouble):
                async with endpoint.dial(url, expect=BOB.fingerprint) as session:
                    self.nursery.start_soon(cip.serve, session)
                    await cip.established(session)
                    link = cip._links.of(BOB.fingerprint)[0]
                    channel = await link._channels.get("knowledge")
                    for msg_id in known:
                        await channel.send(self.said[msg_id])
                    for _ in range(most):
                        fact = m.FactPropose(fact=FACT, dmp_trace=TRACE, causal_links=())
                        sealed, _ = link.session.send(fact)
                        self.said[sealed.msg_id] = sealed.data
                        await channel.send(sealed.data)
                    await trio.sleep_forever()


async def test_kill_and_remember(tmp_path: Path) -> None:
    """Killed with SIGKILL at any moment under load: nothing that was settled is delivered again, and trust stays."""
    seed = a_seed()
    print(f"WEB4_SEED={seed} WEB4_PEER_KILLS={KILLS}")
    chance = random.Random(seed)
    delivered: list[str] = []
    settled: set[str] = set()
    with trio.fail_after(PATIENCE + 5 * KILLS):
        async with trio.open_nursery() as nursery:
            ada = Teller(nursery)
            for round_ in range(KILLS):
                bob = await start(tmp_path, nursery)
                (remembered,) = await bob.until("remembered")
                assert remembered["durability"] == "strict"
                if delivered:
                    assert remembered["peers"][ADA.fingerprint][0] == "probing"
                (listening,) = await bob.until("listening")
                known = delivered[-AGAIN:]
                talking = trio.CancelScope()

                async def talk(url: str, known: list[str], scope: trio.CancelScope) -> None:
                    with scope:
                        await ada.talk(url, known, 300)

                nursery.start_soon(partial(talk, listening["url"], known, talking))
                # Everything that was delivered before is known: each is a duplicate, and no fact comes before that.
                duplicates = await bob.until("replay_detected", len(known)) if known else []
                assert [(one["msg_id"], one["status"]) for one in duplicates] == [
                    (msg_id, "duplicate") for msg_id in known
                ]
                await bob.until("delivered", chance.choice((1, 1, 5, 40, 150)))
                await trio.sleep(chance.random() * 0.01)
                bob.process.kill()
                await bob.process.wait()
                while not bob.ended:
                    await bob.more.wait()
                assert bob.of("trouble") == []
                new = [line["msg_id"] for line in bob.of("delivered")]
                assert not set(new) & settled, f"delivered again in round {round_}"
                assert len(set(new)) == len(new)
                delivered += [msg_id for msg_id in new if msg_id not in delivered]
                settled |= {line["msg_id"] for line in bob.of("settled")}
                talking.cancel()
            # Two boots on the same bytes remember the same, byte for byte; without a session nothing is written.
            states = []
            for boot in range(3):
                bob = await start(tmp_path, nursery)
                await bob.until("listening")
                if boot == 0:  # what was not settled is delivered once more
                    unsettled = bob.of("remembered")[0]["peers"][ADA.fingerprint][2]
                    await bob.until("settled", unsettled)
                    assert {line["msg_id"] for line in bob.of("delivered")}.isdisjoint(settled)
                    await bob.end()
                    continue
                states.append(bob.of("remembered")[0]["peers"])
                await bob.end()
            assert states[0] == states[1]
            assert states[0][ADA.fingerprint][0] == "probing"
            nursery.cancel_scope.cancel()
    # What is on disk holds by itself: chain, snapshots, blobs; and replay without any snapshot gives that state.
    registry = EventRegistry(PEER_EVENTS)
    async with open_sqlite(tmp_path / "journal", read_only=True) as store:
        report = await verify(store, registry, fingerprint=BOB.fingerprint)
        assert report.clean, report.findings
        replayed = await replay(store, {"peer": peer_definition()}, registry)
    assert [(lane.lane.id, lane.digest, lane.stopped) for lane in replayed.lanes] == [
        (ADA.fingerprint, states[0][ADA.fingerprint][1], None)
    ]
    assert replayed.divergences == ()

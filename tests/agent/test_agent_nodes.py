"""The loop on real nodes: over sockets, with the outbox, and over the death of a process."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from tests.protocols.cip.examples import ADA, BOB, EVERYTHING
from tests.protocols.cip.nodes import Node, until
from tests.protocols.cip.test_cip_kill import Victim
from web4 import rtt
from web4.agent import AgentLoopAdapter, Result, Task
from web4.agent.pacing import Pacer, Readings
from web4.journal.backends.memory import MemoryStore
from web4.protocols.cip import CipOptions, CipRuntime
from web4.protocols.messages.cip import Reply
from web4.protocols.router import ProtocolRouter
from web4.testing import TrioClock
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from web4.agent import Answer
    from web4.agent.tasks import TaskHandler

PATIENCE = 60


def agent(node: Node, nursery: trio.Nursery, handler: TaskHandler) -> AgentLoopAdapter:
    router = ProtocolRouter(node.cip, emit=node.emit)
    adapter = AgentLoopAdapter(router, handler)
    nursery.start_soon(router.run)
    return adapter


async def idle(task: Task) -> Result:
    return Result()


@pytest.fixture
def clock() -> MockClock:
    return trio.testing.MockClock(autojump_threshold=0.02)


@pytest.mark.parametrize("durable", [False, True])
async def test_loop_peer_question(durable: bool, tmp_path: Path, clock: MockClock) -> None:
    """LOOP-5: asked over a socket, accepted at once, concluded by a signed reply of the same conversation."""

    async def forecast(task: Task) -> Result:
        await trio.sleep(5)
        return Result(content={"forecast": f"{task.content['topic'].text}: dry"}, confidence=0.7)

    stores = (MemoryStore(), MemoryStore()) if durable else (None, None)
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        ada = await stack.enter_async_context(Node(ADA, nursery, tmp_path, "ada", store=stores[0]))
        asker = agent(ada, nursery, idle)
        bob = await stack.enter_async_context(Node(BOB, nursery, tmp_path, "bob", store=stores[1]))
        agent(bob, nursery, forecast)
        session = await ada.dial(bob)
        await ada.cip.established(session)
        answer = await asker.ask(BOB.fingerprint, goal="ask", topic="weather")
        assert answer.status == "done"
        assert answer.content is not None
        assert answer.content.json() == {"forecast": "weather: dry"}
        states = [fields["state"] for kind, fields in bob.events if kind == "loop_state"]
        assert states == ["listening", "thinking", "responding", "idle"]
        routed = await bob.event("envelope_routed", type="INTENT")
        assert (routed["state"], routed["peer"]) == ("handled", ADA.fingerprint)
        assert (await ada.event("envelope_routed", type="REPLY"))["corr_id"] == answer.corr_id
        assert not [fields for kind, fields in (*ada.events, *bob.events) if kind == "error"]
        await stack.aclose()
        nursery.cancel_scope.cancel()


class Machine:
    """Sensors that say what a test sets."""

    def __init__(self) -> None:
        self.cpu = 0.0

    def read(self) -> Readings:
        return Readings(cpu=self.cpu)


async def test_pace_hysteresis_peers_see_it_and_defer(tmp_path: Path, clock: MockClock) -> None:
    """PACE-2 to PACE-4: load that swings is told once; a peer's questions wait until it is over, then arrive."""
    machine = Machine()
    asked: list[float] = []

    async def note(task: Task) -> Result:
        asked.append(trio.current_time())
        return Result()

    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        ada = await stack.enter_async_context(Node(ADA, nursery, tmp_path, "ada"))
        asker = agent(ada, nursery, idle)
        bob = await stack.enter_async_context(Node(BOB, nursery, tmp_path, "bob"))
        agent(bob, nursery, note)
        pacer = Pacer(bob.cip, sensors=machine, clock=TrioClock(START_MS))
        nursery.start_soon(pacer.run)
        session = await ada.dial(bob)
        await ada.cip.established(session)
        machine.cpu = 0.9

        def seen() -> str | None:
            state = ada.cip.peer_state(BOB.fingerprint)
            return None if state is None else state.presence

        await until(lambda: seen() == "overloaded")
        nursery.start_soon(partial(asker.ask, BOB.fingerprint, goal="ask", topic="weather"))
        for second in range(20):
            machine.cpu = 0.82 + 0.04 * (second % 2)
            await trio.sleep(1)
            assert seen() == "overloaded", "swinging around the bound is no recovery"
        assert not asked
        machine.cpu = 0.1
        recovered = trio.current_time()
        await until(lambda: bool(asked))
        assert 5 <= asked[0] - recovered < 30
        assert seen() == "focused"
        await stack.aclose()
        nursery.cancel_scope.cancel()


async def start(directory: Path, nursery: trio.Nursery, *more: str) -> Victim:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.agent.agent_process", str(directory), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    victim = Victim(process)
    nursery.start_soon(victim.listen)
    return victim


@pytest.mark.parametrize("idempotent", [False, True])
async def test_loop_killed_while_it_works(idempotent: bool, tmp_path: Path) -> None:
    """LOOP-4, OUT-3: the asker of a task that a crash interrupted is told so, or answered by the next life: once."""
    heard: list[Answer] = []
    more = ("idempotent",) if idempotent else ()
    with trio.fail_after(PATIENCE):
        async with (
            rtt.open_endpoint(ADA) as endpoint,
            CipRuntime(ADA, options=CipOptions(agent_id="ada", offer=EVERYTHING)) as cip,
            trio.open_nursery() as nursery,
        ):
            replies: list[tuple[str, str]] = []
            router = ProtocolRouter(cip)

            async def note(delivery: object) -> None:
                payload = delivery.message.payload  # type: ignore[attr-defined]
                assert isinstance(payload, Reply)
                replies.append((payload.status, payload.reason))

            router.register("cip", "REPLY", note)
            adapter = AgentLoopAdapter(router, idle)
            nursery.start_soon(router.run)

            async def ask() -> None:
                heard.append(await adapter.ask(BOB.fingerprint, goal="ask", topic="weather"))

            victim = await start(tmp_path, nursery, *more)
            (listening,) = await victim.until("listening")
            over = trio.CancelScope()

            async def stay(url: str) -> None:
                with over:
                    try:
                        async with endpoint.dial(url, expect=BOB.fingerprint) as session:
                            await cip.serve(session)
                    except rtt.RttError:
                        pass

            nursery.start_soon(stay, listening["url"])
            await cip.connected(BOB.fingerprint)
            nursery.start_soon(ask)
            await victim.until("working")
            victim.process.kill()
            await victim.process.wait()
            over.cancel()
            over = trio.CancelScope()

            (tmp_path / "released").touch()
            victim = await start(tmp_path, nursery, *more)
            (listening,) = await victim.until("listening")
            nursery.start_soon(stay, listening["url"])
            while not heard:  # noqa: ASYNC110 - it is given by another task
                await trio.sleep(0.01)
            (answer,) = heard
            if idempotent:
                assert answer.status == "done"
                assert answer.content is not None
                assert answer.content.json() == {"again": True}
                assert victim.of("working") == [{"kind": "working", "again": True, "topic": "weather"}]
            else:
                assert (answer.status, answer.reason.text) == ("failed", "interrupted")
                assert not victim.of("working")
            assert [status for status, _ in replies].count(answer.status) == 1
            await victim.end()
            nursery.cancel_scope.cancel()

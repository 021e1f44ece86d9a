"""Web4 in one file (DEMO-6): whole nodes, in processes of their own, over real sockets, with real keys and disks.

Run it alone: `python -m pytest tests/e2e/test_web4_runtime.py`. Ada lives in the test's process, the others in children
that run this file, take commands as lines of JSON, and answer each with one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from web4 import Node, open_node
from web4.agent import ChannelHandler, Result
from web4.demo.proving import prove
from web4.mesh.registry.peers_file import NamedPeer, add_peer
from web4.mesh.services.catalogue import Service
from web4.node import NodeConfig, NodeParts, Places, make_directory
from web4.protocols.decision_history import check_decisions, decisions_about
from web4.protocols.hcp import Answer, ConsentDenied, Contact, Grant, PacingDeferred, Revoke, SetState
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.ledger.evaluation import Load
from web4.protocols.messages import cip, lip
from web4.protocols.messages.lip import SourceRequest
from web4.trust import OperatorBlock, OperatorPromote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from web4.mesh.services.catalogue import ServiceCall

SECONDS = 120
"""After which a test hangs. All of them together take far less than a minute on two cores that are free."""


# --- what both kinds of nodes are made of -----------------------------------------------------------------


@asynccontextmanager
async def a_node(place: Path, listen: str, knows: list[dict[str, Any]], **parts: Any) -> AsyncIterator[Node]:
    """A node whose directory is `place`; it dials those that it knows."""
    places = Places(place)
    make_directory(places)
    for known in knows:
        if known["name"] not in (places.peers.read_text() if places.peers.exists() else ""):
            add_peer(places.peers, msgspec.convert(known, NamedPeer))
    sections = {"rtt": {"listen": [listen]}, "observe": {"file": False}}
    config = msgspec.convert(sections, NodeConfig)
    async with open_node(place, config=config, parts=NodeParts(pace=False, **parts)) as node:
        yield node


def known(node: Node | Child | dict[str, Any]) -> dict[str, Any]:
    """How others know a node; what says so already stays."""
    if isinstance(node, dict):
        return node
    return {"name": node.name, "fingerprint": node.fingerprint, "addresses": list(node.addresses)}


def fact(statement: str) -> cip.FactPropose:
    trace = cip.DmpTrace(decision_id=str(uuid.uuid4()), steps=("saw it",), counterfactuals=(), evidence=())
    said = cip.Fact(statement=statement, domain="physics", confidence=0.9, sources=("a bath",), context={})
    return cip.FactPropose(fact=said, dmp_trace=trace, causal_links=())


async def until(holds: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until it holds; the test's own time limit ends it."""
    while not (found := await holds()):  # noqa: ASYNC110 - what is in another process has no event here
        await trio.sleep(0.02)
    return found


# --- the child: a whole node in a process of its own ------------------------------------------------------


class Answering:
    """What the test may ask of a child."""

    def __init__(self, node: Node) -> None:
        self.node = node

    async def do(self, command: str, **given: Any) -> Any:
        return await getattr(self, f"do_{command}")(**given)

    async def do_connected(self, peer: str) -> str:
        await self.node.connected(peer)
        return str(self.node.trust.state(peer))

    async def do_anchor(self, peer: str) -> None:
        await self.node.cip.anchor([peer])

    async def do_trust(self, peer: str) -> str:
        return str(self.node.trust.state(peer))

    async def do_act(self, peer: str, block: bool) -> None:
        act = OperatorBlock if block else OperatorPromote
        now = self.node.clock.wall_ms()
        await self.node.cip.trust_command(peer, act(at_ms=now, human="hal", reason="met in person"))

    async def do_status(self, key: str) -> str:
        return (await self.node.knowledge.claim(key)).status

    async def do_tier(self, domain: str, tier: Any) -> None:
        await self.node.knowledge.set_tier(domain, tier, "hal", "known for years")

    async def do_prove(self) -> dict[str, Any]:
        return await prove(self.node)

    async def do_propose(self, statement: str, to: list[str]) -> str:
        return (await self.node.knowledge.propose(fact(statement), to=to)).key

    async def do_claims(self) -> dict[str, int]:
        """How many proposals each claim has: none is handled twice."""
        return {claim.key: len(claim.proposals) for claim in await self.node.knowledge.claims()}

    async def do_presence(self, presence: Any) -> None:
        self.node.cip.set_state(presence=presence)

    async def do_human(self, human: str) -> None:
        await self.node.people.add_human(human, name=human, role="owner")
        await self.node.people.act(human, Grant(), door="test")

    async def do_hello(self, human: str, peer: str, other: str) -> str:
        return str((await self.node.people.say_hello(human, Contact(peer, other))).status)

    async def do_be(self, human: str, **state: Any) -> None:
        await self.node.people.act(human, SetState(**state), door="test")

    async def do_revoke(self, human: str) -> None:
        await self.node.people.act(human, Revoke(), door="test")

    async def do_answer(self, human: str, yes: bool) -> None:
        async def asked() -> Any:
            return await self.node.people.pending(human)

        (check_in,) = await until(asked)
        await self.node.people.act(human, Answer(check_in.check_in_id, yes=yes), door="test")

    async def do_routed(self) -> list[list[str | None]]:
        """Which messages its router brought to a handler."""
        routed = self.node.hub.memory.select(lambda event: event.type == "envelope_routed")
        return [[event.protocol, event.payload.get("type")] for event in routed]


async def live(handler: ChannelHandler) -> None:
    """The child's own loop: tasks come out of one queue, and answers go into the other (LOOP-8)."""
    async for task in handler.tasks:
        topic = task.content["topic"].text
        await handler.results(task, Result(content={"topic": topic, "by": "the embedded loop"}))


async def add(call: ServiceCall) -> dict[str, Any]:
    await trio.lowlevel.checkpoint()
    return {"sum": call.args["a"] + call.args["b"]}


async def child(setup: dict[str, Any]) -> None:
    """Run a node, and do what is asked of it, until standard input ends."""
    handler = ChannelHandler()
    service = Service(name="sum", version="1.0", handler=add, input_schema={"type": "object"})
    async with (
        a_node(
            Path(setup["place"]), setup["listen"], setup["knows"], handler=handler, services=(service,)
        ) as node,
        trio.open_nursery() as nursery,
    ):
        answering = Answering(node)
        nursery.start_soon(live, handler)
        print(json.dumps(known(node)), flush=True)
        rest = b""
        async with trio.lowlevel.FdStream(os.dup(0)) as lines:
            async for data in lines:
                *whole, rest = (rest + data).split(b"\n")
                for line in whole:
                    answer = await answering.do(**json.loads(line))
                    print(json.dumps({"answer": answer}), flush=True)
        nursery.cancel_scope.cancel()


class Child:
    """A node in a process of its own, as the test sees it."""

    def __init__(self, process: trio.Process, setup: dict[str, Any]) -> None:
        self.process = process
        self.setup = setup
        self._rest = b""
        self.name = self.fingerprint = ""
        self.addresses: list[str] = []

    async def line(self) -> Any:
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            data = await self.process.stdout.receive_some()
            if not data:
                raise AssertionError(f"{self.setup['place']} ended")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)

    async def ask(self, command: str, **given: Any) -> Any:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(json.dumps({"command": command, **given}).encode() + b"\n")
        return (await self.line())["answer"]


@asynccontextmanager
async def a_child(
    place: Path, *knows: Node | Child | dict[str, Any], listen: str = "tcp://127.0.0.1:0"
) -> AsyncIterator[Child]:
    """A child, until the end of the block; killed if it has not ended by then."""
    setup = {"place": str(place), "listen": listen, "knows": [known(one) for one in knows]}
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        command = [sys.executable, "-m", "tests.e2e.test_web4_runtime", json.dumps(setup)]
        process = await nursery.start(run, command)
        one = Child(process, setup)
        for name, value in (await one.line()).items():
            setattr(one, name, value)
        yield one
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def ada_and_bob(tmp_path: Path) -> AsyncIterator[tuple[Node, Child]]:
    """Ada here, Bob in a process, connected."""
    with trio.fail_after(SECONDS):
        async with (
            a_node(tmp_path / "ada", "tcp://127.0.0.1:0", [], handler=nothing) as ada,
            a_child(tmp_path / "bob", ada) as bob,
        ):
            await ada.connected(bob.fingerprint)
            yield ada, bob


async def confirm(node: Node, key: str, to: list[str]) -> None:
    """Confirm a claim once it has come, on evidence of the node's own (KNOW-4)."""

    async def there() -> bool:
        return any(claim.key == key for claim in await node.knowledge.claims())

    await until(there)
    seen = (cip.HumanEvidence(ref="a person looked"),)
    await node.knowledge.vote(key, "confirm", seen, to=to)


async def nothing(_: Any) -> Result:
    await trio.lowlevel.checkpoint()
    return Result()


# --- what it shows ----------------------------------------------------------------------------------------


async def test_handshake_and_trust(tmp_path: Path) -> None:
    """HS-2, TRUST-2, TRUST-7, MEM-1: proof makes probing, a person makes trusted, each with its record."""
    async with ada_and_bob(tmp_path) as (ada, bob):
        assert ada.trust.state(bob.fingerprint) == "probing"
        assert await bob.ask("connected", peer=ada.fingerprint) == "probing"
        promote = OperatorPromote(at_ms=ada.clock.wall_ms(), human="grace", reason="met in person")
        assert (await ada.cip.trust_command(bob.fingerprint, promote)).state == "trusted"
        backend, registry = ada.journal.backend, ada.journal.registry
        made = await decisions_about(backend, registry, bob.fingerprint)
        assert [(one.record.choice, one.record.actor) for one in made] == [
            ("trusted", "grace"),
            ("probing", "node"),
        ]
        assert (await check_decisions(backend, registry, made[0].lane)).sound
        assert (
            await bob.ask("connected", peer=ada.fingerprint) == "probing"
        )  # nobody's word but his own node's


async def test_facts_are_confirmed_and_wait(tmp_path: Path) -> None:
    """KNOW-5, KNOW-6 f, KNOW-9: one confirmer is too few; two suffice, but not while Ada is overloaded."""
    with trio.fail_after(SECONDS):
        async with (
            a_node(tmp_path / "ada", "tcp://127.0.0.1:0", []) as ada,
            a_node(tmp_path / "cid", "tcp://127.0.0.1:0", [known(ada)]) as cid,
            a_node(tmp_path / "dan", "tcp://127.0.0.1:0", [known(ada)]) as dan,
            a_child(tmp_path / "bob", ada, cid, dan) as bob,
        ):
            confirmers = (cid, dan)
            await ada.cip.anchor(one.fingerprint for one in confirmers)
            for one in (ada, *confirmers):
                await bob.ask("connected", peer=one.fingerprint)
            everyone = [one.fingerprint for one in (ada, *confirmers)]
            key = await bob.ask("propose", statement="ice floats", to=everyone)
            await confirm(cid, key, to=[ada.fingerprint])

            async def counted(number: int) -> bool:
                claims = {claim.key: claim for claim in await ada.knowledge.claims()}
                return key in claims and len(claims[key].votes) == number

            await until(partial(counted, 1))
            assert (await ada.knowledge.claim(key)).status == "pending"
            await ada.knowledge.see_load(Load(presence="overloaded", lri=95, kernel_overload=True))
            await confirm(dan, key, to=[ada.fingerprint])
            await until(partial(counted, 2))
            waiting = await ada.knowledge.claim(key)
            assert (waiting.status, waiting.reason) == ("pending", "load")
            await ada.knowledge.see_load(Load(presence="engaged", lri=10, kernel_overload=False))
            accepted = await ada.knowledge.claim(key)
            assert (accepted.status, sorted(accepted.confirmers)) == (
                "accepted",
                sorted(one.fingerprint for one in confirmers),
            )

            async def risen() -> bool:
                return ada.trust.state(bob.fingerprint) == "trusted"

            await until(risen)
            assert (await ada.knowledge.check("ice floats", "physics")).verdict == "supports"


async def test_consent_and_pressure(tmp_path: Path) -> None:
    """HCP-1, HCP-3, HCP-5: no consent, consent, a tense person who is asked, too much pressure, and the end of it."""
    async with ada_and_bob(tmp_path) as (ada, bob):
        await ada.cip.anchor([bob.fingerprint])
        await bob.ask("anchor", peer=ada.fingerprint)
        hal = Contact(bob.fingerprint, "hal")
        await ada.people.add_human("grace", name="Grace", role="owner")
        await ada.people.act("grace", Grant(), door="test")
        with pytest.raises(ConsentDenied):
            await say(ada, hal)
        await bob.ask("human", human="hal")
        await ada.people.say_hello("grace", hal)
        await bob.ask("hello", human="hal", peer=ada.fingerprint, other="grace")

        async def acquainted() -> bool:
            return await ada.people.acquainted("grace", hal) == "probing"

        await until(acquainted)
        assert (await say(ada, hal)).status == "sent"

        await bob.ask("be", human="hal", affect="tense")
        await gate_says(ada, hal, "CHECK_IN")
        assert (await say(ada, hal)).status == "asked"
        await bob.ask("be", human="hal", affect="calm", pressure=90, clarity=20)
        await gate_says(ada, hal, "DEFER")
        with pytest.raises(PacingDeferred):
            await say(ada, hal)
        await bob.ask("revoke", human="hal")
        await gate_says(ada, hal, "DENY")
        with pytest.raises(ConsentDenied) as denied:
            await say(ada, hal)
        assert denied.value.code == "consent_revoked"


async def say(ada: Node, to: Contact) -> Any:
    return await ada.people.send_intent("grace", to, goal="align", topic="garden/fence")


async def gate_says(ada: Node, to: Contact, result: str) -> None:
    """Wait until Ada has heard how the other is."""

    async def so() -> bool:
        verdict = await ada.people.gate("grace", to, topic="garden/fence")
        return verdict.result == result

    await until(so)


async def test_the_embedded_loop_answers(tmp_path: Path) -> None:
    """LOOP-5, LOOP-8, CIP-4: deferred while Bob is overloaded; then his own loop answers, through its output queue."""
    async with ada_and_bob(tmp_path) as (ada, bob):
        assert ada.loop is not None
        await bob.ask("presence", presence="overloaded")
        first = await ada.loop.ask(bob.fingerprint, goal="ask", topic="rain")
        assert first.status == "deferred"
        await bob.ask("presence", presence="engaged")
        answer = await ada.loop.ask(bob.fingerprint, goal="ask", topic="rain")
        assert (answer.status, json.loads(answer.content.text if answer.content else "")) == (
            "done",
            {"topic": "rain", "by": "the embedded loop"},
        )


async def test_each_protocol_is_routed(tmp_path: Path) -> None:
    """ROUTE-1: CIP, HCP, LIP and a service of the mesh, each to its own handler in the other process."""
    async with ada_and_bob(tmp_path) as (ada, bob):
        await ada.cip.anchor([bob.fingerprint])
        await bob.ask("anchor", peer=ada.fingerprint)
        await bob.ask("human", human="hal")
        await ada.people.add_human("grace", name="Grace", role="owner")
        await ada.people.act("grace", Grant(), door="test")
        await ada.people.say_hello("grace", Contact(bob.fingerprint, "hal"))
        await ada.knowledge.propose(fact("cork floats"), to=[bob.fingerprint])
        await ada.cip.send(
            bob.fingerprint,
            lip.LipFetch(query="http://127.0.0.1/", constraints=()),
            about=SourceRequest(uri="http://127.0.0.1/", trust_tier="unknown"),
        )
        result = await ada.services.invoke(
            bob.fingerprint, "sum", "1.0", {"a": 40, "b": 2}, deadline_seconds=20
        )
        assert result == {"sum": 42}
        wanted = {"FACT_PROPOSE", "HCP_HELLO", "LIP_FETCH", "SERVICE_INVOKE"}

        async def routed() -> bool:
            return wanted <= {kind for _, kind in await bob.ask("routed")}

        await until(routed)
        assert {protocol for protocol, _ in await bob.ask("routed")} == {"cip", "hcp", "lip", "mesh"}


async def test_reconnect_and_backpressure(tmp_path: Path) -> None:
    """OUT-4, OUT-6, RTT-25: a peer that stops is waited for, one that is killed is met again; each fact comes once."""
    statements = [f"stone {number} sinks" for number in range(60)]
    socket = f"unix://{tmp_path}/bob.sock"
    with trio.fail_after(SECONDS):
        async with a_node(tmp_path / "ada", "tcp://127.0.0.1:0", []) as ada:
            async with a_child(tmp_path / "bob", ada, listen=socket) as bob:
                await ada.connected(bob.fingerprint)
                os.kill(bob.process.pid, signal.SIGSTOP)
                for statement in statements[:30]:
                    await ada.knowledge.propose(fact(statement), to=[bob.fingerprint])
                await waiting(
                    ada, bob, 30
                )  # he reads nothing, so nothing has a receipt, and nothing is dropped
                os.kill(bob.process.pid, signal.SIGCONT)
                await waiting(ada, bob, 0)
                os.kill(bob.process.pid, signal.SIGKILL)
            for statement in statements[30:]:
                await ada.knowledge.propose(fact(statement), to=[bob.fingerprint])
            await waiting(ada, bob, 30)
            async with a_child(tmp_path / "bob", ada, listen=socket) as again:
                assert again.fingerprint == bob.fingerprint
                await waiting(ada, bob, 0)
                keys = {claim_key("physics", one) for one in statements}

                async def all_there() -> bool:
                    return set(await again.ask("claims")) >= keys

                await until(all_there)
                assert await again.ask("claims") == dict.fromkeys(keys, 1)


async def waiting(ada: Node, bob: Child, number: int) -> None:
    """Wait until so many messages wait for Bob."""

    async def so() -> bool:
        return len(await ada.cip.outbox(bob.fingerprint)) == number

    await until(so)


if __name__ == "__main__":
    trio.run(child, json.loads(sys.argv[1]))

"""An honest node of the mesh under attack, in a process of its own: a whole `Node`, and traffic that never rests.

It asks its neighbours and waits for their loops' answers, proposes facts that the others check and vote on, and calls a
service of the node across the ring. Nothing of it knows that there is an attack.
"""

from __future__ import annotations

import resource
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from web4.demo.child import Setup, run, serve
from web4.demo.node_process import NodeQuestions, answer_topic
from web4.foundation.digest import blake3_hex
from web4.foundation.errors import Web4Error
from web4.foundation.identity import save_identity
from web4.mesh.services.catalogue import Service
from web4.node import NodeConfig, NodeParts, Places, make_directory, open_node
from web4.protocols.messages import cip as m

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from web4.foundation.events import Event
    from web4.mesh.services.catalogue import ServiceCall
    from web4.node import Node
    from web4.protocols.knowledge.ledger.claims import Claim

DOMAIN: Final = "honest.example"
PATIENCE: Final = 60.0
"""Seconds after which an honest message counts as unanswered."""
_WITNESSED: Final = 4_096
"""Claims that may wait to be looked at; they are honest ones' and hostile ones'."""


def statement_of(name: str, number: int) -> str:
    """What the node `name` says as its fact of this number: whoever hears it can check it by itself."""
    return f"the number {number} of {name} is {blake3_hex(f'{name}/{number}'.encode())[:16]}"


def is_true(statement: str) -> bool:
    """Check a statement of this mesh at first hand (KNOW-4)."""
    words = statement.split()
    return len(words) == 7 and words[2].isdecimal() and statement == statement_of(words[4], int(words[2]))


async def add(call: ServiceCall) -> dict[str, Any]:
    """The service that everybody offers."""
    await trio.lowlevel.checkpoint()
    return {"sum": call.args["a"] + call.args["b"]}


_INTEGERS: Final = {"a": {"type": "integer"}, "b": {"type": "integer"}}
SUM: Final = Service(
    name="sum",
    version="1.0",
    handler=add,
    input_schema={"type": "object", "properties": _INTEGERS, "required": ["a", "b"]},
)


class Traffic:
    """What an honest node does all the time.

    Args:
        node: The node.
        nursery: Where its tasks run.
    """

    def __init__(self, node: Node, nursery: trio.Nursery) -> None:
        self.node = node
        self._nursery = nursery
        self.done: Counter[str] = Counter()
        """Exchanges that came to their end, by kind."""
        self.failed: list[str] = []
        """Those that did not."""
        self.proposed: list[str] = []
        """Keys of the claims of this node."""
        self._running = False
        self._open = 0
        self._claims, self._seen = trio.open_memory_channel[str](_WITNESSED)
        self._settled: dict[str, trio.Event] = {}
        node.hub.watch(self._notice)
        for _ in range(2):
            nursery.start_soon(self._witness)

    def start(self, neighbours: list[str], across: str) -> None:
        """Begin."""
        self._running = True
        questions = NodeQuestions(self.node)
        for peer in neighbours:
            self._nursery.start_soon(self._repeat, "ask", self._ask, questions, peer)
        self._nursery.start_soon(self._repeat, "fact", self._propose, questions)
        self._nursery.start_soon(self._repeat, "service", self._call, across)

    async def stop(self) -> None:
        """Begin nothing new, and wait until what was begun has ended."""
        self._running = False
        while self._open:  # noqa: ASYNC110 - the end of several tasks
            await trio.sleep(0.01)

    async def _repeat(self, kind: str, exchange: Callable[..., Awaitable[None]], *given: Any) -> None:
        self._open += 1
        try:
            while self._running:
                await self._once(kind, exchange, *given)
        finally:
            self._open -= 1

    async def _once(self, kind: str, exchange: Callable[..., Awaitable[None]], *given: Any) -> None:
        try:
            with trio.fail_after(PATIENCE):
                await exchange(*given)
        except (Web4Error, trio.TooSlowError, AssertionError) as error:
            self.failed.append(f"{kind}: {type(error).__name__} {getattr(error, 'code', '')} {error}")
            await trio.sleep(0.1)
        else:
            self.done[kind] += 1

    async def _ask(self, questions: NodeQuestions, peer: str) -> None:
        topic = f"question {self.done['ask']}"
        answer = await questions.ask({"peer": peer, "topic": topic})
        assert answer["status"] == "done", answer
        assert topic in answer["text"], answer

    async def _propose(self, questions: NodeQuestions) -> None:
        said = statement_of(self.node.name, len(self.proposed))
        claim = await questions.propose({"statement": said, "domain": DOMAIN})
        key = claim["key"]
        self.proposed.append(key)
        settled = self._settled[key] = trio.Event()
        if (await self.node.knowledge.claim(key)).status != "accepted":
            await settled.wait()
        self._settled.pop(key, None)

    async def _call(self, peer: str) -> None:
        number = self.done["service"]
        args = {"a": number, "b": 2}
        result = await self.node.services.invoke(peer, "sum", "1.0", args, deadline_seconds=PATIENCE)
        assert result == {"sum": number + 2}, result

    # --- what others say ----------------------------------------------------------------------------------

    def _notice(self, event: Event) -> None:
        if event.type == "claim_pending":
            try:
                self._claims.send_nowait(event.payload["key"])
            except trio.WouldBlock:
                self.failed.append("witness: more claims came than can be looked at")
        elif event.type == "claim_accepted":
            settled = self._settled.pop(event.payload["key"], None)
            if settled is not None:
                settled.set()

    async def _witness(self) -> None:
        """Look at what others claim, and vote on what can be checked here at first hand."""
        async for key in self._seen:
            try:
                claim = await self.node.knowledge.claim(key)
                if self._is_for_me(claim):
                    await self.node.knowledge.vote(
                        key, "confirm", evidence=(m.HumanEvidence(ref="computed again"),), confidence=1.0
                    )
            except Web4Error as error:
                self.failed.append(f"vote: {type(error).__name__} {error.code}")

    def _is_for_me(self, claim: Claim) -> bool:
        return (
            claim.domain == DOMAIN
            and is_true(claim.statement)
            and all(one.peer != self.node.fingerprint for one in claim.proposals)
        )


class HonestQuestions(NodeQuestions):
    """What the campaign asks of an honest node."""

    def __init__(self, node: Node, traffic: Traffic) -> None:
        super().__init__(node)
        self._traffic = traffic

    def answers(self) -> dict[str, Any]:
        """See `NodeQuestions`."""
        own = {
            "start": self.start,
            "stop": self.stop,
            "look": self.look,
            "judge": self.judge,
            "recent": self.recent,
        }
        return {**super().answers(), **own, "reach": self.reach, "expected": self.expected}

    async def reach(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Have an end to end session with a node that is no neighbour."""
        assert self.node.mesh is not None
        if asked.get("dial"):
            self.node.mesh.reach(asked["peer"])
        await self.node.connected(asked["peer"])
        return {}

    async def start(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Begin with the traffic."""
        self._traffic.start(asked["neighbours"], asked["across"])
        await trio.lowlevel.checkpoint()
        return {}

    async def stop(self, _: dict[str, Any]) -> dict[str, Any]:
        """End it."""
        await self._traffic.stop()
        return {}

    async def look(self, _: dict[str, Any]) -> dict[str, Any]:
        """What was exchanged, and what this process holds."""
        await trio.lowlevel.checkpoint()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "done": dict(self._traffic.done),
            "failed": self._traffic.failed[-5:],
            "failures": len(self._traffic.failed),
            "rss": _resident(),
            "journal": sum(
                one.stat().st_size for one in self.node.places.journal.rglob("*") if one.is_file()
            ),
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "descriptors": _descriptors(),
            "cpu": usage.ru_utime + usage.ru_stime,
            "sessions": len(self.node.cip.peers()),
        }

    async def expected(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Wait, not for ever, until a peer is trusted as it is expected to be."""
        with trio.move_on_after(asked["patience"]):
            while self.node.trust.state(asked["peer"]) not in asked["states"]:  # noqa: ASYNC110 - no event of ours
                await trio.sleep(0.02)
        linked = asked["peer"] in self.node.cip.peers()
        return {"state": self.node.trust.state(asked["peer"]), "linked": linked}

    async def judge(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Trust in honest nodes, and every honest claim, as they stand here."""
        trust = {}
        for peer in asked["honest"]:
            record = self.node.trust.record(peer)
            counts = {name: count for name, count in record.counts.items() if name != "knowledge_verified"}
            # What an honest node earns with its own accepted facts moves nothing; everything else has to stay.
            trust[peer] = msgspec.to_builtins(
                msgspec.structs.replace(record, counts=counts, seq=sum(counts.values()), at_ms=0)
            ) | {"verified": record.counts.get("knowledge_verified", 0)}
        settled, odd = [], {}
        after = None
        while page := await self.node.knowledge.claims(domain=DOMAIN, after=after, limit=500):
            for one in page:
                if is_true(one.statement):
                    # Which came first, acceptance or a doubt that passed, is each node's own story (KNOW-7).
                    rule = "e" if one.rule == "kept" else one.rule
                    settled.append(f"{one.key} {one.status} {rule}")
                    if one.status != "accepted":
                        odd[one.key] = f"{one.status} {one.rule}"
            after = page[-1].key
        digest = blake3_hex("\n".join(settled).encode())
        return {"trust": trust, "claims": len(settled), "digest": digest, "odd": odd}

    async def recent(self, _: dict[str, Any]) -> dict[str, Any]:
        """Claims of this node, for those who would attack them."""
        await trio.lowlevel.checkpoint()
        return {"claims": self._traffic.proposed[-100:]}


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _resident() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise OSError("the kernel does not say what this process holds")


async def main(setup: Setup, lines: AsyncIterator[dict[str, Any]]) -> None:
    """Be a node until the input ends."""
    places = Places(setup.directory)
    if not places.key.exists():
        await trio.to_thread.run_sync(lambda: save_identity(setup.identity, places.key))
    await trio.to_thread.run_sync(lambda: make_directory(places, name=setup.name))
    sections = {
        "node": {"name": setup.name},
        "rtt": {"listen": [setup.url]},
        "observe": {"file": False},
    }
    config = msgspec.convert(sections | setup.sections, NodeConfig)
    parts = NodeParts(handler=answer_topic, services=(SUM,), pace=False)
    async with open_node(places.data, config=config, parts=parts) as node, trio.open_nursery() as nursery:
        traffic = Traffic(node, nursery)
        setup.emit("ready", fingerprint=node.fingerprint, url=node.addresses[0])
        await serve_all(lines, HonestQuestions(node, traffic).answers())
        nursery.cancel_scope.cancel()


async def serve_all(lines: AsyncIterator[dict[str, Any]], answers: dict[str, Any]) -> None:
    """Answer several questions at once: one that waits must not hold up those that look."""
    async with trio.open_nursery() as nursery:
        async for question in lines:
            nursery.start_soon(serve, _one(question), answers)


async def _one(question: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield question


if __name__ == "__main__":
    run(main)

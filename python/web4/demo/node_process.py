"""An agent of a demo as a whole node in a process of its own: what every demo can ask it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from web4.agent import Result
from web4.demo.child import Setup, say_event, serve
from web4.foundation.identity import save_identity
from web4.journal.verify import verify
from web4.node import NodeConfig, NodeParts, Places, make_directory, open_node
from web4.protocols.messages import cip as m
from web4.trust import ManualOverride, OperatorBlock, OperatorPromote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from web4.agent import Task
    from web4.node import Node
    from web4.observe import Sink

    Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

_ACTS: dict[str, Any] = {"promote": OperatorPromote, "block": OperatorBlock, "forgive": ManualOverride}


async def answer_topic(task: Task) -> Result:
    """The loop of a demo's agent: it says what it was asked about. Foreign text stays data."""
    await trio.lowlevel.checkpoint()
    return Result(content={"about": task.content["topic"].text})


class NodeQuestions:
    """What can be asked of any node. Demos add their own to `answers`.

    Args:
        node: The node.
    """

    def __init__(self, node: Node) -> None:
        self.node = node

    def answers(self) -> dict[str, Answer]:
        """Each question by its name."""
        return {
            "know": self.know,
            "meet": self.meet,
            "operator": self.operator,
            "trust": self.trust,
            "ask": self.ask,
            "propose": self.propose,
            "claim": self.claim,
            "vote": self.vote,
            "outbox": self.outbox,
            "verified": self.verified,
            "waiting": self.waiting,
        }

    async def know(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Know a peer and where to dial it; with `anchor` the operator trusts it from the start."""
        await self.node.peers.add(asked["peer"], source="configured", addresses=asked.get("addresses"))
        if asked.get("anchor"):
            await self.node.cip.anchor([asked["peer"]])
        return {}

    async def meet(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Wait for an established session with a peer."""
        agreed = await self.node.connected(asked["peer"])
        return {"protocols": list(agreed.protocols)}

    async def operator(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Let a person decide about a peer."""
        act = _ACTS[asked["act"]]
        at_ms = self.node.clock.wall_ms()
        await self.node.cip.trust_command(
            asked["peer"], act(at_ms=at_ms, human=asked["human"], reason=asked["reason"])
        )
        return await self.trust(asked)

    async def trust(self, asked: dict[str, Any]) -> dict[str, Any]:
        """How far a peer is trusted, and the log of this life that says why."""
        await trio.lowlevel.checkpoint()
        fsm = self.node.trust.fsm(asked["peer"])
        log = [] if fsm is None else [msgspec.to_builtins(event) for event in fsm.log]
        return {"state": self.node.trust.state(asked["peer"]), "log": log}

    async def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Ask a peer's agent something, and wait for the answer."""
        assert self.node.loop is not None
        answer = await self.node.loop.ask(asked["peer"], goal="ask", topic=asked["topic"])
        return {"status": answer.status, "text": None if answer.content is None else answer.content.text}

    async def propose(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Propose a fact, to `to` or to every trusted peer."""
        fact = m.Fact(
            statement=asked["statement"],
            domain=asked["domain"],
            confidence=asked.get("confidence", 0.9),
            sources=tuple(asked.get("sources", ("observation",))),
            context={},
        )
        trace = m.DmpTrace(
            decision_id=self.node.ids.uuid4(),
            steps=("observed",),
            counterfactuals=("not told",),
            evidence=("seen",),
        )
        proposal = m.FactPropose(fact=fact, dmp_trace=trace, causal_links=())
        claim = await self.node.knowledge.propose(proposal, to=asked.get("to"))
        return {"key": claim.key, "status": claim.status}

    async def claim(self, asked: dict[str, Any]) -> dict[str, Any]:
        """How a claim stands here."""
        found = await self.node.knowledge.claim(asked["key"])
        return {
            "status": found.status,
            "reason": found.reason,
            "rule": found.rule,
            "statement": found.statement,
        }

    async def vote(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Vote on a claim on this node's own evidence: what a person of it saw (KNOW-4)."""
        await self.node.knowledge.vote(
            asked["key"],
            asked["decision"],
            evidence=(m.HumanEvidence(ref=asked["seen"]),),
            confidence=0.9,
            notes="",
        )
        return {}

    async def outbox(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What waits for a peer."""
        waiting = await self.node.cip.outbox(asked["peer"])
        return {"waiting": len(waiting)}

    async def waiting(self, _: dict[str, Any]) -> dict[str, Any]:
        """What the router has taken and not handled."""
        await trio.lowlevel.checkpoint()
        return {"waiting": self.node.router.waiting}

    async def verified(self, _: dict[str, Any]) -> dict[str, Any]:
        """What is wrong with the journal: chains, snapshots, blobs (JRN-12)."""
        report = await verify(self.node.journal.backend, self.node.journal.registry)
        return {
            "findings": [f"{one.lane} {one.seq}: {one.detail}" for one in report.findings],
            "records": report.records,
        }


@asynccontextmanager
async def demo_node(setup: Setup, *, sinks: tuple[Sink, ...] = (), **parts: Any) -> AsyncIterator[Node]:
    """Run the node of a demo's process; every event of it is said as it happens."""
    places = Places(setup.directory)
    if not places.key.exists():
        await trio.to_thread.run_sync(lambda: save_identity(setup.identity, places.key))
    await trio.to_thread.run_sync(lambda: make_directory(places, name=setup.name))
    config = msgspec.convert(
        {
            "node": {"name": setup.name},
            "rtt": {"listen": [setup.url]},
            "observe": {"file": False},
            **setup.sections,
        },
        NodeConfig,
    )
    given: dict[str, Any] = {"handler": answer_topic, "ids": setup.ids, "sinks": sinks, "pace": False} | parts
    async with open_node(places.data, config=config, parts=NodeParts(**given)) as node:
        for event in node.hub.memory:  # what happened before anybody watched
            say_event(event)
        node.hub.watch(say_event)
        yield node


async def be_node(
    setup: Setup,
    lines: AsyncIterator[dict[str, Any]],
    *,
    questions: Callable[[Node], NodeQuestions] = NodeQuestions,
    more: Mapping[str, Answer] | None = None,
    **parts: Any,
) -> None:
    """Be a node until the input ends."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(demo_node(setup, **parts))
        setup.emit("ready", fingerprint=node.fingerprint, url=next(iter(node.addresses), ""))
        await serve(lines, {**questions(node).answers(), **(more or {})})

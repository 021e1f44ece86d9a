"""A node of the ring in a process of its own: `python -m web4.demo.ring.node`."""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from web4.agent import Result
from web4.demo.child import run
from web4.demo.node_process import NodeQuestions, be_node
from web4.demo.proving import prove
from web4.demo.ring.recorder import Recorder
from web4.journal.bundle import Selector, export_bundle
from web4.mesh.graph.exporting import from_json, to_dot, to_json
from web4.mesh.registry.peers_file import NamedPeer, add_peer, read_peers
from web4.mesh.services.catalogue import Service
from web4.protocols.messages.mesh import MeshRevoke

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from web4.agent import Task
    from web4.demo.child import Setup
    from web4.demo.node_process import Answer
    from web4.mesh.services.catalogue import ServiceCall
    from web4.node import Node

SERVICE: Final = "tide"
_AGREED: Final = (
    *("key", "domain", "statement", "triple"),
    *("status", "reason", "rule", "was_accepted", "basis", "mode"),
)
"""What nodes that agree hold alike of a claim, beside its proposals and votes."""
_OWN: Final = frozenset({"msg_id", "less", "sent_ms", "at_ms", "digest"})
"""What each node has for itself of a proposal or a vote: every receiver is sent an envelope of its own."""
_MOST: Final = 10_000
"""Lines of a notebook."""


class Notebook:
    """What reached this node's own code, over all its lives, killed or not: one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[dict[str, Any]]:
        """All of them, oldest first."""
        text = self._path.read_bytes() if self._path.exists() else b""
        return [msgspec.json.decode(line) for line in text.splitlines()]

    def write(self, **line: Any) -> None:
        """Add one.

        Raises:
            OSError: It is full, or cannot be written.
        """
        if len(self.lines()) >= _MOST:
            raise OSError(f"{self._path} is full")
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


class Work:
    """The agent's loop and the service of a node: both write down what they do."""

    def __init__(self, directory: Path) -> None:
        self.heard = Notebook(directory / "heard")
        self.served = Notebook(directory / "served")
        self.service = Service(
            name=SERVICE,
            version="1.0",
            handler=self.tide,
            input_schema={
                "type": "object",
                "properties": {"metres": {"type": "array", "items": {"type": "number"}}},
                "required": ["metres"],
            },
        )

    async def answer(self, task: Task) -> Result:
        """Say what was asked about. Foreign text stays data."""
        await trio.lowlevel.checkpoint()
        if task.kind != "INTENT":  # an answer that nobody waits for
            return Result()
        topic = task.content["topic"].text
        self.heard.write(peer=task.peer, topic=topic)
        return Result(content={"about": topic})

    async def tide(self, call: ServiceCall) -> dict[str, Any]:
        """The highest of some water levels."""
        await trio.lowlevel.checkpoint()
        self.served.write(call_id=call.call_id, peer=call.peer)
        return {"highest": max(call.args["metres"], default=0.0)}


class RingQuestions(NodeQuestions):
    """What a node of the ring can be asked.

    Args:
        work: What its own code wrote down.
        node: The node.
    """

    def __init__(self, work: Work, node: Node) -> None:
        super().__init__(node)
        self._work = work
        self._recorder: Recorder | None = None
        assert node.mesh is not None
        assert node.introductions is not None
        assert node.graph is not None
        self._mesh, self._introductions, self._graph = node.mesh, node.introductions, node.graph

    def answers(self) -> dict[str, Answer]:
        """Each question by its name."""
        return super().answers() | {
            "who": self.who,
            "peers": self.peers,
            "way": self.way,
            "graph": self.graph,
            "read_graph": self.read_graph,
            "record": self.record,
            "recorded": self.recorded,
            "broadcast": self.broadcast,
            "tell": self.tell,
            "heard": self.heard,
            "served": self.served,
            "invoke": self.invoke,
            "introduce": self.introduce,
            "revoke": self.revoke,
            "introduced": self.introduced,
            "challenge": self.challenge,
            "votes": self.votes,
            "settled": self.settled,
            "bundle": self.bundle,
            "replayed": self.replayed,
        }

    async def who(self, _: dict[str, Any]) -> dict[str, Any]:
        """This node's public key."""
        await trio.lowlevel.checkpoint()
        return {"key": base64.b64encode(self.node.identity.public_key).decode()}

    async def peers(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Write the operator's peers file anew, and heed it, as a start does."""
        path = self.node.places.peers

        def write() -> Any:
            path.unlink(missing_ok=True)
            for one in asked["peers"]:
                add_peer(path, msgspec.convert(one, NamedPeer))
            return read_peers(path)

        named = await trio.to_thread.run_sync(write)
        await self.node.peers.configure(named)
        await self.node.cip.anchor(one for one in named.anchors if self.node.trust.state(one) != "trusted")
        return {}

    async def way(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The way to a peer that is taken now, from the next node to the peer; none if there is none."""
        await trio.lowlevel.checkpoint()
        route = self._mesh.route(asked["peer"])
        return {
            "path": [] if route is None else list(route.path),
            "cost": None if route is None else route.cost,
        }

    async def graph(self, _: dict[str, Any]) -> dict[str, Any]:
        """The network as this node sees it: as JSON and DOT, its active links, and whom it trusts."""
        await trio.lowlevel.checkpoint()
        graph = self._graph.graph
        edges = [one for one in graph.edges.values() if one.state == "active"]
        return {
            "json": to_json(graph).decode(),
            "dot": to_dot(graph),
            "links": [[one.source, one.target] for one in edges if one.relation == "routes"],
            "trusts": [one.target for one in edges if one.relation == "trusts"],
        }

    async def read_graph(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Read a graph that this node wrote, by every rule (GRAPH-2); what it writes of it again."""
        await trio.lowlevel.checkpoint()
        return {"json": to_json(from_json(asked["json"].encode(), self._graph)).decode()}

    async def record(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Write down every mesh envelope from now on."""
        await trio.lowlevel.checkpoint()
        self._recorder = Recorder(self._mesh, self.node.places.data / asked["place"])
        self.node.cip.mesh = self._recorder
        return {}

    async def recorded(self, _: dict[str, Any]) -> dict[str, Any]:
        """What was written down, by type; no more is from now on."""
        await trio.lowlevel.checkpoint()
        assert self._recorder is not None
        self.node.cip.mesh = self._mesh
        return {"counts": dict(self._recorder.counts)}

    async def broadcast(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Tell all of the mesh some words, as plainly as broadcasts are."""
        await trio.lowlevel.checkpoint()
        revoke = MeshRevoke(
            intro_id=self.node.ids.uuid4(), subject=self.node.fingerprint, reason=asked["words"]
        )
        return {"envelope": self._mesh.broadcast(revoke)}

    async def tell(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Send a peer an INTENT about each topic, and wait for no answer."""
        for topic in asked["topics"]:
            await self.node.cip.send_intent(asked["peer"], goal="ask", topic=topic)
            await trio.sleep(asked.get("every", 0))
        return {}

    async def heard(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What the agent was asked about, over all lives, as far as it begins so."""
        await trio.lowlevel.checkpoint()
        topics = [line["topic"] for line in self._work.heard.lines()]
        return {"topics": [topic for topic in topics if topic.startswith(asked["prefix"])]}

    async def served(self, asked: dict[str, Any]) -> dict[str, Any]:
        """How often the service has run for a peer, over all lives."""
        await trio.lowlevel.checkpoint()
        return {"times": sum(line["peer"] == asked["peer"] for line in self._work.served.lines())}

    async def invoke(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Call the service of a peer, and wait for what comes of it."""
        args = {"metres": asked["metres"]}
        return {
            "result": await self.node.services.invoke(asked["peer"], SERVICE, "1.0", args, deadline_seconds=8)
        }

    async def introduce(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Vouch for a peer to all of the mesh."""
        key = base64.b64decode(asked["key"])
        return {"intro_id": await self._introductions.introduce(asked["peer"], key)}

    async def revoke(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take that back."""
        await self._introductions.revoke(asked["intro_id"], asked["reason"])
        return {}

    async def introduced(self, asked: dict[str, Any]) -> dict[str, Any]:
        """How a peer stands that somebody introduced."""
        await trio.lowlevel.checkpoint()
        record = self.node.trust.record(asked["peer"])
        return {"state": record.state, "introducer": record.introducer, "handshaken": record.handshaken}

    async def challenge(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Doubt a claim."""
        claim = await self.node.knowledge.challenge(asked["key"], "cannot_verify", notes=asked["notes"])
        return {"status": claim.status}

    async def votes(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Whose votes stand on a claim, by what they say."""
        claim = await self.node.knowledge.claim(asked["key"])
        kinds = ("confirm", "reject", "challenge")
        return {kind: [one.peer for one in claim.votes.values() if one.kind == kind] for kind in kinds}

    async def settled(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What this node makes of a claim and what stands for and against it, as one text: equal where nodes agree.

        It leaves out what has to differ between nodes that agree (MESH-12): when and under which ids messages came
        here, whom this node told, and who was counted, as nobody counts itself (KNOW-3).
        """
        claim = await self.node.knowledge.claim(asked["key"])
        said = msgspec.to_builtins(claim)
        agreed = {name: said.get(name) for name in _AGREED}
        for part, entries in (("proposals", claim.proposals), ("votes", claim.votes.values())):
            mine = [msgspec.to_builtins(one) for one in sorted(entries, key=lambda one: one.peer)]
            agreed[part] = [{name: one[name] for name in sorted(one.keys() - _OWN)} for one in mine]
        return {"text": msgspec.json.encode(agreed, order="sorted").decode()}

    async def bundle(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Write the whole journal out as a bundle, into a directory that is made."""
        manifest = await export_bundle(self.node.journal, Selector(), asked["directory"])
        return {"journal_id": manifest.journal_id}

    async def replayed(self, _: dict[str, Any]) -> dict[str, Any]:
        """What is wrong with the journal, and where its replay is not what this node lives by (JRN-22)."""
        return await prove(self.node)


async def main(setup: Setup, lines: AsyncIterator[dict[str, Any]]) -> None:
    """Be a node of the ring until the input ends."""
    work = Work(setup.directory)
    await be_node(
        setup,
        lines,
        questions=partial(RingQuestions, work),
        handler=work.answer,
        services=(work.service,),
    )


if __name__ == "__main__":
    run(main)

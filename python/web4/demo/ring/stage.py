"""What the steps of the mesh demo share, beside the ring itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from web4.demo.checks import CheckFailedError
from web4.demo.ring.ring import SETTLE_SECONDS

if TYPE_CHECKING:
    from web4.demo.ring.ring import Ring


@dataclass
class Stage:
    """One telling of the story.

    Args:
        ring: The nodes.
        sabotage: The check whose step breaks what it is about, if one does.
        step: The check that is being made.
        hop: The first node on the way of the first question.
        words: What that question was about.
    """

    ring: Ring
    sabotage: str | None = None
    step: str = ""
    hop: str = ""
    words: str = ""

    def spoils(self) -> bool:
        """Whether this step is to be broken, here. What does not come then is not waited for long."""
        if self.sabotage != self.step:
            return False
        self.ring.patience = SETTLE_SECONDS
        return True

    @property
    def first(self) -> str:
        """The node that asks."""
        return self.ring.names[0]

    @property
    def far(self) -> str:
        """The node that is asked: no neighbour of the first."""
        return self.ring.layout.far()

    def note(self, text: str) -> None:
        """Say something to people."""
        self.ring.timeline.note(text)

    async def way(self, name: str, other: str) -> list[str]:
        """The names on the way from a node to another, which is the last; none if there is no way."""
        found = await self.ring.need(name, "way", peer=self.ring.of(other))
        return [self.ring.called(one) for one in found["path"]]

    async def reach(self, name: str, other: str) -> None:
        """Have a node keep a session over the mesh with one that is no neighbour, and wait until it is there."""
        await self.ring.know(name, other)
        await self.meet(name, other)

    async def meet(self, name: str, other: str) -> None:
        """Wait until both ends say that there is a session."""
        await self.ring.need(name, "meet", peer=self.ring.of(other))
        await self.ring.need(other, "meet", peer=self.ring.of(name))

    async def asked(self, name: str, other: str, topic: str) -> None:
        """Have a node ask another, and see that the answer is to that question."""
        answer = await self.ring.need(name, "ask", peer=self.ring.of(other), topic=topic)
        if answer["status"] != "done" or topic not in (answer["text"] or ""):
            raise CheckFailedError(f"{name}'s question came back from {other} as {answer['status']}")

    async def statuses(self, key: str) -> dict[str, str]:
        """How a claim stands on every node; `unknown` where nobody has heard of it."""
        answers: dict[str, dict[str, Any]] = await self.ring.all("claim", key=key)
        return {name: answer.get("status", "unknown") for name, answer in answers.items()}

    async def until_all(self, key: str, status: str) -> float:
        """Wait until a claim stands so on every node; the seconds that it took."""

        async def holds() -> bool:
            return set((await self.statuses(key)).values()) == {status}

        try:
            return await self.ring.until(holds, f"a claim that is {status} on every node")
        except CheckFailedError as error:
            raise CheckFailedError(f"{error}; it is {await self.statuses(key)}") from None

    async def agreed(self, key: str) -> str:
        """What every node holds of a claim that has settled, byte for byte the same.

        Raises:
            CheckFailedError: It does not become the same, in time.
        """
        texts: set[str] = set()

        async def holds() -> bool:
            nonlocal texts
            texts = {answer.get("text", "") for answer in (await self.ring.all("settled", key=key)).values()}
            return len(texts) == 1 and "" not in texts

        try:
            await self.ring.until(holds, "the same claim, byte for byte, on every node")
        except CheckFailedError as error:
            raise CheckFailedError(f"{error}; it is {sorted(texts)}") from None
        return texts.pop()

    async def begin_again(self) -> None:
        """Where an earlier run left somebody blocked, a person takes that back: the story begins with friends."""
        ring = self.ring
        for name in ring.names:
            for other in ring.names:
                if other == name:
                    continue
                state = (await ring.need(name, "trust", peer=ring.of(other)))["state"]
                if state == "blacklisted":
                    self.note(
                        f"remembered: {name} blocks {other}; {name}'s person takes that back for this run"
                    )
                    await ring.operator(name, "forgive", other, "the story begins again")
        for name in ring.names:
            await ring.know(name)

    async def whole(self) -> None:
        """Wait until every node has its links, ways to all, and nothing in its graph that was not laid."""
        await self.ring.until(self._all_have_ways, "every node's graph with its links, and ways to all")

    async def seen_by_all(self, seconds: float) -> bool:
        """Whether every node's graph shows every link, in so many seconds.

        A link that is so slow that each way around it is better is on nobody's way: those beyond do not hear of it.
        """

        async def holds() -> bool:
            graphs = await self.ring.all("graph")
            return all(self.links(graph) == self.ring.layout.links() for graph in graphs.values())

        with trio.move_on_after(seconds):
            await self.ring.until(holds, "every link in every node's graph")
            return True
        return False

    async def _all_have_ways(self) -> bool:
        graphs = await self.ring.all("graph")
        return all(self._has_ways(name, graph) for name, graph in graphs.items())

    def links(self, graph: dict[str, Any]) -> set[frozenset[str]]:
        """The links of a graph by names, those of nodes of the ring."""
        pairs = ({self.ring.called(one) for one in pair} for pair in graph["links"])
        return {frozenset(pair) for pair in pairs if pair <= set(self.ring.names)}

    def _has_ways(self, name: str, graph: dict[str, Any]) -> bool:
        links, laid = self.links(graph), self.ring.layout.links()
        own = {link for link in links if name in link}
        reached = {one for link in links for one in link}
        return (
            links <= laid
            and own == {link for link in laid if name in link}
            and reached == set(self.ring.names)
        )

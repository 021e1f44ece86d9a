"""What the story can ask an agent to do with its person, who is scripted: acts through a door of the demo's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from web4.protocols.hcp import Answer, Contact, Grant, Regrant, Revoke, SetState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.node import Node

    Answers = dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]

DOOR: Final = "demo"


class PersonQuestions:
    """What a person of a node does, says and wants.

    Args:
        node: The person's.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def answers(self) -> Answers:
        """Each question by its name."""
        return {
            "arrive": self.arrive,
            "greet": self.greet,
            "acquainted": self.acquainted,
            "feel": self.feel,
            "want": self.want,
            "answer": self.answer,
            "revoke": self.revoke,
            "tasks": self.tasks,
        }

    async def arrive(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Have a person here who consents to everything; what an earlier run has closed between two is opened."""
        people, human = self._node.people, asked["human"]
        await people.add_human(human, name=human.title(), role="owner")
        await people.act(human, Grant(), door=DOOR)
        await people.act(human, SetState(affect="calm"), door=DOOR)
        for one in await people.people():
            if one.social.get(human) == "restricted":
                await people.act(human, Regrant(one.contact), door=DOOR)
        return {}

    async def greet(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Say hello to a person at a peer."""
        passage = await self._node.people.say_hello(asked["human"], _contact(asked))
        return {"passage": passage.status}

    async def acquainted(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Wait until both have said hello."""
        return {"social": await self._node.people.acquainted(asked["human"], _contact(asked))}

    async def feel(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Say how the person is."""
        await self._node.people.act(asked["human"], SetState(affect=asked["affect"]), door=DOOR)
        return {}

    async def want(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Want something of a person at a peer."""
        passage = await self._node.people.send_intent(
            asked["human"], _contact(asked), goal="align", topic=asked["topic"]
        )
        return {"passage": passage.status, "msg_id": passage.msg_id}

    async def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Wait for a question to the person, and answer it."""
        async for question in self._node.people.check_ins(asked["human"]):
            action = question.action
            await self._node.people.act(
                asked["human"], Answer(question.check_in_id, yes=asked["yes"]), door=DOOR
            )
            return {"action": action.msg_id, "question": question.check_in_id}
        return {}

    async def revoke(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Take all consent back; when that was said, on this process's clock."""
        begun_ns = self._node.clock.monotonic_ns()
        if not asked.get("sabotage"):
            await self._node.people.act(asked["human"], Revoke(), door=DOOR)
        return {"begun_ns": begun_ns}

    async def tasks(self, _: dict[str, Any]) -> dict[str, Any]:
        """What the agent works on."""
        await trio.lowlevel.checkpoint()
        assert self._node.loop is not None
        return {"msg_ids": [one.msg_id for one in self._node.loop.tasks()]}


def _contact(asked: dict[str, Any]) -> Contact:
    return Contact(asked["peer"], asked["other"])

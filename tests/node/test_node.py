"""A node whole: what it does when it starts, meets others, and stops (WEB-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.node.nodes import a_node, until
from web4.agent import Result

if TYPE_CHECKING:
    from pathlib import Path

    from web4.agent import Task


async def echo(task: Task) -> Result:
    await trio.lowlevel.checkpoint()
    return Result(content={"topic": task.content["topic"].text})


async def test_two_nodes_meet_and_talk(tmp_path: Path) -> None:
    """A question goes out through the outbox, is worked on by the other's loop, and its answer comes back."""
    with trio.fail_after(60):
        async with (
            a_node(tmp_path, "bob", handler=echo) as bob,
            a_node(tmp_path, "ada", knows=(bob,), handler=echo) as ada,
        ):
            await ada.connected(bob.fingerprint)
            await bob.connected(ada.fingerprint)
            assert ada.loop is not None
            answer = await ada.loop.ask(bob.fingerprint, goal="ask", topic="the weather")
            assert answer.status == "done"
            assert answer.content is not None
            assert "the weather" in str(answer.content.text)
            assert bob.trust.state(ada.fingerprint) == "probing"
            await until(lambda: bob.peers.has(ada.fingerprint))
            assert [one.entry.source for one in bob.peers.all()] == ["inbound"]


async def test_a_node_starts_again(tmp_path: Path) -> None:
    """What was durable is there again, and the same name is the same node."""
    with trio.fail_after(60):
        async with a_node(tmp_path, "bob") as bob, a_node(tmp_path, "ada", knows=(bob,), anchors=True) as ada:
            await ada.connected(bob.fingerprint)
            first = ada.fingerprint
            assert ada.trust.state(bob.fingerprint) == "trusted"
        async with a_node(tmp_path, "ada") as ada:
            assert ada.fingerprint == first
            assert ada.trust.state(bob.fingerprint) == "trusted"
            assert ada.peers.has(bob.fingerprint)


async def test_what_came_of_a_task_is_remembered(tmp_path: Path) -> None:
    """MEM-2, DRIFT-2: one record of experience for a task, without what was said."""
    with trio.fail_after(60):
        async with (
            a_node(tmp_path, "bob", handler=echo) as bob,
            a_node(tmp_path, "ada", knows=(bob,), handler=echo) as ada,
        ):
            await ada.connected(bob.fingerprint)
            assert ada.loop is not None
            await ada.loop.ask(bob.fingerprint, goal="ask", topic="the weather", context={"secret": "plan"})
            found: list[Any] = []
            while not found:
                await trio.sleep(0.01)
                found = list((await bob.memory.asking()).records(tag="INTENT"))
            (record,) = found
            assert record.success
            assert "plan" not in repr(record)

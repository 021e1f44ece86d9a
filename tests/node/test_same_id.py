"""A sender chooses its ids: what another peer sends under the same one is another message (ROUTE-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.node.nodes import a_node, until
from tests.node.test_node import echo
from web4.protocols.messages.cip import Intent

if TYPE_CHECKING:
    from pathlib import Path

    from web4.node import Node

ID = "5c0f7d2e-8a43-4a1b-9c6d-0123456789ab"


async def ask(one: Node, bob: Node) -> None:
    """An INTENT of `one` under the id that both use."""
    await one.connected(bob.fingerprint)
    await until(lambda: bob.trust.state(one.fingerprint) == "probing")
    intent = Intent(goal="ask", topic="the weather", priority="normal", context={})
    await one.cip.send(bob.fingerprint, intent, msg_id=ID)


async def test_work_for_two_peers_under_one_id_is_remembered_twice(tmp_path: Path) -> None:
    """MEM-2, ROUTE-4: the experience of one peer's task takes no place of that of another's; each has its decision."""
    with trio.fail_after(40):
        async with (
            a_node(tmp_path, "bob", handler=echo) as bob,
            a_node(tmp_path, "eve", knows=(bob,), handler=echo) as eve,
            a_node(tmp_path, "ada", knows=(bob,), handler=echo) as ada,
        ):
            await ask(eve, bob)
            await ask(ada, bob)
            while len((await bob.memory.asking()).memory.experiences) < 2:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.01)
            known = (await bob.memory.asking()).memory.experiences
            peers = {one.inputs["peer"]: one for one in known.values()}
            assert set(peers) == {ada.fingerprint, eve.fingerprint}
            assert len({one.decision_id for one in peers.values()}) == 2
            assert set(known) == {f"{peer}:{ID}" for peer in peers}

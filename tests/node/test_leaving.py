"""How a node is left, while it is busy."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tests.node.nodes import a_node
from tests.protocols.cip.examples import FACT, TRACE
from web4.journal.errors import JournalUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from web4.node import Node


async def tell(node: Node, peer: str) -> None:
    """Say things to a peer until the node is gone."""
    with suppress(JournalUnavailable):
        while True:
            await node.cip.propose_fact(peer, FACT, TRACE)


async def fail_within(tmp_path: Path, ada: Node, nursery: trio.Nursery, raised: BaseException) -> None:
    async with a_node(tmp_path, "bob", knows=(ada,)) as bob:
        await ada.connected(bob.fingerprint)
        nursery.start_soon(tell, ada, bob.fingerprint)
        nursery.start_soon(tell, bob, ada.fingerprint)
        await trio.sleep(0.2)
        raise raised


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt])
async def test_what_the_block_raises_comes_out_as_it_is(tmp_path: Path, kind: type[BaseException]) -> None:
    """WEB-6: an exception leaves `open_node` at once and bare, whatever nurseries the node has inside."""
    raised = kind("mine")
    with trio.fail_after(60):
        async with a_node(tmp_path, "ada") as ada, trio.open_nursery() as nursery:
            with pytest.raises(kind) as caught:
                await fail_within(tmp_path, ada, nursery, raised)
            assert caught.value is raised
            nursery.cancel_scope.cancel()

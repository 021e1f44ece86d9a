"""A node whose journal takes nothing for a while goes on, and so does what waited (JRN-15, LIM-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.node.nodes import a_node, until
from web4.journal.errors import NotCommittedError
from web4.node.binding import LoadTold
from web4.protocols.knowledge import runtime as knowledge

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from web4.journal.journal import Journal


class SickStore:
    """Lets a journal's commits fail, as a full disk does."""

    def __init__(self, journal: Journal, patch: pytest.MonkeyPatch) -> None:
        self.full = True
        commit = journal.backend.commit

        async def refuse(wanted: object) -> int:
            if self.full:
                raise NotCommittedError("the disk is full")
            return await commit(wanted)  # type: ignore[arg-type]

        patch.setattr(journal.backend, "commit", refuse)


async def test_a_node_outlives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ticks and what is told of load wait for the journal, and do not end the node."""
    monkeypatch.setattr(knowledge, "TICK_SECONDS", 0.05)
    with trio.fail_after(60):
        async with a_node(tmp_path, "ada") as ada, a_node(tmp_path, "bob", knows=(ada,)) as bob:
            await ada.connected(bob.fingerprint)
            store = SickStore(bob.journal, monkeypatch)
            load = LoadTold(bob.knowledge)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                load.observe("overloaded", 99, ())
                asked = await ada.cip.send_intent(bob.fingerprint, goal="ask", topic="the weather")
                await until(lambda: bob.journal.state == "suspended")
                await trio.sleep(0.5)  # several ticks meanwhile
                load.observe("overloaded", 98, ())
                store.full = False
                conclusion = await ada.cip.concluded(bob.fingerprint, asked)
                assert conclusion is not None
                assert conclusion.outcome == "delivered"
                while not (await bob.knowledge.state()).ledger.load.overloaded:  # noqa: ASYNC110 - no event
                    await trio.sleep(0.05)
                nursery.cancel_scope.cancel()

"""A node whose journal takes nothing for a while goes on, and so does what waited (JRN-15, LIM-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.node.nodes import a_node, until
from web4.cli.failing import failure_of
from web4.doors.commands.reading import NodeReading
from web4.doors.views.questions import answer
from web4.journal.errors import JournalUnavailable, NotCommittedError
from web4.node.binding import LoadTold
from web4.protocols.knowledge import runtime as knowledge

if TYPE_CHECKING:
    from pathlib import Path

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


async def test_status_warns_of_a_volume_that_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UX-9, JRN-15e: whoever is refused for want of room reads so, with exit code 3, and `status` says it before."""
    with trio.fail_after(60):
        async with a_node(tmp_path, "ada") as ada:
            reading = NodeReading(ada)
            assert (await answer(reading, "node_status", {}))["warnings"] == []
            monkeypatch.setattr(type(ada.journal.backend), "accepting", False)
            (warning,) = (await answer(reading, "node_status", {}))["warnings"]
            assert "nearly full" in warning
            with pytest.raises(JournalUnavailable) as caught:
                await ada.knowledge.set_tier("example.org", "low", "ada", "seen")
            failure = failure_of(caught.value)
            assert (failure.code, failure.exit) == ("no_space", 3)
            assert "make room" in str(failure.hint)

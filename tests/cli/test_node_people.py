"""Questions to people and what was fetched, as the verbs show them beside a running node and at rest."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from warcio.archiveiterator import ArchiveIterator

from tests.cli.command import Done, here, process
from tests.node.nodes import a_node, until
from tests.protocols.lip.web import SITE, answer, serving
from web4.doors.commands import commands_of
from web4.doors.control import open_control_door
from web4.protocols.hcp import Contact, Grant, SetState
from web4.trust import Anchored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from web4.agent.tasks import Result, Task
    from web4.node import Node

BODY = b"The lamp is green.\x1b[2J"


@asynccontextmanager
async def door(node: Node) -> AsyncIterator[None]:
    """What `web4 up` opens beside its node."""
    async with open_control_door(node.places.socket, commands_of(node), emit=node.hub.emit):
        yield


async def call(node: Node, *words: object) -> Done:
    """A verb, in a process of its own."""
    asked = partial(process, *words, "--data", node.places.data)
    return await trio.to_thread.run_sync(asked, abandon_on_cancel=True)


async def data_of(node: Node, *words: object) -> Any:
    """What a verb says to programs."""
    done = await call(node, *words, "--json")
    assert done.exit == 0, done
    return done.data


async def acquaint(ada: Node, bob: Node) -> None:
    """Two people who may write to each other."""
    await ada.connected(bob.fingerprint)
    await bob.cip.trust_command(ada.fingerprint, Anchored(at_ms=bob.clock.wall_ms()))
    both = (
        (ada, "grace", Contact(bob.fingerprint, "hal")),
        (bob, "hal", Contact(ada.fingerprint, "grace")),
    )
    for node, human, _ in both:
        await node.people.add_human(human, name=human.title(), role="neighbour")
        await node.people.act(human, Grant(), door="test")
    for node, human, other in both:
        await node.people.say_hello(human, other)
    await ada.people.acquainted("grace", Contact(bob.fingerprint, "hal"))
    await bob.people.acquainted("hal", Contact(ada.fingerprint, "grace"))


async def test_a_person_is_asked_and_answers(tmp_path: Path) -> None:
    """HCP-5: the question is shown with who asks, and answered by the first digits of its id. HCP-11: no state."""
    with trio.fail_after(120):
        async with (
            a_node(tmp_path, "bob") as bob,
            a_node(tmp_path, "ada", knows=(bob,), anchors=True) as ada,
            door(ada),
        ):
            await acquaint(ada, bob)
            await ada.people.act("grace", SetState(affect="tense", pressure=37), door="test")
            passage = await ada.people.send_intent(
                "grace", Contact(bob.fingerprint, "hal"), goal="align", topic="garden/fence"
            )
            assert passage.status == "asked"
            done = await call(ada, "consent", "asked", "--json")
            [asked] = done.data["check_ins"]
            assert asked["check_in"] == passage.check_in_id
            assert (asked["human"], asked["other"], asked["peer_name"]) == ("grace", "hal", "bob")
            assert (asked["asked_by"], asked["topic"]) == ("ada", "garden/fence")
            text = await call(ada, "consent", "asked", "grace")
            assert "HCP_INTENT to hal at bob, asked by ada" in text.out
            everything = done.out + text.out + (await call(ada, "consent", "ls", "--json")).out
            assert not any(word in everything for word in ("tense", "affect", "pressure", "clarity"))
            said = await data_of(ada, "consent", "answer", asked["check_in"][:10], "no")
            assert said == {"check_in": asked["check_in"], "human": "grace", "answer": "no"}
            assert await ada.people.pending("grace") == []
            again = await call(ada, "consent", "answer", asked["check_in"], "yes", "--json")
            assert (again.code, again.exit) == ("unknown_name", 6)


class Labour:
    """An agent's handler that works until it is told to stop."""

    def __init__(self) -> None:
        self.at_work: list[str] = []
        self.stopped: list[str] = []

    async def __call__(self, task: Task) -> Result:
        self.at_work.append(task.msg_id)
        try:
            await trio.sleep_forever()
        finally:
            self.stopped.append(task.msg_id)
        raise AssertionError


async def test_a_person_revokes_while_work_runs(tmp_path: Path) -> None:
    """HCP-3, from another process: when the verb answers, what ran for the human has ended, what was queued is
    gone from the outbox, and the answer says how much that was."""
    labour = Labour()
    with trio.fail_after(120):
        async with a_node(tmp_path, "bob", handler=labour) as bob, door(bob):
            async with a_node(tmp_path, "ada", knows=(bob,), anchors=True) as ada:
                await acquaint(ada, bob)
                hal, grace = Contact(bob.fingerprint, "hal"), Contact(ada.fingerprint, "grace")
                tasks = [
                    await ada.people.send_intent("grace", hal, goal="align", topic=f"garden/{number}")
                    for number in range(2)
                ]
                await until(lambda: bool(labour.at_work))
            for number in range(3):
                sent = await bob.people.send_intent("hal", grace, goal="align", topic=f"fence/{number}")
                assert sent.status == "sent"
            waiting = [one.type for one in await bob.cip.outbox(ada.fingerprint)]
            assert waiting.count("HCP_INTENT") == 3
            assert labour.stopped == []
            running = len(labour.at_work)
            text = await call(bob, "consent", "revoke", "hal")
            assert labour.stopped == labour.at_work
            assert set(labour.at_work) <= {one.msg_id for one in tasks}
            assert {one.type for one in await bob.cip.outbox(ada.fingerprint)} <= {
                "HCP_STATE_UPDATE",
                "REPLY",
            }
            assert "hal: revoked" in text.out
            assert f"running work: {running} cancelled\n" in text.out
            assert "messages to be sent: 3 purged" in text.out
            again = await data_of(bob, "consent", "revoke", "hal")
            assert again["consent"] == "revoked"
            assert (again["ended"]["cancelled"], again["ended"]["running"], again["ended"]["waiting"]) == (
                0,
                0,
                0,
            )
        down = await call(bob, "consent", "revoke", "hal", "--json")
        assert (down.code, down.exit) == ("not_running", 3)
        assert "goes out when the node runs again, unless it is revoked there first" in down.out


async def fetched(place: Path) -> tuple[Path, str]:
    """A node that has fetched a page, and was asked for it; its directory, and the digest of the body."""
    async with serving({"/lamp": answer(BODY, kind="text/plain")}) as web:
        fetch = {"allow": [f"{SITE}:{web.port}@127.0.0.0/8"]}
        async with a_node(place, "ada", fetch=fetch, resolve=web.resolve, dial=web.dial) as ada, door(ada):
            assert ada.lip is not None
            record = await ada.lip.fetch(web.url("/lamp"))
            rows = (await data_of(ada, "evidence", "show"))["fetches"]
            assert [one["body_blake3"] for one in rows] == [record.body_blake3]
            shown = await call(ada, "evidence", "show", record.body_blake3[:8])
            assert "\x1b" not in shown.out
            assert f"BLAKE3 {record.body_blake3}" in shown.out
            out = place / "running.warc.gz"
            assert (await data_of(ada, "evidence", "export", out))["fetches"] == 1
            assert out.stat().st_mode & 0o777 == 0o600
            propose = (
                "claim",
                "propose",
                "The lamp is green",
                "--domain",
                "lamps",
                "--source",
                web.url("/lamp"),
            )
            key = (await data_of(ada, *propose))["key"]
            voted = await data_of(ada, "claim", "confirm", key, "--fetched", record.body_blake3)
            assert voted["confirms"] == 1
            return ada.places.data, record.body_blake3


def test_evidence_is_shown_and_taken_elsewhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """FETCH-10: the same beside a running node and at rest; what is exported is read back by another's library."""
    data, digest = trio.run(fetched, tmp_path)
    at_rest = here(capfd, "evidence", "show", digest, "--data", data, "--json")
    [row] = at_rest.data["fetches"]
    assert (row["body_blake3"], row["body_bytes"]) == (digest, len(BODY))
    assert digest[:16] in here(capfd, "evidence", "show", "--data", data).out
    out = tmp_path / "rest.warc.gz"
    assert here(capfd, "evidence", "export", out, digest[:8], "--data", data).exit == 0
    again = here(capfd, "evidence", "export", out, "--data", data, "--json")
    assert (again.code, again.exit) == ("target_exists", 7)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["ada", "rest.warc.gz", "running.warc.gz"]
    bodies = []
    for file in (out, tmp_path / "running.warc.gz"):
        for record in ArchiveIterator(io.BytesIO(file.read_bytes()), check_digests="raise"):
            if record.rec_type == "response":
                bodies.append(record.content_stream().read())
    assert bodies == [BODY, BODY]

"""A node's own journal under `web4 journal verify`, `replay` and `compact`: every lane it writes (JRN-22, JRN-23)."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.cli.command import here, process
from tests.node.nodes import a_node
from tests.node.test_decisions_of_a_node import claim_thrice
from tests.node.test_node import echo
from web4.cli.journal.known import known_definitions
from web4.demo.proving import prove
from web4.governance import Goal, sign_mission
from web4.mesh.services.catalogue import Service, ServiceCall
from web4.protocols.hcp import Contact, Grant, SetState
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.lip import AddressRefused

if TYPE_CHECKING:
    from pathlib import Path

    from web4.node import Node

Capture = pytest.CaptureFixture[str]
KINDS = {"governance", "human", "knowledge", "peer", "server"}
"""Of the lanes that a node writes."""


async def double(call: ServiceCall) -> dict[str, Any]:
    await trio.lowlevel.checkpoint()
    return {"twice": 2 * call.args["one"]}


async def live(ada: Node, bob: Node) -> None:
    """A life of Bob in which something is written on each of his lanes, with effects on each that has some."""
    await bob.mission.adopt(
        sign_mission(
            bob.identity,
            version=1,
            goals=[Goal(name="talk", words="weather")],
            issued_ms=bob.clock.wall_ms(),
        ),
        human="grace",
    )
    await ada.connected(bob.fingerprint)
    await bob.connected(ada.fingerprint)
    assert ada.loop is not None
    assert (await ada.loop.ask(bob.fingerprint, goal="ask", topic="the weather")).status == "done"
    await claim_thrice(ada, bob)
    told = await ada.services.invoke(bob.fingerprint, "double", "1.0", {"one": 21})
    assert told == {"twice": 42}
    assert bob.lip is not None
    with pytest.raises(AddressRefused):
        await bob.lip.fetch("http://127.0.0.1/")
    hal, grace = Contact(bob.fingerprint, "hal"), Contact(ada.fingerprint, "grace")
    for node, human in ((ada, "grace"), (bob, "hal")):
        await node.people.add_human(human, name=human, role="owner")
        await node.people.act(human, Grant(), door="test")
    await ada.people.say_hello("grace", hal)
    await bob.people.say_hello("hal", grace)
    await ada.people.acquainted("grace", hal)
    await bob.people.acquainted("hal", grace)
    await ada.people.send_intent("grace", hal, goal="align", topic="fence")
    await bob.people.act("hal", SetState(affect="tense"), door="test")
    asked = await bob.people.send_intent("hal", grace, goal="align", topic="hedge")
    assert asked.status == "asked"


async def same_states(bob: Node) -> dict[str, str]:
    """Replay beside the running node, until nothing is written meanwhile: what it comes to is what lives there."""
    while True:
        proof = await prove(bob)
        done = await trio.to_thread.run_sync(process, "journal", "replay", bob.places.data, "--json")
        assert done.exit == 0, done
        if not proof["differs"] and proof["digest"] == done.data["digest"]:
            assert not proof["findings"]
            return {one["lane"]: one["digest"] for one in done.data["lanes"]}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Bob's data directory after such a life, and the states of his lanes while he lived."""
    tmp_path = tmp_path_factory.mktemp("lived")

    async def story() -> dict[str, str]:
        services = (Service(name="double", version="1.0", handler=double, min_trust="probing"),)
        with trio.fail_after(120):
            async with (
                a_node(tmp_path, "bob", handler=echo, services=services) as bob,
                a_node(tmp_path, "ada", knows=(bob,), anchors=True, handler=echo) as ada,
            ):
                await live(ada, bob)
                return await same_states(bob)

    return tmp_path / "bob", trio.run(story)


def test_a_nodes_journal_is_verified_and_replayed_whole(
    lived: tuple[Path, dict[str, str]], capfd: Capture
) -> None:
    """JRN-22b, JRN-23a: all events of every lane are decoded, and every lane comes to the state that lived."""
    directory, states = lived
    assert {one.partition(":")[0] for one in states} == KINDS
    done = here(capfd, "journal", "verify", directory, "--json")
    assert done.exit == 0, done
    assert (done.data["clean"], done.data["schemas_unknown"]) == (True, [])
    done = here(capfd, "journal", "replay", directory, "--json")
    assert done.exit == 0, done
    assert done.data["not_replayable"] == []
    assert done.data["divergences"] == []
    after = {one["lane"]: one for one in done.data["lanes"]}
    assert set(after) == set(states)
    assert all(one["stopped"] is None and one["digest"] for one in after.values())
    # Leaving writes on lanes of peers, if anywhere.
    assert {name for name in states if after[name]["digest"] != states[name]} <= {
        name for name in states if name.startswith("peer:")
    }


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_one_changed_byte_of_any_lane_is_found(
    kind: str, lived: tuple[Path, dict[str, str]], tmp_path: Path, capfd: Capture
) -> None:
    """JRN-22, JRN-23a: verification and replay both end with 1, and say where."""
    copy = tmp_path / "copy"
    shutil.copytree(lived[0], copy, ignore=shutil.ignore_patterns("*.sock"))
    with closing(sqlite3.connect(copy / "journal" / "journal.db")) as connection, connection:
        changed = connection.execute(
            "UPDATE record SET payload = CAST(X'20' || substr(payload, 2) AS BLOB) WHERE position = "
            "(SELECT max(record.position) FROM record JOIN lane ON lane.id = record.lane "
            "WHERE payload IS NOT NULL AND lane.kind = ?)",
            (kind,),
        )
        assert changed.rowcount == 1
    done = here(capfd, "journal", "verify", copy, "--json")
    assert done.exit == 1
    assert kind in {str(one["lane"]).partition(":")[0] for one in done.data["findings"]}
    done = here(capfd, "journal", "replay", copy, "--json")
    assert done.exit == 1
    stopped = {one["lane"] for one in done.data["lanes"] if one["stopped"] is not None}
    assert {one.partition(":")[0] for one in stopped} == {kind}


def test_a_bundle_of_a_nodes_journal_replays_whole(
    lived: tuple[Path, dict[str, str]], tmp_path: Path, capfd: Capture
) -> None:
    """JRN-22: what was exported for whoever looks into it comes to the same states as the journal."""
    done = here(capfd, "journal", "export", lived[0], tmp_path / "bundle", "--json")
    assert done.exit == 0, done
    assert here(capfd, "journal", "verify", tmp_path / "bundle").exit == 0
    told = [here(capfd, "journal", "replay", one, "--json") for one in (lived[0], tmp_path / "bundle")]
    assert [one.exit for one in told] == [0, 0]
    assert told[0].data == told[1].data


def test_a_node_goes_on_from_what_was_compacted(
    lived: tuple[Path, dict[str, str]], tmp_path: Path, capfd: Capture
) -> None:
    """JRN-16, JRN-7b: a base snapshot that the command line took of any lane is one that the node can read."""
    copy = tmp_path / "bob"
    shutil.copytree(lived[0], copy, ignore=shutil.ignore_patterns("*.sock"))
    before = {one["lane"]: one for one in here(capfd, "journal", "replay", copy, "--json").data["lanes"]}
    done = here(capfd, "journal", "compact", copy, "--json")
    assert done.exit == 0, done
    compacted = {one["lane"].partition(":")[0] for one in done.data["lanes"] if one["removed"]}
    assert {"governance", "human", "knowledge", "peer"} <= compacted
    done = here(capfd, "journal", "replay", copy, "--json")
    assert done.exit == 0, done
    assert {one["lane"]: one["digest"] for one in done.data["lanes"] if one["lane"] != "server"} == {
        name: one["digest"] for name, one in before.items() if name != "server"
    }

    async def again() -> None:
        with trio.fail_after(60):
            async with a_node(tmp_path, "bob", handler=echo) as bob:
                assert not bob.journal.halted
                claim = await bob.knowledge.claim(claim_key("physics", "ice floats"))
                assert claim.status == "accepted"
                assert (await bob.mission.state()).mission is not None
                assert await bob.people.pending("hal")

    trio.run(again)


def test_what_is_known_of_lanes_is_what_a_node_runs(tmp_path: Path) -> None:
    """JRN-7b: the logic that the command line replays has the version and the events of the node's own."""

    async def compare() -> None:
        async with a_node(tmp_path, "bob") as bob:
            known = known_definitions(tuple(bob.lanes))
            assert set(known) == set(bob.lanes) == KINDS - {"peer"}
            for kind, definition in bob.lanes.items():
                assert known[kind].version == definition.version, kind
                assert known[kind].event_names >= definition.event_names, kind

    trio.run(compare)

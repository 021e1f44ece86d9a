"""Whole nodes with their journals in PostgreSQL, by configuration alone (JRN-24d): killed, and each message once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from tests.journal.postgresql.conftest import DATABASE, database, server  # noqa: F401 - fixtures
from tests.node.nodes import a_node, config, until
from tests.protocols.cip.examples import FACT, PAYLOADS, TRACE
from web4.doors.views.at_rest import open_at_rest
from web4.journal.errors import JournalLocked
from web4.journal.lane import Lane
from web4.mesh.registry.peers_file import NamedPeer, add_peer
from web4.node import Places, make_directory, open_node
from web4.node.config import config_of
from web4.node.errors import ConfigurationError
from web4.node.journals import schema_of
from web4.node.rotation import RotationNote, rotate_identity
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.messages import cip as m

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.postgresql_server import PostgresqlServer
    from web4.node import Node

MANY = 24
WHERE = "WEB4_TEST_DATABASE"
BOBS = f"""
[journal]
backend = "postgresql"
conninfo_env = "{WHERE}"
[limits]
pace = false
[knowledge]
confirmers = 2
"""


@asynccontextmanager
async def up(bob: Places, conninfo: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """`web4 up`, killed as by a power cut when the block is left."""
    log = bob.data.with_suffix(".log")
    with log.open("ab") as told:
        process = subprocess.Popen(  # noqa: ASYNC220 - it blocks for a millisecond
            [sys.executable, "-m", "web4.cli", "up", "--data", str(bob.data)],
            env={**os.environ, WHERE: conninfo},
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
    try:
        yield process
        assert process.poll() is None
    except BaseException:
        print(log.read_text()[-4_000:])
        raise
    finally:
        process.send_signal(signal.SIGKILL)
        await trio.to_thread.run_sync(process.wait)


def fact(number: int) -> m.Fact:
    statement = f"gauge {number} stood at 4.1 m"
    return msgspec.structs.replace(FACT, statement=statement, triple=msgspec.UNSET, sources=("the gauge",))


async def proposes(node: Node, bob: str, *numbers: int) -> list[str]:
    """Facts that are queued, all at once."""
    queued: list[str] = []

    async def one(number: int) -> None:
        queued.append(await node.cip.propose_fact(bob, fact(number), TRACE))

    async with trio.open_nursery() as nursery:
        for number in numbers:
            nursery.start_soon(one, number)
    return queued


def heard(node: Node, kind: str) -> bool:
    return any(one.type == "envelope_received" and one.payload["type"] == kind for one in node.hub.memory)


async def held(bob: Places, wanted: dict[str, str]) -> None:
    """Wait until the running node's ledger holds these claims so, and no other; read beside it, from the database."""
    found: dict[str, str] = {}
    while found != wanted:
        async with open_at_rest(bob.data) as beside:
            found = {one.statement: one.status for one in (await beside.ledger()).claims.values()}
        await trio.sleep(0.05)


async def delivered(node: Node, bob: str, queued: list[str]) -> None:
    for msg_id in queued:
        conclusion = await node.cip.concluded(bob, msg_id)
        assert conclusion is not None
        assert conclusion.outcome == "delivered"


async def test_whole_nodes_on_postgresql(
    server: PostgresqlServer,  # noqa: F811
    database: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OUT-3, OUT-4, JRN-24b, KNOW-6: envelopes both ways, votes that count, SIGKILL in the middle, each message once,
    and no lane written by who owned it before."""
    monkeypatch.setenv(WHERE, database)
    bob = Places(tmp_path / "bob")
    identity = make_directory(bob, name="bob").identity.fingerprint
    bob.config.write_text(BOBS)
    on_postgresql = {"backend": "postgresql", "conninfo_env": WHERE}
    schema = schema_of(identity)

    def epochs() -> dict[str, int]:
        rows = server.sql(f"SELECT kind || ':' || id, epoch FROM {schema}.lanes", DATABASE)
        return {lane: int(epoch) for lane, _, epoch in (row.partition("|") for row in rows.splitlines())}

    with trio.fail_after(60):
        async with (
            a_node(tmp_path, "ada", journal=on_postgresql) as ada,
            a_node(tmp_path, "cleo") as cleo,
            a_node(tmp_path, "dan") as dan,
        ):
            for one in (ada, cleo, dan):
                told = NamedPeer(
                    name=one.name, fingerprint=one.fingerprint, addresses=one.addresses, anchor=True
                )
                add_peer(bob.peers, told)
                add_peer(one.places.peers, NamedPeer(name="bob", fingerprint=identity, anchor=True))
                await one.configure_peers()
            async with up(bob, database):
                for one in (ada, cleo, dan):
                    await one.connected(identity)
                await delivered(ada, identity, await proposes(ada, identity, 0))
                confirm = PAYLOADS["FACT_CONFIRM"][0]
                key = claim_key(fact(0).domain, fact(0).statement)
                for one in (cleo, dan):
                    evidence = (m.HumanEvidence(ref=f"{one.name}'s person read it"),)
                    vote = msgspec.structs.replace(confirm, fact_ref=key, evidence=evidence)
                    await delivered(one, identity, [await one.cip.send(identity, vote)])
                await held(bob, {fact(0).statement: "accepted"})
                await ada.cip.send_intent(identity, goal="ask", topic="are you there?")
                await until(lambda: heard(ada, "REPLY"))
                queued = await proposes(ada, identity, *range(1, MANY))
                before = epochs()
            queued += await proposes(ada, identity, *range(MANY, 2 * MANY))
            async with up(bob, database):
                await delivered(ada, identity, queued)
                every = {fact(n).statement: "pending" if n else "accepted" for n in range(2 * MANY)}
                await held(bob, every)
                after = epochs()
                with pytest.raises(JournalLocked):
                    async with open_node(bob.data):
                        raise AssertionError("it runs already")
                with pytest.raises(JournalLocked):
                    rotate_identity(bob, RotationNote(reason="no", by="ada", at_ms=1))
            async with open_at_rest(bob.data) as rest:
                lane = Lane("peer", ada.fingerprint)
                records = await rest.journal.read(lane, limit=10_000)
            taken = [msg_id for one in records for msg_id in _taken(one.type, one.payload or b"")]
            assert len(taken) == len(set(taken))
            assert set(queued) <= set(taken)
            assert {lane.partition(":")[0] for lane in before} >= {"server", "knowledge", "peer"}
            owned = {lane: epoch for lane, epoch in before.items() if epoch}
            assert owned.keys() >= {f"peer:{one.fingerprint}" for one in (ada, cleo, dan)}
            assert {lane for lane, epoch in owned.items() if after[lane] <= epoch} <= {f"peer:{identity}"}


def _taken(kind: str, payload: bytes) -> list[str]:
    document = json.loads(payload)
    if kind == "outbox.taken":
        return [document["msg_id"]]
    return [row[0] for row in document["messages"]] if kind == "outbox.taken_together" else []


async def test_a_database_that_nobody_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UX-36: what lacks is named before anything is opened, and no password stands in a file."""
    monkeypatch.delenv(WHERE, raising=False)
    places = Places(tmp_path / "ada")
    make_directory(places, name="ada")
    told = config(journal={"backend": "postgresql", "conninfo_env": WHERE})
    with pytest.raises(ConfigurationError) as refused:
        async with open_node(places.data, config=told):
            raise AssertionError("it has no journal")
    assert refused.value.field == "journal.conninfo_env"
    for conninfo in ("host=db password=secret", "postgresql://ada:secret@db/web4"):
        with pytest.raises(ConfigurationError) as refused:
            config_of({"journal": {"backend": "postgresql", "conninfo": conninfo}})
        assert "secret" not in str(refused.value)
    assert config_of({"journal": {"conninfo": "postgresql://ada@db/web4"}}).journal.backend == "sqlite"

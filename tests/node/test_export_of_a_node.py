"""What a node's exported journal gives again, away from the node (OBS-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.node.nodes import a_node
from tests.protocols.cip.examples import FACT, TRACE
from tests.protocols.knowledge.nodes import fact
from web4.journal.bundle import BundleSource, Selector, export_bundle, verify_bundle
from web4.journal.lane import KNOWLEDGE, Lane
from web4.journal.replay import state_at
from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.hcp import Grant, Limit
from web4.protocols.knowledge.keys import claim_key
from web4.trust import OperatorPromote

if TYPE_CHECKING:
    from pathlib import Path

STATEMENTS = ("ice floats", "cork sinks", "tar flows")
AWAY = "c" * 64


async def test_an_export_rebuilds_trust_claims_consent_and_outbox(tmp_path: Path) -> None:
    """OBS-3: by replay of its records alone: no snapshot, no node, nothing but the bundle."""
    with trio.fail_after(60):
        async with (
            a_node(tmp_path, "bob") as bob,
            a_node(tmp_path, "ada", knows=(bob,), anchors=True) as ada,
        ):
            await ada.connected(bob.fingerprint)
            await bob.connected(ada.fingerprint)
            promote = OperatorPromote(at_ms=bob.clock.wall_ms(), human="grace", reason="met in person")
            await bob.cip.trust_command(ada.fingerprint, promote)
            for statement in STATEMENTS:
                await ada.knowledge.propose(fact(statement), to=[bob.fingerprint])
            while len(await bob.knowledge.claims()) < len(STATEMENTS):  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.01)
            keys = [claim_key("physics", one) for one in STATEMENTS]
            await bob.knowledge.decide_as_human(keys[0], "accept", "grace", "I saw it")
            await bob.knowledge.challenge(keys[1], "cannot_verify", to=())
            await bob.people.add_human("grace", name="Grace", role="owner")
            await bob.people.act("grace", Grant(), door="cli")
            await bob.people.act("grace", Limit(("topic:garden",)), door="cli")
            waits = await bob.cip.propose_fact(AWAY, FACT, TRACE)

            await export_bundle(bob.journal, Selector(), tmp_path / "bundle")
            trust = bob.trust.record(ada.fingerprint)
            claims = {one.key: (one.status, one.reason) for one in await bob.knowledge.claims()}
            registry, definitions = bob.journal.registry, {"peer": peer_definition(), **bob.lanes}
        report = await trio.to_thread.run_sync(verify_bundle, tmp_path / "bundle")
        assert not report.findings
        source = await trio.to_thread.run_sync(BundleSource, tmp_path / "bundle")

        async def rebuilt(lane: Lane) -> Any:
            definition, head = definitions[lane.kind], await source.head(lane)
            assert await source.snapshots(lane) == []
            return definition.decode((await state_at(source, definition, registry, lane, head.seq)).state)

        peer, away = await rebuilt(Lane("peer", ada.fingerprint)), await rebuilt(Lane("peer", AWAY))
        assert peer.trust == trust
        assert peer.trust.state == "trusted"
        assert [one.msg_id for one in away.outbox.entries.values()] == [waits]
        ledger = (await rebuilt(KNOWLEDGE)).parts["knowledge"].ledger
        assert {one.key: (one.status, one.reason) for one in ledger.claims.values()} == claims
        assert [claims[key][0] for key in keys] == ["accepted", "disputed", "pending"]
        grace = (await rebuilt(Lane("human", "grace"))).local
        assert (grace.facts.consent, grace.facts.scope) == ("limited", ("topic:garden",))

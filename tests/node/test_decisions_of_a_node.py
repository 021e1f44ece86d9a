"""MEM-1 over whole nodes: whatever is decided leaves one record, on the lane that decided it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

from tests.node.nodes import a_node, until
from tests.node.test_node import echo
from tests.protocols.knowledge.nodes import fact
from web4.journal.lane import KNOWLEDGE, Lane
from web4.protocols.cip.deciding import intent_decision_id
from web4.protocols.decision_history import check_decisions, decision_story, decisions
from web4.protocols.hcp import Grant
from web4.protocols.knowledge.keys import claim_key
from web4.trust import OperatorBlock, OperatorPromote

if TYPE_CHECKING:
    from pathlib import Path

    from web4.node import Node
    from web4.protocols.decisions import DecisionRecord

STATEMENTS = ("ice floats", "lead floats", "cork sinks")


async def decided(node: Node, lane: Lane) -> list[DecisionRecord]:
    """What a lane decided, once its chain and its records were checked."""
    backend, registry = node.journal.backend, node.journal.registry
    assert (await check_decisions(backend, registry, lane)).sound
    return [one.record for one in (await decisions(backend, registry, lane)).decisions]


async def test_dmp_every_decision(tmp_path: Path) -> None:
    """MEM-1: claims, intents, trust and people: one record each, on a chain that verifies, joined by its id."""
    with trio.fail_after(40):
        async with (
            a_node(tmp_path, "bob", handler=echo) as bob,
            a_node(tmp_path, "ada", knows=(bob,), anchors=True, handler=echo) as ada,
        ):
            await ada.connected(bob.fingerprint)
            await bob.connected(ada.fingerprint)
            of_ada = Lane("peer", ada.fingerprint)
            await ask_twice(ada, bob)
            await claim_thrice(ada, bob)
            await bob.people.add_human("grace", name="Grace", role="owner")
            await bob.people.act("grace", Grant(), door="cli")
            now = bob.clock.wall_ms()
            block = OperatorBlock(at_ms=now, human="grace", reason="enough")
            await bob.cip.trust_command(ada.fingerprint, block)

            said = Counter((one.kind, one.choice) for one in await decided(bob, of_ada))
            assert said == Counter(
                {
                    ("intent", "accepted"): 1,
                    ("intent", "deferred"): 1,
                    ("trust", "probing"): 1,
                    ("trust", "trusted"): 1,
                    ("trust", "blacklisted"): 1,
                }
            )
            acts = [one for one in await decided(bob, of_ada) if one.actor == "grace"]
            assert [one.reasons[-1] for one in acts] == ["met in person", "enough"]
            keys = [claim_key("physics", one) for one in STATEMENTS]
            while (await bob.knowledge.claim(keys[2])).status != "rejected":  # noqa: ASYNC110 - as below
                await trio.sleep(0.01)
            assert [(one.kind, one.about, one.choice) for one in await decided(bob, KNOWLEDGE)] == [
                ("human", keys[0], "accepted"),
                ("human", keys[1], "rejected"),
                ("claim", keys[2], "disputed"),
                ("claim", keys[2], "rejected"),  # its proposer was blocked (KNOW-6 b)
            ]
            people = await decided(bob, Lane("human", "grace"))
            assert [one.kind for one in people] == ["human"] * len(people)
            assert people


async def ask_twice(ada: Node, bob: Node) -> None:
    """An INTENT that is accepted, and one that finds Bob overloaded; what came of the first joins its decision."""
    assert ada.loop is not None
    answer = await ada.loop.ask(bob.fingerprint, goal="ask", topic="the weather")
    assert answer.status == "done"
    bob.cip.set_state(presence="overloaded")
    assert (await ada.loop.ask(bob.fingerprint, goal="ask", topic="the tide")).status == "deferred"
    bob.cip.set_state(presence="engaged")
    records = await decided(bob, Lane("peer", ada.fingerprint))
    accepted, deferred = (one for one in records if one.kind == "intent")
    assert accepted.decision_id == intent_decision_id(ada.fingerprint, accepted.about)
    assert (accepted.state.trust, accepted.state.presence) == ("probing", "engaged")
    assert (deferred.state.presence, deferred.alternatives) == ("overloaded", ("accepted", "refused"))
    backend, registry = bob.journal.backend, bob.journal.registry
    while True:
        story = await decision_story(backend, registry, accepted.decision_id)
        assert story is not None
        if story.outcomes and story.edges:
            break
        await trio.sleep(0.01)
    assert story.made is not None
    assert [(one.outcome, one.success) for one in story.outcomes] == [("handled", True)]


async def claim_thrice(ada: Node, bob: Node) -> None:
    """Ada's word for three claims; of which a person accepts one, a person rejects one, and Bob doubts one."""
    promote = OperatorPromote(at_ms=bob.clock.wall_ms(), human="grace", reason="met in person")
    await bob.cip.trust_command(ada.fingerprint, promote)
    assert bob.trust.state(ada.fingerprint) == "trusted"
    for statement in STATEMENTS:
        await ada.knowledge.propose(fact(statement), to=[bob.fingerprint])
    keys = [claim_key("physics", one) for one in STATEMENTS]
    while len(await bob.knowledge.claims()) < len(keys):  # noqa: ASYNC110 - nothing tells of it
        await trio.sleep(0.01)
    await bob.knowledge.decide_as_human(keys[0], "accept", "grace", "I saw it")
    await bob.knowledge.decide_as_human(keys[1], "reject", "grace", "I saw it sink")
    await bob.knowledge.challenge(keys[2], "cannot_verify")
    await until(lambda: bob.trust.state(ada.fingerprint) != "unknown")

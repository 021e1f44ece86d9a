"""Whole nodes in processes of their own, over real sockets: what a mesh of them comes to (section 23)."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.mesh.whole_nodes import Star, whole_nodes
from tests.seeds import a_seed
from web4.demo.ring.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

    from web4.demo.ring.stage import Stage

Pair = tuple[str, str]


async def test_mesh_ten_nodes(tmp_path: Path) -> None:
    """Ten processes in a ring with cables across, which are neighbours of three at most: each asks each, and each is
    answered; those without a cable talk end to end over hops (MESH-1, MESH-4)."""
    layout = Layout(10)
    async with whole_nodes(tmp_path, layout) as stage:
        ring = stage.ring
        assert len({child.pid for child in ring._children.values()} | {os.getpid()}) == 11
        for name in ring.names:
            await ring.know(name, *(other for one, other in layout.apart() if one == name))

        async def ask_everybody(name: str) -> None:
            for other in ring.names:
                if other != name:
                    await ring.need(name, "meet", peer=ring.of(other))
                    await stage.asked(name, other, f"from {name} to {other}")

        await ring.together(ask_everybody(name) for name in ring.names)
        for name in ring.names:
            heard = (await ring.need(name, "heard", prefix="from "))["topics"]
            assert sorted(heard) == sorted(f"from {one} to {name}" for one in ring.names if one != name)
        relayed = Counter(event["node"] for event in ring.timeline.events if event["type"] == "mesh_routed")
        assert len(layout.apart()) == 30
        assert sum(relayed.values()) > 2 * 30


@dataclass
class Openings:
    """In which order four nodes come to hear of each other again: cables from the first, and pairs that meet over it.

    Drawn so that each of the four hears the three votes in an order of its own; who votes hears itself first.
    """

    seed: int
    pairs: list[Pair] = field(default_factory=list)
    orders: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        first, *voters = Layout(4).names
        cables = [(first, voter) for voter in voters]
        across = [(one, other) for at, one in enumerate(voters) for other in voters[at + 1 :]]
        while len({tuple(order) for order in self.orders.values()}) < 4:
            self.pairs = chance.sample(cables + across, 6)
            if any(
                self.pairs.index((first, end)) > self.pairs.index(pair) for pair in across for end in pair
            ):
                continue  # there is no way yet
            self.orders = {first: [], **{voter: [voter] for voter in voters}}
            for one, other in self.pairs:
                self.orders[other] += [one] if one != first else []
                self.orders[one] += [other]


async def test_mesh_consensus_four(tmp_path: Path) -> None:
    """MESH-12, KNOW-6, KNOW-7: four processes, three of which reach each other over the first only, hear the votes each
    in an order of its own, and hold byte for byte the same: accepted, disputed by one, and accepted again when the
    doubt is withdrawn, also where doubt and withdrawal come at once."""
    seed = a_seed()
    print("seed", seed)
    openings, chance = Openings(seed), random.Random(seed + 1)
    async with whole_nodes(tmp_path, Star(4)) as stage:
        ring = stage.ring
        first, *voters = ring.names
        for voter in voters:
            await stage.meet(first, voter)
            for other in voters:
                if other != voter:
                    await ring.need(voter, "know", peer=ring.of(other), anchor=True)
        given = await ring.need(first, "propose", statement="the tide stood at 4.1 m", domain="tide")
        key: str = given["key"]
        await stage.until_all(key, "pending")

        ring.cut(*ring.between([first]))
        for voter in chance.sample(voters, 3):
            await confirm(stage, voter, key)
        for one, other in openings.pairs:
            await open_between(stage, one, other)
            await both_heard(stage, one, other, key)
        assert await orders_heard(stage, key) == openings.orders, f"seed {seed}"
        await stage.until_all(key, "accepted")
        accepted = await stage.agreed(key)

        doubter = chance.choice(voters)
        late = ring.cable(first, chance.choice(voters))
        ring.cut(late)
        await ring.need(doubter, "challenge", key=key, notes="I saw no gauge")
        ring.join(late)
        await stage.until_all(key, "disputed")
        assert '"challenge"' in await stage.agreed(key)
        await confirm(stage, doubter, key)
        await stage.until_all(key, "accepted")
        again = await stage.agreed(key)
        assert again.replace('"kept"', '"e"') == accepted.replace('"kept"', '"e"')

        away = chance.choice([voter for voter in voters if voter != doubter])
        await ring.kill(away)
        await ring.need(doubter, "challenge", key=key, notes="I do not remember")
        await confirm(stage, doubter, key)
        await ring.start(away)
        await stage.meet(away, doubter)
        await both_withdrew(stage, doubter, away, key)
        await stage.until_all(key, "accepted")
        assert await stage.agreed(key) == again, f"seed {seed}"


async def confirm(stage: Stage, name: str, key: str) -> None:
    seen = f"{name}'s person read the gauge"
    await stage.ring.need(name, "vote", key=key, decision="confirm", seen=seen)


async def open_between(stage: Stage, one: str, other: str) -> None:
    """Join their cable, or let them meet over the first, to whom both have one."""
    ring = stage.ring
    if one == ring.names[0]:
        ring.join(ring.cable(one, other))
    else:
        await ring.know(one, other)
    await stage.meet(one, other)


async def both_heard(stage: Stage, one: str, other: str, key: str) -> None:
    """Wait until each of two has the other's vote; the first of the mesh casts none."""
    ring = stage.ring

    async def holds() -> bool:
        votes = await ring.all("votes", [one, other], key=key)
        return ring.of(other) in votes[one]["confirm"] and (
            one == ring.names[0] or ring.of(one) in votes[other]["confirm"]
        )

    await ring.until(holds, f"the votes of {one} and {other} at each other")


async def both_withdrew(stage: Stage, doubter: str, away: str, key: str) -> None:
    """Wait until nothing waits any more for the one that was away."""
    ring = stage.ring

    async def holds() -> bool:
        return bool((await ring.need(doubter, "outbox", peer=ring.of(away)))["waiting"] == 0)

    await ring.until(holds, f"what {doubter} has for {away}, there")


async def orders_heard(stage: Stage, key: str) -> dict[str, list[str]]:
    """In which order each node counted the votes, by the events of its ledger."""
    ring = stage.ring
    orders: dict[str, list[str]] = {name: [] for name in ring.names}

    async def said() -> bool:
        for name in ring.names:
            orders[name] = [
                ring.called(event["peer"])
                for event in ring.timeline.events
                if event["node"] == name
                and event["type"] == "claim_vote"
                and event["payload"].get("kind") == "confirm"
                and event["payload"]["key"] == key
            ]
        return all(len(order) == 3 for order in orders.values())

    await ring.until(said, "each node's report of three votes")
    return orders

"""Steps of the mesh demo: what the nodes hold to be true, though nobody counts the votes for all (MESH-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.ring.stage import Stage


async def claim_disputed_then_accepted(stage: Stage) -> None:
    """Proposed by one, doubted by another, confirmed by two; the doubt withdrawn, all hold it accepted."""
    ring = stage.ring
    proposer, one, other, doubter = ring.names[:4]
    await _acquaint(stage)
    stage.note(
        f"{proposer} proposes a fact to all, over the mesh; {doubter} doubts it, {one} and {other} confirm it"
    )
    key = await _propose(stage, f"the tide stood at 4.1 m, {ring.run}")
    await stage.until_all(key, "pending")
    await ring.need(doubter, "challenge", key=key, notes="I saw no gauge")
    await stage.until_all(key, "disputed")
    for name in (one, other):
        await _confirm(stage, name, key)
    await _heard_votes(stage, key, {one, other})
    standing = await stage.statuses(key)
    if set(standing.values()) != {"disputed"}:
        raise CheckFailedError(f"with a doubt that stands it is {standing}")
    if not stage.spoils():
        stage.note(f"{doubter} has seen the gauge: it withdraws its doubt, and confirms")
        await _confirm(stage, doubter, key)
    await stage.until_all(key, "accepted")
    await stage.agreed(key)


async def partition_heals(stage: Stage) -> None:
    """Every cable between two sides is cut. Each goes on; joined again, all comes to the same everywhere."""
    ring, first, far = stage.ring, stage.first, stage.far
    near, beyond = ring.names[:2], ring.names[2:]
    key = await _propose(stage, f"the tide stood at 3.9 m, {ring.run}")
    await stage.until_all(key, "pending")
    stage.note(f"the mesh is cut: {' '.join(near)} | {' '.join(beyond)}; both sides go on, and vote")
    cables = ring.between(near)
    ring.cut(*cables)

    async def parted() -> bool:
        return not await stage.way(first, far) and not await stage.way(far, first)

    await ring.until(parted, f"no way between {first} and {far}")
    for one, other in (near, beyond[:2]):
        await stage.asked(one, other, f"are you there, {ring.run}")
    for name in ring.names[1:4]:
        await _confirm(stage, name, key)
    if (await stage.statuses(key))[first] != "pending":
        raise CheckFailedError(f"{first} accepted what it cannot have heard two confirm")
    if not stage.spoils():
        ring.join(*cables)
    took = await stage.until_all(key, "accepted")
    await stage.agreed(key)
    stage.note(f"joined again: the votes are the same everywhere after {took:.1f} s")
    await stage.whole()
    await stage.asked(first, far, f"is all well, {ring.run}")


async def _acquaint(stage: Stage) -> None:
    """Those who are no neighbours meet over the mesh, and their persons vouch for each other."""
    ring = stage.ring
    apart = ring.layout.apart()
    for name in ring.names:
        reached = [other for one, other in apart if one == name]
        if reached:
            await ring.know(name, *reached)
    stage.note(
        f"{len(apart)} pairs that have no cable meet over the mesh; their persons vouch for each other"
    )
    for one, other in apart:
        await stage.meet(one, other)
        await ring.promote(one, other)
        await ring.promote(other, one)


async def _propose(stage: Stage, statement: str) -> str:
    reply = await stage.ring.need(stage.first, "propose", statement=statement, domain="harbour.tide")
    key: str = reply["key"]
    return key


async def _confirm(stage: Stage, name: str, key: str) -> None:
    await stage.ring.need(name, "vote", key=key, decision="confirm", seen=f"{name}'s person read the gauge")


async def _heard_votes(stage: Stage, key: str, names: set[str]) -> None:
    """Wait until every node has counted what these say of a claim."""
    wanted = {stage.ring.of(name) for name in names}

    async def holds() -> bool:
        answers = await stage.ring.all("votes", key=key)
        return all(wanted <= set(answer["confirm"]) for answer in answers.values())

    await stage.ring.until(holds, f"the votes of {', '.join(sorted(names))} on every node")

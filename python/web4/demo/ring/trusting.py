"""Steps of the mesh demo: whom the nodes let near, and whom not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.demo.checks import CheckFailedError
from web4.demo.ring.layout import STRANGER

if TYPE_CHECKING:
    from web4.demo.ring.stage import Stage


async def introduction_probing(stage: Stage) -> None:
    """A stranger comes to one node, whose person vouches for it; the node introduces it to the others."""
    ring, first, sponsor = stage.ring, stage.first, stage.ring.names[1]
    stage.note(f"{STRANGER}, whom only {sponsor} knows, comes; {sponsor} introduces it to all")
    await ring.start(STRANGER)
    stranger = ring.of(STRANGER)
    ring_side: dict[str, Any] = {
        "name": sponsor, "fingerprint": ring.of(sponsor), "addresses": [ring.address(sponsor)], "anchor": True,
    }  # fmt: skip
    await ring.need(STRANGER, "peers", peers=[ring_side])
    await stage.meet(STRANGER, sponsor)
    await ring.promote(sponsor, STRANGER)
    key = (await ring.need(STRANGER, "who"))["key"]
    given = await ring.need(sponsor, "introduce", peer=stranger, key=key)
    # Only the word of a trusted node counts: to whoever does not trust the sponsor the stranger stays one (MESH-10).
    near = sorted(ring.layout.neighbours(sponsor), key=ring.names.index)
    distant = [name for name in ring.names if name not in {sponsor, *near}]
    as_introduced = {"state": "probing", "introducer": ring.of(sponsor), "handshaken": False}
    await _stands(stage, near, as_introduced, f"{STRANGER} probing on {', '.join(near)}")
    await _stands(stage, distant, {"state": "unknown"}, f"{STRANGER} unknown to {', '.join(distant)}")
    if stage.spoils():
        await ring.promote(first, STRANGER)
    await stage.reach(first, STRANGER)
    proven = as_introduced | {"handshaken": True}
    await _stands(stage, [first], proven, f"{STRANGER} proven to {first} and still probing")
    stage.note(f"{first} has {STRANGER}'s own proof, and {sponsor} takes its word back")
    await ring.need(sponsor, "revoke", intro_id=given["intro_id"], reason="it moved")
    unproven = [name for name in near if name != first]
    fallen = {"state": "untrusted", "handshaken": False}
    await _stands(stage, unproven, fallen, f"{STRANGER} untrusted on {', '.join(unproven)}")
    await _stands(stage, [first], {"state": "probing", "handshaken": True}, f"{STRANGER} probing on {first}")
    await ring.forget(first, STRANGER)
    await ring.stop(STRANGER)


async def _stands(stage: Stage, names: list[str], wanted: dict[str, Any], what: str) -> None:
    seen: dict[str, Any] = {}

    async def holds() -> bool:
        nonlocal seen
        seen = await stage.ring.all("introduced", names, peer=stage.ring.of(STRANGER))
        if any(one["state"] == "trusted" for one in seen.values()):
            raise CheckFailedError(f"{STRANGER} is trusted by {_who(seen, 'trusted')}: more than probing")
        return all(wanted.items() <= one.items() for one in seen.values())

    try:
        await stage.ring.until(holds, what)
    except CheckFailedError as error:
        if not seen or "more than" in str(error):
            raise
        raise CheckFailedError(
            f"{error}; it is { ({name: one['state'] for name, one in seen.items()}) }"
        ) from None


def _who(seen: dict[str, Any], state: str) -> str:
    return ", ".join(name for name, one in seen.items() if one["state"] == state)


async def blocked_peer(stage: Stage) -> None:
    """A person at one node blocks a neighbour: no session, no relay for it, and the mesh goes around."""
    ring, blocked, blocker = stage.ring, stage.first, stage.ring.names[-1]
    stage.note(f"{blocker}'s person blocks {blocked}")
    if not stage.spoils():
        await ring.operator(blocker, "block", blocked, "it was rude")
    link = frozenset((blocked, blocker))

    async def apart() -> bool:
        graphs = await ring.all("graph", [blocked, blocker])
        return all(link not in stage.links(graph) for graph in graphs.values())

    await ring.until(apart, f"no link between {blocked} and {blocker}")
    if (await ring.need(blocker, "trust", peer=ring.of(blocked)))["state"] != "blacklisted":
        raise CheckFailedError(f"{blocker} does not hold {blocked} blacklisted")
    if ring.layout.reached_around(blocked, blocker):
        # Over the others, too: whatever comes from it is dropped where it would arrive.
        await ring.know(blocked, blocker)
        origin = ring.of(blocked)
        await ring.event(blocker, "mesh_dropped", reason="blocked", origin=origin)
        await ring.forget(blocked, blocker)
    await stage.asked(blocked, stage.far, f"is it still there, {ring.run}")
    path = await stage.way(blocked, stage.far)
    if blocker in path:
        raise CheckFailedError(f"{blocked}'s way still leads over {blocker}")
    stage.note(f"{blocked} reaches {stage.far} over {' and '.join(path[:-1])}")

"""Steps of the mesh demo: who is there, and how they reach each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from pathlib import Path

    from web4.demo.ring.stage import Stage

SEEN: Final = "seen"
"""Where in its directory a node writes down what it relays."""
SEEN_SECONDS: Final = 5.0
"""How long every link is looked for in every graph."""
STREAM: Final = 60
"""Questions that are under way when the hop is killed: one every 20 ms, for more than a second."""
EVERY_SECONDS: Final = 0.02


async def topology(stage: Stage) -> None:
    """Every node sees the links as they were laid; what it writes of that, it reads again as it was."""
    ring = stage.ring
    stage.note(f"{len(ring.names)} nodes, {len(ring.layout.cables)} cables: {ring.layout.drawing()}")
    if stage.spoils():
        ring.cut(ring.cable(*ring.names[1:3]))
    await stage.whole()
    if ring.layout.sees_all and not await stage.seen_by_all(SEEN_SECONDS):
        stage.note("a slow link is on nobody's way: not every node has heard of it")
    graphs = await ring.all("graph")
    union = {link for graph in graphs.values() for link in stage.links(graph)}
    if union != ring.layout.links():
        raise CheckFailedError("together they do not see every link")
    for name, graph in graphs.items():
        again = await ring.need(name, "read_graph", json=graph["json"])
        if again["json"] != graph["json"] or not graph["dot"].startswith("digraph"):
            raise CheckFailedError(f"{name}'s graph is another when it is read again")
        if {ring.called(one) for one in graph["trusts"]} < ring.layout.neighbours(name):
            raise CheckFailedError(f"{name} does not trust its neighbours")


async def multihop(stage: Stage) -> None:
    """The first node asks one that is no neighbour; everybody else writes down what passes."""
    ring, first, far = stage.ring, stage.first, stage.far
    for name in ring.names:
        if name not in {first, far}:
            await ring.need(name, "record", place=SEEN)
    if stage.spoils():
        ring.cut(*ring.between([far]))
    await stage.reach(first, far)
    path = await stage.way(first, far)
    if len(path) < 2 or path[-1] != far:
        raise CheckFailedError(f"the way from {first} to {far} is {path}")
    stage.hop = path[0]
    stage.words = f"the harbour gate opens at dawn, {ring.run}"
    stage.note(f"{first} asks {far} over {' and '.join(path[:-1])}: {stage.words!r}")
    await stage.asked(first, far, stage.words)
    ends: dict[str, Any] = {"origin": ring.of(first), "destination": ring.of(far)}
    await ring.event(stage.hop, "mesh_routed", type="MESH_RELAY", **ends)


async def hop_is_blind(stage: Stage) -> None:
    """The hop saw every envelope between them, and none of the words."""
    ring, hop = stage.ring, stage.hop
    if stage.spoils():
        # Words of a broadcast are for all: in these the search has to find something.
        await ring.need(stage.first, "broadcast", words=stage.words)
        await ring.event(stage.far, "mesh_dropped", stage.first)
    answers = await ring.all(
        "recorded", [name for name in ring.names if name not in {stage.first, stage.far}]
    )
    counts = answers[hop]["counts"]
    if not counts.get("MESH_RELAY") or counts.get("missed"):
        raise CheckFailedError(f"{hop} wrote down {counts}, which cannot prove anything")
    heard = await ring.need(stage.far, "heard", prefix=stage.words)
    if heard["topics"] != [stage.words]:
        raise CheckFailedError(f"{stage.far} heard {heard['topics']}")
    found = await trio.to_thread.run_sync(_files_with, stage.words.encode(), ring.place(hop))
    if found:
        raise CheckFailedError(f"{hop} has the words in {', '.join(sorted(found))}")
    if any(stage.words in str(event) for event in ring.timeline.events if event["node"] == hop):
        raise CheckFailedError(f"{hop} has the words in its events")
    if not await trio.to_thread.run_sync(_files_with, stage.words.encode(), ring.place(stage.far)):
        raise CheckFailedError(f"the search does not find the words at {stage.far}, who was told them")
    stage.note(f"{hop} wrote down {counts['MESH_RELAY']} relayed envelopes: the words are in none of them")


def _files_with(words: bytes, place: Path) -> set[str]:
    return {file.name for file in place.rglob("*") if file.is_file() and words in file.read_bytes()}


async def reroute(stage: Stage) -> None:
    """A node on the way is killed while questions are under way: all of them arrive, once, in order."""
    ring = stage.ring
    first, far = stage.first, stage.far
    wanted = ring.options.kill
    if wanted is not None and wanted not in (await stage.way(first, far))[:-1]:
        first, far = sorted(ring.layout.around(wanted), key=ring.names.index)
    path = await stage.way(first, far)
    lost = path[0] if wanted is None else wanted
    on_the_way = lost in path
    if stage.spoils():
        ring.cut(*(cable for cable in ring.between([far]) if cable is not ring.cable(far, path[-2])))
    stage.note(f"{first} goes on asking {far} over {' and '.join(path[:-1])}; {lost} is killed")
    topics = [f"mark {number}, {ring.run}" for number in range(STREAM)]
    gone = 0

    async def ask() -> None:
        await ring.need(first, "tell", peer=ring.of(far), topics=topics, every=EVERY_SECONDS)

    async def kill() -> None:
        nonlocal gone
        await trio.sleep(STREAM * EVERY_SECONDS / 3)
        gone = await ring.kill(lost)

    await ring.together([ask(), kill()])
    await once_in_order(stage, far, topics)
    if on_the_way:
        resumed = await ring.event(first, "session_resume", far, after=gone)
        took = (resumed["mono_ns"] - gone) / 1e6
        path = await stage.way(first, far)
        if lost in path:
            raise CheckFailedError(f"the way still leads over {lost}")
        stage.note(f"resumed over {' and '.join(path[:-1])} {took:.0f} ms after {lost} was gone")
    else:
        stage.note(f"{lost} was not on the way, which is as it was")
    await ring.start(lost)
    await stage.whole()


async def once_in_order(stage: Stage, name: str, topics: list[str]) -> None:
    """See that a node's agent was asked exactly this, in this order, and nothing of it twice."""
    ring = stage.ring
    prefix = topics[0].partition(" ")[0] + " "
    heard: list[str] = []

    async def holds() -> bool:
        nonlocal heard
        answer: dict[str, Any] = await ring.need(name, "heard", prefix=prefix)
        heard = [topic for topic in answer["topics"] if topic.endswith(ring.run)]
        return len(heard) >= len(topics)

    try:
        await ring.until(holds, f"all {len(topics)} questions at {name}")
    except CheckFailedError as error:
        raise CheckFailedError(f"{error}; {len(heard)} came") from None
    if heard != topics:
        raise CheckFailedError(f"{name} heard {len(heard)} for {len(topics)}, or in another order")

"""Steps of the mesh demo: what has to happen once, and what has to last."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from web4.demo.checks import CheckFailedError
from web4.demo.ring.reaching import once_in_order
from web4.journal.bundle import verify_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from web4.demo.ring.stage import Stage

WAITING: Final = 12
"""Envelopes that wait while both ends are dead."""


async def service_invoke(stage: Stage) -> None:
    """The first node calls a service of one that is no neighbour: it runs there, once."""
    ring, first, far = stage.ring, stage.first, stage.far
    stage.note(f"{first} calls a service of {far}")
    before = await ring.need(far, "served", peer=ring.of(first))
    for _ in range(2 if stage.spoils() else 1):
        called = await ring.need(first, "invoke", peer=ring.of(far), metres=[3.2, 4.1, 3.9])
        if called["result"] != {"highest": 4.1}:
            raise CheckFailedError(f"{far}'s service gave {called['result']}")
    await ring.event(far, "service_invoked", first)
    after = await ring.need(far, "served", peer=ring.of(first))
    if after["times"] - before["times"] != 1:
        raise CheckFailedError(f"it ran {after['times'] - before['times']} times")


async def crash_outbox(stage: Stage) -> None:
    """The receiver is killed, then the sender with what waits for it: started again, all of it arrives, once."""
    ring, sender, receiver = stage.ring, stage.first, stage.far
    peer = ring.of(receiver)
    stage.note(
        f"{receiver} is killed; {sender} asks {WAITING} things of it all the same, and is killed as well"
    )
    await ring.kill(receiver)
    topics = [f"letter {number}, {ring.run}" for number in range(WAITING)]
    await ring.need(sender, "tell", peer=peer, topics=topics)
    if (await ring.need(sender, "outbox", peer=peer))["waiting"] != WAITING:
        raise CheckFailedError(f"{sender} does not keep what it was told to send")
    await ring.kill(sender)
    await ring.start(sender, elsewhere=stage.spoils())
    waiting = (await ring.need(sender, "outbox", peer=peer))["waiting"]
    if waiting != WAITING:
        raise CheckFailedError(f"{sender} has {waiting} of {WAITING} after it was killed")
    stage.note(f"{sender} is back and has them; {receiver} is started again")
    await ring.start(receiver)
    await once_in_order(stage, receiver, topics)

    async def empty() -> bool:
        return bool((await ring.need(sender, "outbox", peer=peer))["waiting"] == 0)

    await ring.until(empty, f"nothing more that waits at {sender}")


async def export(stage: Stage) -> None:
    """Each node writes its journal out; this process, which is none of them, verifies what it was given."""
    ring = stage.ring
    stage.note("every node writes its graph and its journal out")
    place = ring.directory / f"exports-{ring.run.replace(' ', '-')}"
    await trio.to_thread.run_sync(partial(place.mkdir, mode=0o700, exist_ok=True))
    records = 0
    for name in ring.names:
        graph = await ring.need(name, "graph")
        for suffix, kind in (("json", "json"), ("dot", "dot")):
            await trio.Path(place / f"{name}.{suffix}").write_text(graph[kind])
        bundle = place / name
        await ring.need(name, "bundle", directory=str(bundle))
        if stage.spoils():
            await trio.to_thread.run_sync(_alter, bundle / "records.ndjson")
        report = await trio.to_thread.run_sync(verify_bundle, bundle)
        if report.findings:
            raise CheckFailedError(f"{name}'s bundle does not verify: {report.findings[0][1]}")
        proven = await ring.need(name, "replayed")
        if wrong := [*proven["findings"], *proven["differs"]]:
            raise CheckFailedError(f"{name}'s journal does not hold, or replayed it is another: {wrong[0]}")
        records += proven["records"]
    stage.note(
        f"{records} records of {len(ring.names)} journals verified and replayed; exports in {place.name}"
    )


def _alter(file: Path) -> None:
    """One bit of what was written."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

"""How a node is: `node_status` (UX-9)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from web4 import _core
from web4.doors.control.commands import Nothing
from web4.foundation.digest import blake3_hex, canonical
from web4.mesh.registry.errors import PeersFileError
from web4.protocols.hcp.values import STALE_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.views.reading import Reading
    from web4.protocols.hcp.lane.states import LaneState

_PAGE: Final = 500
SOON_MS: Final = 120_000
"""A consent that counts as limited within this time is near its end (HCP-2)."""


async def node_status(reading: Reading, _: Nothing) -> Mapping[str, Any]:
    """All of it. `running` says whether the members that only a running node has are there; they are null else."""
    trust = Counter(one.state for one in (await reading.trust()).values())
    humans = await reading.humans()
    journal = await _journal(reading)
    running = _running(reading)
    people = _people(humans, reading.now_ms())
    return {
        "running": reading.node is not None,
        "name": reading.name,
        "fingerprint": reading.identity.fingerprint,
        "version": str(_core.build_info()[0]),
        "directory": str(reading.directory),
        **running,
        "journal": journal,
        "peers": {state: trust[state] for state in sorted(trust)},
        "check_ins": people["check_ins"],
        "consents_ending": people["ending"],
        "warnings": _warnings(reading, journal, running, await _peers_file(reading)),
    }


def _running(reading: Reading) -> dict[str, Any]:
    """What only a running node has."""
    names = ("addresses", "uptime_ms", "sessions", "waiting", "dead_letters", "sinks_lost")
    node = reading.node
    if node is None:
        return dict.fromkeys(names)
    return {
        "addresses": list(node.addresses),
        "uptime_ms": (node.clock.monotonic_ns() - node.began_ns) // 1_000_000,
        "sessions": sorted(node.cip.peers()),
        "waiting": node.router.waiting,
        "dead_letters": len(node.router.dead_letters),
        "sinks_lost": node.hub.lost(),
    }


async def _journal(reading: Reading) -> dict[str, Any]:
    """Where the journal ends: the digest covers name, number and hash of every lane's last record."""
    kinds: dict[str, dict[str, int]] = {}
    heads: list[tuple[str, int, str]] = []
    after = None
    while page := await reading.journal.heads(after=after, limit=_PAGE):
        for lane, head in page:
            kind = kinds.setdefault(lane.kind, {"lanes": 0, "records": 0})
            kind["lanes"] += 1
            kind["records"] += head.seq - head.base_seq
            heads.append((str(lane), head.seq, head.hash.hex()))
        after = page[-1][0]
    health = reading.journal.health()
    store = {} if reading.node is not None else dict(await reading.journal.backend.stats())
    begun = reading.node is not None or health["backend"] != "memory"
    return {
        "backend": health["backend"] if begun else None,
        "profile": store.get("profile", health["durability"]) if begun else None,
        "state": health["state"] if reading.node is not None else None,
        "digest": blake3_hex(canonical(sorted(heads))),
        "lanes": kinds,
        "halted": health["halted"],
    }


def _people(humans: Mapping[str, LaneState], now_ms: int) -> dict[str, int]:
    check_ins = ending = 0
    for state in humans.values():
        if state.local is not None:
            check_ins += len(state.local.check_ins)
            facts = state.local.facts
            left = facts.said_ms + STALE_MS - now_ms
            ending += facts.consent == "granted" and 0 < left <= SOON_MS
    return {"check_ins": check_ins, "ending": ending}


async def _peers_file(reading: Reading) -> list[str]:
    """What is wrong with `peers.toml`: a node that runs goes on with what it read, and does not start again."""
    try:
        await reading.named()
    except PeersFileError as error:
        return [f"the node will not start again: {error.args[0]}"]
    return []


def _warnings(
    reading: Reading, journal: Mapping[str, Any], running: Mapping[str, Any], peers_file: list[str]
) -> list[str]:
    """What an operator should look at, in words."""
    found = [f"lane {lane} cannot be read: {why}" for lane, why in sorted(reading.unreadable.items())]
    found += [f"lane {lane} is halted: {why}" for lane, why in sorted(journal["halted"].items())]
    found += peers_file
    if journal["state"] not in {None, "ready"}:
        found.append(f"the journal is {journal['state']}: nothing new is taken on")
    elif reading.node is not None and not reading.node.journal.accepting:
        found.append("the journal's volume is nearly full: no new work is begun; make room")
    if running["dead_letters"]:
        found.append(f"{running['dead_letters']} messages could not be handled")
    lost = running["sinks_lost"] or {}
    found += [f"{count} events did not reach {sink}" for sink, count in sorted(lost.items()) if count]
    return found


QUESTIONS: Final = {"node_status": (Nothing, node_status)}

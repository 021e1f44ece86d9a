"""Missions and nodes to judge with."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from web4.actors import open_lane_actors
from web4.foundation.identity import Identity
from web4.foundation.ids import SeededIds
from web4.governance import (
    Causer,
    DriftRules,
    ForbiddenOutcome,
    Goal,
    Mission,
    MissionGuard,
    Score,
    read_mission,
    sign_mission,
)
from web4.governance.commands import AdmitIntent, AdoptMission, NoteDecision
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.testing.clocks import START_MS, ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.actors import LaneActors
    from web4.journal.journal import Journal

OPERATOR = Identity.from_seed(b"o" * 32)
GOALS = (
    Goal(name="forecast", words="forecast weather rain wind", weight=1.0),
    Goal(name="teach", words="explain clouds", weight=0.5),
)
FORBIDDEN = (ForbiddenOutcome(name="evacuate", phrases=("order evacuation", "call sirens now")),)
PEER = Causer(kind="peer", id="a" * 64)
OTHER = Causer(kind="peer", id="b" * 64)
GRACE = Causer(kind="human", id="grace")


def document(version: int = 1, **more: Any) -> bytes:
    what: dict[str, Any] = {"goals": GOALS, "forbidden": FORBIDDEN, "issued_ms": START_MS, **more}
    return sign_mission(OPERATOR, version=version, **what)


def mission(version: int = 1, **more: Any) -> Mission:
    return read_mission(document(version, **more), signers=[OPERATOR.fingerprint])


class Said:
    """A scorer that is told the score: the text is the number."""

    name = "said"
    version = 3

    def score(self, mission: Mission, text: str) -> Score:
        return Score(float(text), (mission.goals[0].name,))


def adopt(version: int = 1, rules: DriftRules | None = None) -> AdoptMission:
    return AdoptMission(
        mission=mission(version),
        rules=rules or DriftRules(),
        human="grace",
        decision_id=f"{version:036}",
        at_ms=START_MS,
    )


def intent(number: int, text: str, cause: Causer = PEER) -> AdmitIntent:
    return AdmitIntent(id=f"i{number}", cause=cause, topic="weather", text=text, at_ms=START_MS + number)


def decision(number: int, choice: str, topic: str = "weather", score: str = "1") -> NoteDecision:
    return NoteDecision(
        id=f"d{number}", cause=PEER, topic=topic, choice=choice, text=score, at_ms=START_MS + number
    )


class Running(NamedTuple):
    """A node with a guard."""

    guard: MissionGuard
    journal: Journal
    actors: LaneActors
    emitted: list[tuple[str, dict[str, Any]]]


@asynccontextmanager
async def guarding(
    store: MemoryStore, *, scorer: Any = None, faults: Any = None, seed: int = 1
) -> AsyncIterator[Running]:
    emitted: list[tuple[str, dict[str, Any]]] = []
    guard = MissionGuard(
        signers=[OPERATOR.fingerprint],
        scorer=scorer,
        clock=ManualClock(),
        ids=SeededIds(seed),
        emit=lambda kind, /, **fields: emitted.append((kind, fields)),
    )
    async with (
        open_memory(store, faults=faults) as backend,
        open_journal(
            backend, registry=EventRegistry(guard.definition.events), clock=ManualClock()
        ) as journal,
        open_lane_actors(journal, {"governance": guard.definition}) as actors,
    ):
        guard.bind(actors)
        yield Running(guard, journal, actors, emitted)

"""A lane that calls a host of a test's making."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.actors.jobs import opened
from web4.actors import ActorOptions, open_lane_actors
from web4.extensions.calls.call_events import CALL_EVENTS, CallConcluded, CallRequested, Kept
from web4.extensions.calls.calls_lane import CallsLane, ExtensionCalls
from web4.extensions.outcome import CallOutcome
from web4.journal.lane import Lane
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.actors import LaneActors
    from web4.journal.backends.memory import MemoryStore
    from web4.journal.journal import Journal

LANE = Lane("human", "ada")

Answer = Any
"""A value, an outcome, an exception, or an async function of the request and its arguments."""


def request(call_id: str = "c1", *, arguments: Any = None, idempotent: bool = False) -> CallRequested:
    return CallRequested(
        call_id=call_id,
        extension="acme.notes",
        version="1.2.3",
        kind="tool",
        name="search",
        arguments=arguments if isinstance(arguments, Kept) else Kept(inline=arguments),
        timeout_ms=5_000,
        idempotency_key=f"key of {call_id}",
        idempotent=idempotent,
        context=CallContext(session="s", call=call_id),
    )


def outcome(asked: CallRequested, value: Any = None, **fields: Any) -> CallOutcome:
    given: dict[str, Any] = {
        "outcome": "ok",
        "code": None,
        "elapsed_ms": 1.25,
        "queue_ms": 0.5,
        "cpu_ms": 1.0,
    }
    given |= {
        "peak_memory_bytes": 4096,
        "worker_id": "w1",
        "sandbox": "standard",
        "timeout_ms": 5_000,
    } | fields
    return CallOutcome(
        extension=asked.extension,
        version=asked.version,
        operation=asked.operation,
        call_id=asked.call_id,
        value=value,
        **given,
    )


class Host:
    """Makes calls as a test says, and remembers what it was asked."""

    def __init__(self, answer: Answer = None) -> None:
        self.answer = answer
        self.asked: list[tuple[CallRequested, Any]] = []
        self.killed: list[str] = []
        self.cancelled: list[str] = []

    async def __call__(self, asked: CallRequested, arguments: Any) -> CallOutcome:
        self.asked.append((asked, arguments))
        answer = self.answer
        try:
            if callable(answer):
                answer = await answer(asked, arguments)
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self.cancelled.append(asked.call_id)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, CallOutcome) else outcome(asked, answer)


@asynccontextmanager
async def calling(
    host: Host, store: MemoryStore | None = None, **given: Any
) -> AsyncIterator[tuple[Journal, LaneActors]]:
    options = ActorOptions(stop_seconds=0.2)
    async with opened(store, events=CALL_EVENTS, **given) as journal:
        calls = ExtensionCalls(journal, host, kill=host.killed.append)
        async with open_lane_actors(journal, {"human": CallsLane(calls=calls)}, options=options) as actors:
            yield journal, actors


async def concluded(journal: Journal) -> list[CallConcluded]:
    records = await journal.read(LANE, limit=10_000)
    return [journal.registry.decode(one) for one in records if one.type == "extension.call_concluded"]


async def forever(asked: CallRequested, arguments: Any) -> None:
    await trio.sleep_forever()

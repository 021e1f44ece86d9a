"""What a program may give a node beside its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from web4.protocols.cip.intents import accept
from web4.protocols.lip.fetching.dialing import system_dial, system_resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from web4.agent import AgentOptions
    from web4.agent.tasks import Task, TaskHandler
    from web4.foundation.clock import Clock
    from web4.foundation.ids import IdSource
    from web4.mesh.services.catalogue import Service
    from web4.observe import Sink
    from web4.protocols.cip.intents import IntentAnswer
    from web4.protocols.lip.answering import FindClaims


async def accept_every(_: Task) -> IntentAnswer:
    """Take on what there is room for."""
    return accept()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeParts:
    """What only a program can give.

    Args:
        handler: The agent's loop (LOOP-8). Without one every INTENT is refused as `unhandled`.
        admit: Says which tasks are taken on.
        agent: Bounds and times of the loop.
        services: Offered from the start; calls of before a restart need them then.
        sinks: Where events go besides memory and the log.
        find_claims: Reads claims out of a text that was fetched for a peer.
        sensors: Of load; those of the machine when None.
        pace: Whether load is measured and told at all.
        resolve, dial: How the fetcher reaches hosts, and where names of introduced peers lead; given only by tests.
        cip: More options of `CipOptions`, by name.
        clock, ids: Where time and ids come from.
    """

    handler: TaskHandler | None = None
    admit: Callable[[Task], Awaitable[IntentAnswer]] = accept_every
    agent: AgentOptions | None = None
    services: Sequence[Service] = ()
    sinks: Sequence[Sink] = ()
    find_claims: FindClaims | None = None
    sensors: Any = None
    pace: bool = True
    resolve: Any = system_resolve
    dial: Any = system_dial
    cip: dict[str, Any] = field(default_factory=dict)
    clock: Clock | None = None
    ids: IdSource | None = None

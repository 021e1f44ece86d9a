"""Where rooms meet that do not know each other: what each needs of the next, in the words it needs it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.agent import MissionVerdict
from web4.governance import Causer
from web4.protocols.hcp.values import Contact
from web4.protocols.knowledge.ledger.evaluation import Load
from web4.protocols.messages.mesh import OfferedService

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import trio

    from web4.agent.ports import Consent, Mission
    from web4.agent.tasks import Task
    from web4.governance import MissionGuard
    from web4.mesh.services.services import Services
    from web4.protocols.hcp.runtime import HcpRuntime
    from web4.protocols.knowledge.runtime import KnowledgeRuntime
    from web4.protocols.messages.fields import Presence


def offered(services: Services) -> tuple[OfferedService, ...]:
    """The services of this node, as MESH_HELLO names them."""
    return tuple(OfferedService(name=name, version=version) for name, version in services.catalogue.names())


def load_of(
    knowledge: KnowledgeRuntime, start_soon: Callable[..., Any]
) -> Callable[[Presence, int, tuple[str, ...]], None]:
    """The ledger hears of load: overloaded, it accepts nothing (KNOW-5, LIP-4). Once a second at most."""

    def observe(presence: Presence, lri: int, signals: tuple[str, ...]) -> None:
        load = Load(presence=presence, lri=lri, kernel_overload="kernel_overload" in signals)
        start_soon(knowledge.see_load, load)

    return observe


def mission_of(guard: MissionGuard) -> Mission:
    """What is taken on is scored first, for the peer or human that caused it (DRIFT-2)."""

    async def judge(task: Task) -> MissionVerdict:
        causer = Causer(kind="peer", id=task.peer)
        if task.remote_human is not None:
            causer = Causer(kind="human", id=Contact(task.peer, task.remote_human).lane_id)
        topic = task.content.get("topic")
        words = {name: _words(value) for name, value in task.content.items() if name != "topic"}
        admission = await guard.admit(task.msg_id, cause=causer, topic=str(_words(topic) or ""), words=words)
        return MissionVerdict(passes=admission.allowed)

    return judge


def consent_of(people: HcpRuntime) -> Consent:
    """Work for a human runs where that human, or the other one, can end it (HCP-3)."""

    def within(task: Task) -> AbstractAsyncContextManager[trio.CancelScope]:
        humans: list[str | Contact] = [] if task.human is None else [task.human]
        if task.remote_human is not None:
            humans.append(Contact(task.peer, task.remote_human))
        return people.running(*humans)

    return within


def _words(value: Any) -> Any:
    """What a scorer reads: the words themselves. It gives a number, whatever they ask for (LIP-7)."""
    return getattr(value, "text", value)


__all__ = [
    "consent_of",
    "load_of",
    "mission_of",
    "offered",
]

"""Where rooms meet that do not know each other: what each needs of the next, in the words it needs it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from web4.agent import MissionVerdict
from web4.foundation.codec import ENCODER
from web4.foundation.errors import Web4Error
from web4.governance import Causer
from web4.protocols.cip.deciding import intent_decision_id
from web4.protocols.decisions import derive_decision_id
from web4.protocols.hcp.values import Contact
from web4.protocols.knowledge.ledger.evaluation import Load
from web4.protocols.messages.mesh import OfferedService

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from web4.agent.ports import Consent, Mission, Remember
    from web4.agent.tasks import Result, Task
    from web4.governance import MissionGuard
    from web4.mesh.services.services import Services
    from web4.protocols.cip import CipRuntime
    from web4.protocols.cip.intents import AcceptIntent
    from web4.protocols.hcp.runtime import HcpRuntime
    from web4.protocols.knowledge.memory.runtime import MemoryRuntime
    from web4.protocols.knowledge.runtime import KnowledgeRuntime
    from web4.protocols.messages.fields import Presence

AGAIN_SECONDS: Final = 1.0
"""After so long is told again what the journal did not take."""

_CHOICE: Final = 256
"""Characters of an answer by which two decisions on one topic are compared (DRIFT-4)."""


class GatedHost:
    """The node as its router sees it: its `CipRuntime`, but what is of and for humans passes their gate (HCP-1)."""

    def __init__(self, cip: CipRuntime, people: HcpRuntime) -> None:
        self._cip = cip
        self.inbox = cip.inbox
        self.trust = cip.trust
        self.send = people.send
        self.trust_command = cip.trust_command
        self.settled = cip.settled
        self.agreement = cip.agreement

    @property
    def accept_intent(self) -> AcceptIntent:
        """Asked about each INTENT at once (LOOP-5)."""
        return self._cip.accept_intent

    @accept_intent.setter
    def accept_intent(self, accept: AcceptIntent) -> None:
        self._cip.accept_intent = accept


def offered(services: Services) -> tuple[OfferedService, ...]:
    """The services of this node, as MESH_HELLO names them."""
    return tuple(OfferedService(name=name, version=version) for name, version in services.catalogue.names())


class LoadTold:
    """The ledger hears of load: overloaded, it accepts nothing (KNOW-5, LIP-4).

    Only how it is now counts, and that is told however long the journal takes nothing.

    Args:
        knowledge: The ledger.
    """

    def __init__(self, knowledge: KnowledgeRuntime) -> None:
        self._knowledge = knowledge
        self._news: Load | None = None
        self._changed = trio.Event()

    def observe(self, presence: Presence, lri: int, signals: tuple[str, ...]) -> None:
        """This is how the node is now."""
        self._news = Load(presence=presence, lri=lri, kernel_overload="kernel_overload" in signals)
        self._changed.set()

    async def run(self) -> None:
        """Tell it, for ever."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            while self._news is not None:
                load = self._news
                try:
                    await self._knowledge.see_load(load)
                except Web4Error:  # the journal says so itself
                    await trio.sleep(AGAIN_SECONDS)
                    continue
                if self._news is load:
                    self._news = None


def mission_of(guard: MissionGuard) -> Mission:
    """What is taken on is scored first, for the peer or human that caused it (DRIFT-2)."""

    async def judge(task: Task) -> MissionVerdict:
        words = {name: _words(value) for name, value in task.content.items() if name != "topic"}
        admission = await guard.admit(task.msg_id, cause=_causer(task), topic=_topic(task), words=words)
        return MissionVerdict(passes=admission.allowed)

    return judge


def memory_of(memory: MemoryRuntime, guard: MissionGuard) -> Remember:
    """What came of a task is remembered as this node's own experience, and scored as its decision (MEM-2, DRIFT-2).

    Of what was said digests are kept, and sizes: contents are the lanes' (OBS-5). The task's message and its sender
    name both records, so that a task that comes again after a crash counts once, and no peer's ids use up another's.
    What came of an INTENT belongs to the decision to accept it (MEM-1).
    """

    async def remember(task: Task, result: Result) -> None:
        decision_id = derive_decision_id("task", task.peer, task.msg_id)
        if task.kind == "INTENT":
            decision_id = intent_decision_id(task.peer, task.msg_id)
        await memory.record(
            f"task:{task.kind.lower()}",
            inputs={"topic": _topic(task), "peer": task.peer},
            outputs={"status": result.status, "reason": result.reason},
            success=result.status == "done",
            tags=(task.kind, task.lane),
            decision_id=decision_id,
            record_id=f"{task.peer}:{task.msg_id}",
        )
        if result.content is None:
            return  # that it is done says nothing of what for
        words = ENCODER.encode(result.content).decode()
        await guard.decided(
            decision_id, cause=_causer(task), topic=_topic(task), choice=words[:_CHOICE], words=result.content
        )

    return remember


def consent_of(people: HcpRuntime) -> Consent:
    """Work for a human runs where that human, or the other one, can end it (HCP-3)."""

    def within(task: Task) -> AbstractAsyncContextManager[trio.CancelScope]:
        humans: list[str | Contact] = [] if task.human is None else [task.human]
        if task.remote_human is not None:
            humans.append(Contact(task.peer, task.remote_human))
        topic = task.content.get("topic")
        return people.running(*humans, topic=None if topic is None else _topic(task))

    return within


def _causer(task: Task) -> Causer:
    if task.remote_human is None:
        return Causer(kind="peer", id=task.peer)
    return Causer(kind="human", id=Contact(task.peer, task.remote_human).lane_id)


def _topic(task: Task) -> str:
    return str(_words(task.content.get("topic")) or "")


def _words(value: Any) -> Any:
    """What a scorer reads: the words themselves. It gives a number, whatever they ask for (LIP-7)."""
    return getattr(value, "text", value)


__all__ = [
    "GatedHost",
    "LoadTold",
    "consent_of",
    "memory_of",
    "mission_of",
    "offered",
]

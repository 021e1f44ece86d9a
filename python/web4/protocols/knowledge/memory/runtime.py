"""Causal memory for the rest of a node: what happened is told here, and what others share comes in (MEM-2, MEM-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from web4.foundation.clock import SystemClock
from web4.foundation.ids import SystemIds
from web4.protocols.knowledge.memory import commands
from web4.protocols.knowledge.memory.asking import Asking
from web4.protocols.knowledge.memory.entries import experience
from web4.protocols.knowledge.memory.errors import CycleRefused, MemoryRefused
from web4.protocols.messages.cip import DecisionShare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from web4.foundation.clock import Clock
    from web4.foundation.ids import IdSource
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.knowledge.memory.commands import MemoryCommand
    from web4.protocols.knowledge.memory.logic import MemoryReply
    from web4.protocols.knowledge.memory.state import CausalMemory


class AskMemory(Protocol):
    """How a command reaches lane `knowledge`: its runtime, behind an adapter."""

    async def __call__(self, command: MemoryCommand, /) -> MemoryReply:
        """Give the command; the reply, once it is durable.

        Raises:
            JournalError, ActorError: As `LaneRef.ask`.
        """
        ...


class TakesHandlers(Protocol):
    """A router, as far as this room needs one."""

    def register(
        self,
        protocol: Any,
        type: str,  # noqa: A002 - the name of the field it is for
        handler: Callable[[Delivery], Awaitable[None]],
        /,
        *,
        min_trust: Any = ...,
        capability: str | None = ...,
        idempotent: bool = ...,
    ) -> Any:
        """Let `handler` see the messages of a type."""
        ...


class MemoryRuntime:
    """What other rooms do with causal memory. Everything it is told is durable when it returns.

    Cancellation: what was told may be remembered all the same.

    Args:
        ask: Gives a command to lane `knowledge`.
        state: Gives the memory as it is durable.
        clock: Gives the time that commands and questions bring.
        ids: Gives the ids of records.
    """

    def __init__(
        self,
        ask: AskMemory,
        state: Callable[[], Awaitable[CausalMemory]],
        *,
        clock: Clock | None = None,
        ids: IdSource | None = None,
    ) -> None:
        self._ask = ask
        self._state = state
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()

    def register(self, router: TakesHandlers) -> None:
        """Let a router bring every DECISION_SHARE here."""
        router.register(
            "cip", "DECISION_SHARE", self.handle, min_trust="trusted", capability="dmp_trace", idempotent=True
        )

    async def handle(self, delivery: Delivery) -> None:
        """Store what a peer shares, with its origin (MEM-3). The same message twice is stored once.

        Raises:
            JournalError, ActorError: As `LaneRef.ask`.
        """
        message = delivery.message
        share = message.payload
        if not isinstance(share, DecisionShare):
            raise TypeError(f"{type(share).__name__} is no DECISION_SHARE")
        await self._ask(
            commands.ReceiveShare(
                msg_id=message.msg_id,
                origin=delivery.peer,  # proven by the session; what the message says of itself is not (WEB-4)
                shared_decision_id=share.dmp_trace.decision_id,
                choice=share.decision.choice,
                outcome=share.decision.outcome,
                context=share.decision.context,
                retrospective=share.retrospective,
                at_ms=self._clock.wall_ms(),
            )
        )

    async def record(
        self,
        name: str,
        *,
        inputs: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
        parameters: dict[str, Any] | None = None,
        success: bool | None = None,
        tags: tuple[str, ...] = (),
        causes: Iterable[str] = (),
        decision_id: str | None = None,
        record_id: str | None = None,
    ) -> str:
        """Remember what this node did or saw itself; the record's id. See `Experience` for the arguments.

        Args:
            name: What was done.
            inputs: What went in.
            outputs: What came out.
            parameters: How it was done.
            success: Whether it worked.
            tags: To find it by.
            causes: Names of nodes that led to it. One that would close a cycle is left out, and in the event.
            decision_id: The decision it belongs to.
            record_id: Its id, for whoever may have to say it again: the same one counts once.

        Raises:
            MemoryRefused: `too_large`.
            ValueError: A detail has no canonical form.
            JournalError, ActorError: As `LaneRef.ask`.
        """
        now = self._clock.wall_ms()
        own = experience(
            record_id=record_id or self._ids.uuid4(),
            name=name,
            at_ms=now,
            inputs=inputs,
            outputs=outputs,
            parameters=parameters,
            success=success,
            tags=tags,
            decision_id=decision_id,
        )
        await self._tell(commands.Record(experience=own, causes=tuple(causes), at_ms=now))
        return own.record_id

    async def link(
        self, cause: str, effect: str, *, weight: float = 1.0, decision_id: str | None = None
    ) -> None:
        """Remember that `cause` led to `effect`, or, with a small weight, that it did not.

        Raises:
            CycleRefused: Nothing is its own cause.
            MemoryRefused: `too_large`.
            ValueError: The weight is not between 0 and 1.
            JournalError, ActorError: As `LaneRef.ask`.
        """
        if not 0 <= weight <= 1:
            raise ValueError("a weight is between 0 and 1")
        now = self._clock.wall_ms()
        await self._tell(
            commands.Link(cause=cause, effect=effect, weight=weight, decision_id=decision_id, at_ms=now)
        )

    async def contradict(self, source: str, target: str, *, decision_id: str | None = None) -> None:
        """Remember that a claim or an own record contradicts a claim (MEM-4).

        Args:
            source: Key of a claim in memory, or id of an own record.
            target: Key of a claim, in memory or not.
            decision_id: The decision it belongs to.

        Raises:
            MemoryRefused: `unknown_reference`, `self_reference`, or `too_large`.
            JournalError, ActorError: As `LaneRef.ask`.
        """
        now = self._clock.wall_ms()
        await self._tell(
            commands.Contradict(source=source, target=target, decision_id=decision_id, at_ms=now)
        )

    async def asking(self, *, foreign: bool = True) -> Asking:
        """Causal memory as it looks now.

        Args:
            foreign: Whether what others shared is looked at, too.

        Raises:
            JournalError, ActorError: As `LaneRef.state`.
        """
        return Asking(await self._state(), self._clock.wall_ms(), foreign)

    async def _tell(self, command: MemoryCommand) -> MemoryReply:
        reply = await self._ask(command)
        match reply.refused:
            case None:
                return reply
            case "cycle" | "cycle_unproven":
                raise CycleRefused(
                    "memory does not take this edge: nothing is its own cause", code=reply.refused
                )
            case _:
                raise MemoryRefused("memory does not take this", code=reply.refused)

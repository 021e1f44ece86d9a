"""Lane `knowledge`: its logic, its events, and the effects that leave it (ACT-1, ACT-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import trio

from web4.actors.definition import Effect, LaneDefinition, Origin, Outcome
from web4.actors.errors import ActorError
from web4.foundation.errors import Web4Error
from web4.journal.errors import JournalError
from web4.protocols.decisions import DECISION_EVENTS
from web4.protocols.knowledge import commands
from web4.protocols.knowledge.form import decode_state, encode_state, named_by_claims
from web4.protocols.knowledge.ledger.events import LEDGER_EVENTS, SendRequested, TrustEffectRequested
from web4.protocols.knowledge.ledger.rounds import KnowledgeState
from web4.protocols.knowledge.memory.events import MEMORY_EVENTS
from web4.protocols.messages.lip import SourceClaim
from web4.protocols.messages.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.knowledge.commands import KnowledgeCommand
    from web4.protocols.knowledge.ledger.rounds import KnowledgeEvent
    from web4.protocols.knowledge.logic import KnowledgeLogic
    from web4.protocols.messages.vocabulary import AgentPayload
    from web4.protocols.ports import CommandTrust, SendMessage

LOGIC_VERSION: Final = 2
"""Raised with whatever makes the same events give another state (JRN-7b)."""
PART: Final = "knowledge"
"""What this part is called on a lane that it shares (`composite_lane`)."""
KNOWLEDGE_EVENTS: Final = (*LEDGER_EVENTS, *MEMORY_EVENTS, *DECISION_EVENTS)
"""Every event type of lane `knowledge`."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0


class KnowledgeLane(LaneDefinition[KnowledgeState, Any, Any, Any]):
    """The definition of lane `knowledge`.

    Args:
        logic: What it decides.
        trust: Tells a peer's lane what happened here.
        send: Queues what this node says.
        now: Gives the time of conclusions, Unix milliseconds.
    """

    def __init__(
        self, logic: KnowledgeLogic, *, trust: CommandTrust, send: SendMessage, now: Callable[[], int]
    ) -> None:
        super().__init__(
            logic=logic,
            state=KnowledgeState,
            events=KNOWLEDGE_EVENTS,
            version=LOGIC_VERSION,
            upcasters={1: named_by_claims},
        )
        set_once = object.__setattr__  # the base is frozen
        set_once(self, "_trust", trust)
        set_once(self, "_send", send)
        set_once(self, "_now", now)

    _trust: CommandTrust
    _send: SendMessage
    _now: Callable[[], int]

    def encode(self, state: KnowledgeState) -> bytes:
        """See `LaneDefinition.encode`."""
        return encode_state(state)

    def decode(self, data: bytes) -> KnowledgeState:
        """See `LaneDefinition.decode`."""
        return decode_state(data)

    def origin(self, command: KnowledgeCommand) -> Origin:
        """See `LaneDefinition.origin`: an operator's command is given in that human's name."""
        return Origin(command.at_ms, principal=getattr(command, "human", None))

    async def perform(self, request: KnowledgeEvent) -> KnowledgeCommand:
        """Tell a peer's lane, or queue messages. Both may be done again: what is there already is not done twice.

        Cancellation: the next boot does it again.
        """
        match request:
            case TrustEffectRequested():
                outcome = await self._tell(request)
                return commands.ConcludeTrust(
                    at_ms=self._now(),
                    cause=request.effect_id,
                    effect_id=request.effect_id,
                    outcome=outcome,
                    decision_id=request.decision_id,
                )
            case SendRequested():
                return await self._say(request)
        other: KnowledgeCommand = await super().perform(request)
        return other

    def conclude(self, effect: Effect, outcome: Outcome, reason: str, at: int) -> KnowledgeCommand:
        """See `LaneDefinition.conclude`."""
        if isinstance(effect.request, SendRequested):
            failed = tuple((one.peer, reason) for one in effect.request.to)
            return commands.ConcludeSend(
                at_ms=at, cause=effect.id, effect_id=effect.id, sent=0, failed=failed
            )
        return commands.ConcludeTrust(
            at_ms=at, cause=effect.id, effect_id=effect.id, outcome=f"{outcome} {reason}"
        )

    async def _tell(self, request: TrustEffectRequested) -> str:
        pause = _FIRST_PAUSE
        while True:
            try:
                outcome = await self._trust(request.peer, request.command, cause=request.cause)
            except (JournalError, ActorError):  # it passes, or the node stops: the evidence must not be lost
                await trio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Web4Error as error:  # the peer's lane does not hear it (TRUST-10)
                return error.code or type(error).__name__
            else:
                return outcome.state

    async def _say(self, request: SendRequested) -> KnowledgeCommand:
        payload = cast("AgentPayload", msgspec.convert(request.payload, TYPES[request.type].payload))
        about: Any = None if request.about is None else msgspec.convert(request.about, SourceClaim)
        failed: list[tuple[str, str]] = []
        for one in request.to:
            try:
                await self._send(one.peer, payload, about=about, msg_id=one.msg_id)
            except Web4Error as error:  # this peer does not hear it; the others do
                failed.append((one.peer, error.code or type(error).__name__))
        return commands.ConcludeSend(
            at_ms=self._now(),
            cause=request.effect_id,
            effect_id=request.effect_id,
            sent=len(request.to) - len(failed),
            failed=tuple(failed),
        )

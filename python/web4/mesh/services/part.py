"""The services' part of lane `server`: its definition, and who does what it asks for (ACT-3, GRAPH-4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import trio

from web4.actors.composite import Part
from web4.actors.definition import LaneDefinition, Origin
from web4.mesh.services.service_events import (
    SERVICE_EVENTS,
    AnswerAsked,
    ServiceAsked,
    ServiceCut,
    ServiceEvent,
)
from web4.mesh.services.service_logic import (
    CallService,
    CutService,
    EndAnswer,
    EndService,
    ServiceCommand,
    ServiceReply,
    ServicesLogic,
    run_id,
)
from web4.mesh.services.service_state import ServicesState, decode_state, encode_state, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.actors.definition import Effect, Outcome

LOGIC_VERSION: Final = 1


class PerformServices(Protocol):
    """Does what the lane asks for: `ServiceRunner`."""

    async def run(self, request: ServiceAsked) -> EndService:
        """Run the handler of a call."""
        ...

    async def answer(self, request: AnswerAsked) -> EndAnswer:
        """Put the answer into the peer's outbox."""
        ...


@dataclass(frozen=True, kw_only=True)
class ServicesDefinition(LaneDefinition[ServicesState, ServiceCommand, ServiceEvent, ServiceReply]):
    """What the services' part consists of.

    Args:
        runner: Runs handlers and sends answers. None where lanes are only read, or other parts written: what may be
            done again stays open then, for the node's next start.
    """

    runner: PerformServices | None = None

    def encode(self, state: ServicesState) -> bytes:
        """See `encode_state`."""
        return encode_state(state)

    def decode(self, data: bytes) -> ServicesState:
        """See `decode_state`."""
        return decode_state(data)

    def origin(self, command: ServiceCommand) -> Origin:
        """A call is on behalf of the peer that makes it."""
        return Origin(command.at, principal=command.peer if isinstance(command, CallService) else None)

    async def perform(self, request: ServiceEvent) -> ServiceCommand:
        """Run a handler, or send an answer."""
        if self.runner is None:
            await trio.sleep_forever()
        if isinstance(request, ServiceAsked):
            return await self.runner.run(request)
        assert isinstance(request, AnswerAsked)
        return await self.runner.answer(request)

    def conclude(self, effect: Effect, outcome: Outcome, reason: str, at: int) -> ServiceCommand:
        """The conclusion of one that brought none: it was cut off, or the node crashed under it (JRN-13)."""
        _, kind, peer, call_id = effect.id.split(":")  # the request may have been erased
        if kind == "answer":
            return EndAnswer(at=at, peer=peer, call_id=call_id, code=outcome)
        code = "cancelled" if outcome == "cancelled" else "crashed" if outcome == "abandoned" else "failed"
        return EndService(at=at, peer=peer, call_id=call_id, status="failed", code=code)

    def cancels(self, event: ServiceEvent) -> Iterable[str]:
        """A call that somebody cut is cut off, once that is durable."""
        return (event.effect_id,) if isinstance(event, ServiceCut) else ()

    def stops(self, state: ServicesState, command: ServiceCommand) -> Iterable[str]:
        """Cutting a call works while the journal cannot write, too (JRN-15c)."""
        if not isinstance(command, CutService):
            return ()
        key = key_of(command.peer, command.call_id)
        return (run_id(key),) if key in state.running else ()


def services_part(
    runner: PerformServices | None = None, *, logic: ServicesLogic | None = None
) -> Part[ServicesState]:
    """The part, as a node performs it, or without `runner` as it is read and replayed."""
    definition = ServicesDefinition(
        logic=logic or ServicesLogic(),
        state=ServicesState,
        events=SERVICE_EVENTS,
        version=LOGIC_VERSION,
        runner=runner,
    )
    return Part("services", definition, (CallService, CutService, EndService, EndAnswer))


SERVICES: Final = services_part()
"""As it is read and replayed."""

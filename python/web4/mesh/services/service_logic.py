"""Calls of this node's services as pure functions over lane `server` (ACT-1, GRAPH-4).

A call is known by its caller and its id, from the moment it is let in or refused: it runs once at most. Its answer has
an id of its own from then on, so that it may be put into the outbox again after a crash.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from web4.extensions.calls.call_events import Kept
from web4.foundation.logic import Decision
from web4.mesh.services import service_state as s
from web4.mesh.services.service_events import (
    AnswerAsked,
    AnswerGiven,
    ServiceAsked,
    ServiceCut,
    ServiceEnded,
    ServiceEvent,
    ServiceRefused,
    ServiceStatus,
)


class _Command(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    peer: str
    call_id: str


class CallService(_Command, frozen=True, kw_only=True):
    """A peer calls a service. With `refused` the node found a reason not to run it."""

    service: str
    version: str
    args: Kept
    result_id: str
    deadline_ms: int
    idempotent: bool = False
    refused: str | None = None


class CutService(_Command, frozen=True, kw_only=True):
    """A call is to end early."""

    reason: str


class EndService(_Command, frozen=True, kw_only=True):
    """The handler has ended. Only the lane's own effects give it."""

    status: ServiceStatus
    code: str | None = None
    result: Kept | None = None


class EndAnswer(_Command, frozen=True, kw_only=True):
    """The answer is in the outbox, or cannot be put there. Only the lane's own effects give it."""

    code: str | None = None


ServiceCommand = CallService | CutService | EndService | EndAnswer
ServiceReply = Literal["running", "refused", "duplicate", "full", "cut", "ended", "unknown"]
ServiceDecision = Decision[ServiceEvent, ServiceReply]


@dataclass(frozen=True)
class ServicesLogic:
    """Logic of the services' part of lane `server`.

    Args:
        max_running, max_running_of_one: Bounds of what runs at once, in all and of one peer.
    """

    max_running: int = s.MAX_RUNNING
    max_running_of_one: int = s.MAX_RUNNING_OF_ONE
    initial: s.ServicesState = field(default_factory=s.ServicesState)

    def decide(self, state: s.ServicesState, command: ServiceCommand) -> ServiceDecision:
        """Say what follows."""
        key = s.key_of(command.peer, command.call_id)
        match command:
            case CallService():
                return self._call(state, key, command)
            case CutService() if key in state.running:
                cut = ServiceCut(
                    at_ms=command.at,
                    peer=command.peer,
                    call_id=command.call_id,
                    effect_id=run_id(key),
                    reason=command.reason,
                )
                return Decision((cut,), "cut")
            case EndService() if key in state.running:
                return _ended(state.running[key], key, command)
            case EndAnswer() if key in state.answering:
                given = AnswerGiven(
                    at_ms=command.at,
                    peer=command.peer,
                    call_id=command.call_id,
                    effect_id=answer_id(key),
                    code=command.code,
                )
                return Decision((given,), "ended")
            case _:
                return Decision((), "unknown")

    def apply(self, state: s.ServicesState, event: ServiceEvent) -> s.ServicesState:
        """Give the state after `event`."""
        key = s.key_of(event.peer, event.call_id)
        match event:
            case ServiceAsked():
                running = s.Running(
                    peer=event.peer,
                    call_id=event.call_id,
                    service=event.service,
                    result_id=event.result_id,
                )
                return replace(state, running=state.running.set(key, running))
            case ServiceEnded():
                return replace(state, running=state.running.delete(key))
            case AnswerAsked():
                answering = s.Answering(
                    peer=event.peer,
                    call_id=event.call_id,
                    service=event.service,
                    result_id=event.result_id,
                    status=event.status,
                    code=event.code,
                    result=event.result,
                )
                return replace(state, answering=state.answering.set(key, answering))
            case AnswerGiven():
                ended = state.ended(key, event.at_ms)
                return replace(state, answering=state.answering.delete(key), known=ended)
            case ServiceRefused() | ServiceCut():
                return state

    def _call(self, state: s.ServicesState, key: str, command: CallService) -> ServiceDecision:
        if state.knows(key):
            return Decision((), "duplicate")
        if state.count >= s.MAX_KNOWN:
            return Decision((), "full")
        of_peer = sum(one.peer == command.peer for one in state.running.values())
        code = command.refused
        if code is None and (len(state.running) >= self.max_running or of_peer >= self.max_running_of_one):
            code = "busy"
        if code is not None:
            return _refused(key, command, code)
        asked = ServiceAsked(
            at_ms=command.at,
            peer=command.peer,
            call_id=command.call_id,
            effect_id=run_id(key),
            service=command.service,
            version=command.version,
            args=command.args,
            result_id=command.result_id,
            deadline_ms=command.deadline_ms,
            idempotent=command.idempotent,
        )
        return Decision((asked,), "running")


def run_id(key: str) -> str:
    """The id of the effect that runs a call's handler."""
    return f"services:run:{key}"


def answer_id(key: str) -> str:
    """The id of the effect that answers a call."""
    return f"services:answer:{key}"


def _refused(key: str, command: CallService, code: str) -> ServiceDecision:
    status: ServiceStatus = "timeout" if code == "deadline" else "refused"
    refused = ServiceRefused(
        at_ms=command.at,
        peer=command.peer,
        call_id=command.call_id,
        service=command.service,
        version=command.version,
        result_id=command.result_id,
        status=status,
        code=code,
    )
    answer = AnswerAsked(
        at_ms=command.at,
        peer=command.peer,
        call_id=command.call_id,
        effect_id=answer_id(key),
        service=command.service,
        result_id=command.result_id,
        status=status,
        code=code,
        idempotent=True,
    )
    return Decision((refused, answer), "refused")


def _ended(running: s.Running, key: str, command: EndService) -> ServiceDecision:
    ended = ServiceEnded(
        at_ms=command.at,
        peer=command.peer,
        call_id=command.call_id,
        effect_id=run_id(key),
        status=command.status,
        code=command.code,
        result=command.result,
    )
    answer = AnswerAsked(
        at_ms=command.at,
        peer=command.peer,
        call_id=command.call_id,
        effect_id=answer_id(key),
        service=running.service,
        result_id=running.result_id,
        status=command.status,
        code=command.code,
        result=command.result,
        idempotent=True,
    )
    return Decision((ended, answer), "ended")

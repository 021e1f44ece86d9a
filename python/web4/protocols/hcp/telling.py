"""What is told of a human of this node: to each peer as much as it may know (HCP-11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.hcp.values import UNSAID
from web4.protocols.messages.hcp import HcpHello, HcpStateUpdate, HumanIdentity, HumanState

if TYPE_CHECKING:
    from web4.protocols.hcp.lane.commands import Other
    from web4.protocols.hcp.lane.states import LocalState
    from web4.protocols.messages.hcp import Consent


def holds_consent(local: LocalState, other: Other) -> bool:
    """Whether a human's consent is held at the other end, so that it may be told how the human is (HCP-11).

    It takes consent, an acquaintance that both sides wanted and neither ended, and a peer that is not distrusted.
    """
    return (
        local.facts.consent in {"granted", "limited"}
        and other.social in {"probing", "trusted"}
        and other.trust in {"probing", "trusted"}
    )


def told_consent(local: LocalState) -> Consent:
    """The consent as it is told: one that was never given is told as none (HCP-4)."""
    return local.facts.consent or "revoked"


def told_state(local: LocalState, other: Other) -> HumanState:
    """`state.human` of an envelope to the other end. Who may not know gets values that ask for nothing."""
    said = local.facts.said if holds_consent(local, other) else UNSAID
    return HumanState(
        presence=said.presence,
        affect=said.affect,
        clarity=said.clarity,
        pressure=said.pressure,
        intent=said.intent,
        consent=told_consent(local),
    )


def told_scope(local: LocalState) -> tuple[str, ...]:
    """The topics as they are told: those of a limited consent."""
    return local.facts.scope if local.facts.consent == "limited" else ()


def hello(local: LocalState) -> HcpHello:
    """Who a human is."""
    identity = HumanIdentity(name=local.name, role=local.role)
    return HcpHello(identity=identity, consent_scope=told_scope(local), safety_flags=local.facts.flags)


def update(local: LocalState, other: Other) -> HcpStateUpdate:
    """How a human is, and what it consents to."""
    state = told_state(local, other)
    return HcpStateUpdate(
        presence=state.presence,
        affect=state.affect,
        clarity=state.clarity,
        pressure=state.pressure,
        consent=state.consent,
        consent_scope=told_scope(local),
    )

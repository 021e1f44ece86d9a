"""The handlers of each type, in order of registration (ROUTE-1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from web4.protocols.gates import GATES
from web4.protocols.router.errors import RegistrationError
from web4.protocols.router.matrix import MATRIX
from web4.trust import TrustViolationError

if TYPE_CHECKING:
    from collections.abc import Container

    from web4.protocols.router.results import Handler
    from web4.trust import TrustState

_RANK: Final[dict[TrustState, int]] = {
    "blacklisted": -1,
    "unknown": 0,
    "untrusted": 0,
    "probing": 1,
    "trusted": 2,
}


@dataclass(frozen=True, slots=True)
class Registration:
    """A handler and what it asks for.

    Args:
        name: Of the handler, for events.
        handler: Is awaited with each delivery.
        min_trust: The peer's trust has to be this at least, now.
        capability: Has to be agreed with the peer.
        idempotent: Whether it may be asked again with the same message.
        guard: Whether nobody after it may see a message that it failed on.
        limit_ms: How long it may take.
    """

    name: str
    handler: Handler
    min_trust: TrustState
    capability: str | None
    idempotent: bool
    guard: bool
    limit_ms: int

    def refusal(self, trust: TrustState, capabilities: Container[str]) -> TrustViolationError | None:
        """Why this handler is not asked about a message of a peer of this trust, if it is not."""
        if _RANK[trust] < _RANK[self.min_trust]:
            return TrustViolationError("the handler asks for more trust", code="gate")
        if self.capability is not None and self.capability not in capabilities:
            return TrustViolationError("the handler asks for a capability", code="capability")
        return None


class Handlers:
    """What is registered, by type."""

    def __init__(self) -> None:
        self._of: dict[str, list[Registration]] = {}
        self._choosy: set[str] = set()

    def add(self, protocol: str, type_name: str, registration: Registration) -> None:
        """Append a handler to the chain of a type.

        Raises:
            RegistrationError: `unknown_type`, `not_routed`.
        """
        route = MATRIX.get(type_name)
        if route is None or route.protocol != protocol:
            raise RegistrationError(f"{protocol} has no type {type_name!r}", code="unknown_type")
        if route.way != "router":
            raise RegistrationError(f"{type_name} is for the {route.target}", code="not_routed")
        self._of.setdefault(type_name, []).append(registration)
        if registration.capability is not None:
            self._choosy.add(type_name)

    def of(self, type_name: str) -> list[Registration]:
        """The chain of a type; empty if nobody handles it."""
        return self._of.get(type_name, [])

    def ask_for_capabilities(self, type_name: str) -> bool:
        """Whether any of a type's chain asks for a capability."""
        return type_name in self._choosy


def guards(type_name: str) -> bool:
    """Whether handlers of a type are guards unless they say otherwise: where consent decides, failing is a no."""
    return type_name in GATES and GATES[type_name]["trusted"] == "consent gate"

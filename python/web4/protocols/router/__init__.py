"""From a message that was let in to the handlers of its type (section 14 of the specification)."""

from web4.protocols.router.dead_letters import DeadLetter, DeadLetters
from web4.protocols.router.errors import HandlerError, RegistrationError
from web4.protocols.router.matrix import MATRIX, Route
from web4.protocols.router.options import RouterOptions
from web4.protocols.router.results import Handler, HandlerResult, Output, RouteResult
from web4.protocols.router.router import ProtocolRouter

__all__ = [
    "MATRIX",
    "DeadLetter",
    "DeadLetters",
    "Handler",
    "HandlerError",
    "HandlerResult",
    "Output",
    "ProtocolRouter",
    "RegistrationError",
    "Route",
    "RouteResult",
    "RouterOptions",
]

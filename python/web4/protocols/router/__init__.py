"""From a message that was let in to the handlers of its type (section 14 of the specification)."""

from web4.protocols.router.results import Handler, HandlerResult, Output, RouteResult

__all__ = ["Handler", "HandlerResult", "Output", "RouteResult"]

"""Which commands a node does, each with the struct of its payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from web4.doors.control.wire import refused
from web4.foundation.misfit import misfit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Handler = Callable[[Any, "Caller"], Awaitable[Mapping[str, Any]]]

Payload = TypeVar("Payload", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks (NDJ-6).

    Args:
        uid: The user of the other process.
        operator: Whether that is the node's own user.
    """

    uid: int
    operator: bool

    @property
    def principal(self) -> str:
        """How records name it."""
        return f"uid:{self.uid}"


class Nothing(msgspec.Struct, frozen=True):
    """The payload of a command that needs none."""


class CommandSet:
    """Commands by their type. Payload keys that a command does not know are ignored (NDJ-12)."""

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[type[msgspec.Struct], Handler, str]] = {}

    def __iter__(self) -> Any:
        return iter(sorted(self._handlers))

    def add(
        self,
        name: str,
        payload: type[Payload],
        handler: Callable[[Payload, Caller], Awaitable[Mapping[str, Any]]],
        *,
        answers: str | None = None,
    ) -> None:
        """Make a command known; its success has type `answers`, the command's own if left out.

        Raises:
            ValueError: There is one of that name.
        """
        if name in self._handlers:
            raise ValueError(f"there is a command {name!r} already")
        self._handlers[name] = (payload, handler, answers or name)

    def __contains__(self, name: object) -> bool:
        return name in self._handlers

    async def run(
        self, name: str, payload: Mapping[str, Any], caller: Caller
    ) -> tuple[str, Mapping[str, Any]]:
        """Do a command; the type and payload of its success.

        Raises:
            CommandRefused: `invalid_payload`; or what the handler says.
            Web4Error: What the handler says.
        """
        kind, handler, answers = self._handlers[name]
        try:
            asked = msgspec.convert(payload, kind)
        except msgspec.ValidationError as error:
            raise refused(str(misfit(error, payload, kind))) from None
        return answers, await handler(asked, caller)

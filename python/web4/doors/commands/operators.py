"""What only the node's own user may say (NDJ-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from web4.doors.control.wire import refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from web4.doors.control import Caller, CommandSet

Payload = TypeVar("Payload", bound=msgspec.Struct)


def add_for_operators(
    commands: CommandSet,
    name: str,
    payload: type[Payload],
    handler: Callable[[Payload], Awaitable[Mapping[str, Any]]],
) -> None:
    """Add a command that others who may use the socket are refused."""

    async def checked(asked: Payload, caller: Caller) -> Mapping[str, Any]:
        if not caller.operator:
            raise refused("operator_only: the node's own user may say this", code="command_rejected")
        return await handler(asked)

    commands.add(name, payload, checked)

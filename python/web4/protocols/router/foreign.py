"""Awaiting foreign code: whatever it raises is its own failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import trio

from web4.protocols.router.errors import HandlerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def shut_in(function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Call and await foreign code. What it raises becomes a `HandlerError`; only cancelling and Ctrl+C pass.

    `SystemExit` and its like included: a library that calls `sys.exit` must not end the node.

    Raises:
        HandlerError: `handler_failed`, with what was raised as its cause.
    """
    try:
        return await function(*arguments)
    except BaseException as error:
        _pass_on(error)
        raise HandlerError(type(error).__name__, code="handler_failed") from error


def _pass_on(error: BaseException) -> None:
    """Raise what is not the failure of foreign code: its cancellation, and an interrupt of the process."""
    if isinstance(error, BaseExceptionGroup):
        passing, _ = error.split((trio.Cancelled, KeyboardInterrupt))
        if passing is not None:
            _raise(passing)
    elif isinstance(error, trio.Cancelled | KeyboardInterrupt):
        _raise(error)


def _raise(error: BaseException) -> NoReturn:
    raise error

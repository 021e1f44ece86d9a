"""Stands in for an extension while a template rehearses. It does nothing, by the usual means."""

from __future__ import annotations

from web4.ext import Context, Extension

extension = Extension("web4.stand_in")


@extension.tool
def say(data: str) -> str:
    """Give back what was given.

    Args:
        data: Anything.
    """
    return data


@extension.tool
def add(ctx: Context, first: int, second: int = 0) -> dict[str, int]:
    """Add two numbers.

    Args:
        ctx: Of the call.
        first: One.
        second: Another.
    """
    ctx.side_effects = False
    return {"sum": first + second}

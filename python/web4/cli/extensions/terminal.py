"""Asking the person at the terminal. Nobody is asked where there is none."""

from __future__ import annotations

import os
import sys
import termios
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.cli.text import visible
from web4.worker.frames import UiAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.worker.frames import UiRequest

_LINE: Final = 4096
_OPTIONS: Final = 50
"""Choices that are shown of one question."""
_TEXT: Final = 2000
"""Characters of one text that an extension shows."""


def can_ask() -> bool:
    """Whether a person sees what is asked, and can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def tell(lines: Iterable[str]) -> None:
    """Show lines on the terminal; they are no part of the answer."""
    for line in lines:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()


async def ask_line(question: str) -> str | None:
    """Ask for a line. What was typed before the question was there answers nothing.

    Returns:
        The line without its end; None if the person ended the input instead. Cancelled, it stops waiting at once.
    """
    descriptor = sys.stdin.fileno()
    termios.tcflush(descriptor, termios.TCIFLUSH)
    sys.stderr.write(f"{visible(question)} ")
    sys.stderr.flush()
    answered = False
    try:
        await trio.lowlevel.wait_readable(descriptor)
        answered = True
    finally:
        if not answered:
            tell([""])  # what follows stands on a line of its own
    line = os.read(descriptor, _LINE)
    if not line.endswith(b"\n"):
        tell([""])
        return None
    return line.decode(errors="replace").strip()


async def confirm(question: str) -> bool:
    """Ask for yes or no; whatever is not yes is no."""
    answer = await ask_line(f"{question} [y/N]")
    return answer is not None and answer.lower() in {"y", "yes"}


async def answer_extension(extension: str, request: UiRequest) -> UiAnswer:
    """Put the question of an extension to the person, under its name and in its words (EXT-18).

    Where nobody can be asked, and for methods that a terminal has no form for, the answer is `refused`. An answer is
    never an approval.
    """
    if request.method == "notify":
        tell([_said(extension, request.fields.get("message"))])
        return UiAnswer(request_id=request.request_id, outcome="answered")
    if request.method not in {"confirm", "input", "select"} or not can_ask():
        return UiAnswer(request_id=request.request_id, outcome="refused")
    value = await _ask(extension, request)
    if value is None:
        return UiAnswer(request_id=request.request_id, outcome="cancelled")
    return UiAnswer(request_id=request.request_id, outcome="answered", value=value)


async def _ask(extension: str, request: UiRequest) -> Any:
    fields = request.fields
    title = fields.get("title") or fields.get("message")
    match request.method:
        case "confirm":
            shown = [one for one in (fields.get("title"), fields.get("message")) if one]
            tell(_said(extension, one) for one in shown)
            answer = await ask_line("yes or no? [y/n]")
            while answer is not None and answer.lower() not in {"y", "yes", "n", "no"}:
                answer = await ask_line("yes or no? [y/n]")
            return None if answer is None else answer.lower() in {"y", "yes"}
        case "select":
            options = list(fields.get("options") or [])[:_OPTIONS]
            tell([_said(extension, title)])
            tell(f"  {number}  {visible(str(one)[:_TEXT])}" for number, one in enumerate(options, start=1))
            return await _choice(options)
        case _:
            tell([_said(extension, title)])
            return await ask_line(">")


async def _choice(options: list[Any]) -> Any:
    while options:
        answer = await ask_line(f"which one? [1-{len(options)}]")
        if answer is None:
            return None
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(options):
            return options[int(answer) - 1]
    return None


def _said(extension: str, text: object) -> str:
    return visible(f"{extension} asks: {str(text or '')[:_TEXT]}")

"""Asking the person at the terminal. Nobody is asked where there is none."""

from __future__ import annotations

import os
import sys
import termios
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.cli.text import visible
from web4.extensions.conversation.call import UiQuestion, UiReply

if TYPE_CHECKING:
    from collections.abc import Iterable

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


async def answer_extension(question: UiQuestion) -> UiReply:
    """Put the question of an extension to the person, under its name and in its words (EXT-18).

    Where nobody can be asked, and for methods that a terminal has no form for, the answer is `refused`. An answer is
    never an approval.
    """
    if question.method == "notify":
        tell([_said(question, "message", "says")])
        return UiReply("answered")
    if question.method not in {"confirm", "input", "select"} or not can_ask():
        return UiReply("refused")
    value = await _ask(question)
    return UiReply("cancelled") if value is None else UiReply("answered", value)


async def _ask(question: UiQuestion) -> Any:
    match question.method:
        case "confirm":
            tell(_said(question, field) for field in ("title", "message") if question.fields.get(field))
            answer = await ask_line("yes or no? [y/n]")
            while answer is not None and answer.lower() not in {"y", "yes", "n", "no"}:
                answer = await ask_line("yes or no? [y/n]")
            return None if answer is None else answer.lower() in {"y", "yes"}
        case "select":
            options = list(question.fields.get("options") or [])[:_OPTIONS]
            tell([_said(question, "title")])
            tell(f"  {number}  {visible(str(one)[:_TEXT])}" for number, one in enumerate(options, start=1))
            return await _choice(options)
        case _:
            tell([_said(question, "title")])
            return await ask_line(">")


async def _choice(options: list[Any]) -> Any:
    while options:
        answer = await ask_line(f"which one? [1-{len(options)}]")
        if answer is None:
            return None
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(options):
            return options[int(answer) - 1]
    return None


def _said(question: UiQuestion, field: str, verb: str = "asks") -> str:
    return visible(f"{question.extension} {verb}: {str(question.fields.get(field) or '')[:_TEXT]}")

"""Which questions there are, by name. The module of one is imported when it is asked, and not before."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.doors.control.wire import refused
from web4.foundation.misfit import misfit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from web4.doors.views.reading import Reading

    Answerer = Callable[[Reading, Any], Awaitable[Mapping[str, Any]]]

GROUPS: Final = {
    "node": "status",
    "id": "identity",
    "peer": "peers",
    "trust": "trust",
    "claim": "claims",
    "source": "sources",
    "consent": "people",
    "evidence": "evidence",
    "mesh": "mesh",
}
"""What a question's name begins with, to the module here that answers it: its `QUESTIONS`."""


def all_questions() -> Iterator[tuple[str, type[msgspec.Struct], Answerer]]:
    """Every question with the struct of its payload, and what answers it."""
    for module in GROUPS.values():
        for name, (payload, answerer) in _questions(module).items():
            yield name, payload, answerer


async def answer(reading: Reading, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer a question.

    Raises:
        CommandRefused: `invalid_payload`.
        Web4Error: What the question says.
    """
    kind, answerer = _questions(GROUPS[name.partition("_")[0]])[name]
    try:
        asked = msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        raise refused(str(misfit(error, payload, kind))) from None
    return await answerer(reading, asked)


def _questions(module: str) -> dict[str, tuple[type[msgspec.Struct], Answerer]]:
    found: dict[str, tuple[type[msgspec.Struct], Answerer]] = importlib.import_module(
        f"web4.doors.views.{module}"
    ).QUESTIONS
    return found

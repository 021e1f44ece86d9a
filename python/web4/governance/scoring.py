"""How well words fit a mission: named, versioned, pure scorers (DRIFT-2)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.governance.mission import Mission

MOST_CHARACTERS: Final = 16_384
"""Of a text that are looked at: an intent may be 256 KiB of words."""
_WORD: Final = re.compile(r"[^\W_]+")
_COMMON_WORDS: Final = (
    "a an and are as at be by can could do for from has have how i in is it its me my not of on or our please should"
    " that the their this to us was we were what when which will with would you your"
)
_COMMON: Final = frozenset(_COMMON_WORDS.split())
"""Words that say nothing about what a text is about."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer makes of a text.

    Args:
        value: 0 to 1: how well it fits the mission.
        goals: The names of the goals that it is about, the most fitting first.
        forbidden: The name of the forbidden outcome that it is about; then the value is 0.
    """

    value: float
    goals: tuple[str, ...] = ()
    forbidden: str | None = None


class Scorer(Protocol):
    """Gives the alignment of a text with a mission. Pure: the same text and mission, the same score, everywhere."""

    @property
    def name(self) -> str:
        """What records call it."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever it scores otherwise."""
        ...

    def score(self, mission: Mission, text: str) -> Score:
        """Score `text`. Never raises."""
        ...


@dataclass(frozen=True)
class TermOverlap:
    """Weighted term overlap: the scorer that is shipped.

    A goal is met by the share of its words, or of the text's if that has fewer, that both have. The score is the sum
    over the goals, each times its weight relative to the heaviest, and at most 1. It is 0 if the text has all words of
    a phrase of a forbidden outcome. Words are compared in lower case and compatibility form; common ones are left out.

    It knows no synonyms and no grammar: it tells topics apart, not intentions. One that knows more can take its place.
    """

    name: str = "term_overlap"
    version: int = 1

    def score(self, mission: Mission, text: str) -> Score:
        """See `Scorer.score`."""
        words = terms(text)
        for outcome in mission.forbidden:
            if any(_terms_of(phrase) and _terms_of(phrase) <= words for phrase in outcome.phrases):
                return Score(0.0, forbidden=outcome.name)
        heaviest = max(goal.weight for goal in mission.goals)
        met = []
        for goal in mission.goals:
            wanted = _terms_of(goal.words)
            shared = len(wanted & words)
            if shared:
                met.append((goal.weight / heaviest * shared / min(len(wanted), len(words)), goal.name))
        met.sort(key=lambda one: (-one[0], one[1]))
        return Score(min(1.0, sum(value for value, _ in met)), tuple(name for _, name in met))


def terms(text: str) -> frozenset[str]:
    """Give the words of a text that say what it is about."""
    text = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS]).casefold()
    return frozenset(word for word in _WORD.findall(text) if word not in _COMMON)


@lru_cache(maxsize=4_096)
def _terms_of(words: str) -> frozenset[str]:
    return terms(words)


def text_of(*parts: Any) -> str:
    """Give the words of JSON values, one after the other: what a scorer reads of a topic and a context.

    Keys are left out; an `UntrustedText` counts as its text.
    """
    found: list[str] = []
    length = 0
    for part in parts:
        for text in _strings(part):
            found.append(text)
            length += len(text) + 1
            if length > MOST_CHARACTERS:
                return " ".join(found)[:MOST_CHARACTERS]
    return " ".join(found)


def _strings(value: Any) -> Iterator[str]:
    """The strings in a JSON value, keys left out, in the order of its keys."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting.extend(one[key] for key in sorted(one, reverse=True))
        elif isinstance(one, list | tuple):
            waiting.extend(reversed(one))
        elif isinstance(words := getattr(one, "text", None), str):
            yield words  # an `UntrustedText`: whatever it asks for, its words are only counted

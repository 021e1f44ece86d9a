"""What a worker wrote for people, before people see it: secrets taken out (EXT-28).

Two nets: the secrets that the node knows, in all forms in which `SecretSearch` finds them, and texts that look like
secrets to anybody. The second is a net with holes by its nature; it is there for what nobody told the node.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from web4.journal.secret_search import SHORTEST, SecretSearch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msgspec

_MARK: Final = "[redacted]"
_NAME: Final = 64
_MARKED: Final = re.compile(r"[a-z0-9_.-]+", re.ASCII)

# No pattern backtracks over more than it matched: each repeats one class of characters, with a bound.
_BLOCK: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,65536}(-----END [A-Z ]{0,40}-----)?"
)
_NAMED: Final = re.compile(
    r"((?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|authorization"
    r"|cookie)[\"']?\s{0,8}[:=]\s{0,8}(?:(?:basic|bearer|token)\s{1,8})?)[\"']?[^\s\"',;]{1,8192}",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(bearer\s{1,8})[A-Za-z0-9._~+/=-]{8,8192}", re.IGNORECASE)
_IN_URL: Final = re.compile(r"(://[^\s:/@]{0,256}:)[^\s:/@]{1,1024}(?=@)")
_SHAPED: Final = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{16,512}|gh[pousr]_[A-Za-z0-9]{20,512}|github_pat_[A-Za-z0-9_]{20,512}"
    r"|glpat-[A-Za-z0-9_-]{16,512}|xox[abeoprs]-[A-Za-z0-9-]{10,512}|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|AIza[A-Za-z0-9_-]{30,512}|eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{0,4096})"
)


class Redaction:
    """Takes secrets out of text.

    Args:
        known: The secrets of the node, and of the variables that were passed to the extension.
    """

    __slots__ = ("_known",)

    def __init__(self, *known: SecretSearch) -> None:
        self._known = known

    def __call__(self, text: str) -> str:
        """The text with every secret replaced that either net caught."""
        for known in self._known:
            if known:
                text = known.scrub(text.encode("utf-8", "replace")).decode("utf-8", "replace")
        text = _BLOCK.sub(_MARK, text)
        text = _NAMED.sub(rf"\1{_MARK}", text)
        text = _BEARER.sub(rf"\1{_MARK}", text)
        text = _IN_URL.sub(rf"\1{_MARK}", text)
        return _SHAPED.sub(_MARK, text)

    def knows(self, data: bytes | msgspec.Raw) -> bool:
        """Whether a secret that the node knows stands in some bytes, such as a field of a frame."""
        return any(known.found(bytes(data)) for known in self._known if known)


def known_from(environment: Mapping[str, str]) -> SecretSearch:
    """The values of the variables that are passed to an extension, as secrets: nobody says which of them are.

    A value too short to be searched for is left out. The mark names the variable.
    """
    search = SecretSearch()
    for number, (name, value) in enumerate(sorted(environment.items())):
        mark = f"environment.{number}.{name.lower()}"[:_NAME] if name.isascii() else f"environment.{number}"
        data = value.encode("utf-8", "surrogateescape")
        if len(data) >= SHORTEST:
            search.learn(mark if _MARKED.fullmatch(mark) else f"environment.{number}", data)
    return search

"""Naming peers and humans: by fingerprint, by a unique prefix of it, or by the operator's own name (UX-10)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from web4.doors.views.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from web4.doors.views.reading import Reading
    from web4.mesh.registry.peers_file import NamedPeer, PeersFile

LEAST_DIGITS: Final = 8
"""Digits that a prefix has at least."""
_WHOLE: Final = 64
_DIGITS: Final = re.compile(r"[0-9a-f-]+", re.ASCII)
"""Of fingerprints, and of UUIDs."""
_SHOWN: Final = 8
"""Matches of an ambiguous name that are listed."""


class Peers(NamedTuple):
    """Who can be named here.

    Args:
        named: By the operator, in `peers.toml`.
        known: Every fingerprint that was ever heard of.
    """

    named: PeersFile
    known: frozenset[str]

    def alias(self, fingerprint: str) -> str | None:
        """What the operator calls a peer."""
        found = self.named.find(fingerprint)
        return None if found is None else found.name

    def find(self, word: str, *, strangers: bool = False) -> str:
        """The fingerprint that a word stands for.

        Args:
            word: A fingerprint, a prefix of one, or a name of `peers.toml`.
            strangers: Whether a whole fingerprint that nobody ever heard of is one, too.

        Raises:
            UnknownName: `unknown_name`, `ambiguous_name`, `name_too_short`.
        """
        named = next((one for one in self.named if one.name == word), None)
        if named is not None:
            self._refuse_prefix(named)
            return named.fingerprint
        if strangers and len(word) == _WHOLE and _DIGITS.fullmatch(word.lower()):
            return word.lower()
        return by_prefix(word, self.known, what="peer", label=self.alias)

    def _refuse_prefix(self, named: NamedPeer) -> None:
        """A name that others' fingerprints begin with could mean them."""
        word = named.name
        if len(word) < LEAST_DIGITS or not _DIGITS.fullmatch(word):
            return
        others = sorted(one for one in self.known if one.startswith(word) and one != named.fingerprint)
        if others:
            shown = ", ".join(_shown(one, self.alias) for one in [named.fingerprint, *others[: _SHOWN - 1]])
            raise UnknownName(
                f"{word} is the name of a peer, and others begin with it: {shown}", code="ambiguous_name"
            )


async def peers_of(reading: Reading) -> Peers:
    """Who can be named at a node."""
    named = await reading.named()
    known = {one.fingerprint for one in named} | set(await reading.peers()) | set(await reading.trust())
    return Peers(named, frozenset(known))


def by_prefix(word: str, known: Iterable[str], *, what: str, label: Any = None) -> str:
    """The one of `known` that a word is, or begins.

    Args:
        word: What was given.
        known: Ids in hex.
        what: What they are ids of, in one word.
        label: Gives the other name of one, if it has one.

    Raises:
        UnknownName: `unknown_name`, `ambiguous_name`, `name_too_short`.
    """
    digits = word.lower()
    hexadecimal = _DIGITS.fullmatch(digits) is not None
    if hexadecimal and len(digits) >= LEAST_DIGITS:
        found = sorted(one for one in known if one.startswith(digits))
        if len(found) == 1 or digits in found:
            return digits if digits in found else found[0]
        if found:
            shown = ", ".join(_shown(one, label) for one in found[:_SHOWN])
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise UnknownName(
                f"{len(found)} of kind {what} begin with {word}: {shown}{more}", code="ambiguous_name"
            )
    elif hexadecimal and any(one.startswith(digits) for one in known):
        raise UnknownName(f"{word}: a prefix has {LEAST_DIGITS} digits at least", code="name_too_short")
    raise UnknownName(f"there is no {what} {word[:80]!r} here", code="unknown_name")


def _shown(one: str, label: Any) -> str:
    name = None if label is None else label(one)
    return one if name is None else f"{one} ({name})"


def human_of(word: str, humans: Mapping[str, Any]) -> str:
    """The lane of the human that a word stands for: of this node by id, at a peer by lane, prefix, or `ID@PEER`.

    Args:
        word: What was given.
        humans: States of lanes by id (`Reading.humans`).

    Raises:
        UnknownName: As `by_prefix`.
    """
    if word in humans:
        return word
    human, at, peer = word.partition("@")
    if at:
        found = sorted(
            lane
            for lane, state in humans.items()
            if state.remote is not None
            and state.remote.human_id == human
            and state.remote.peer.startswith(peer.lower())
        )
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(f"{human}@{humans[one].remote.peer}" for one in found[:_SHOWN])
            raise UnknownName(f"{len(found)} humans are called so: {shown}", code="ambiguous_name")
    return by_prefix(word, (lane for lane in humans if len(lane) == _WHOLE), what="human")

"""Accepted web claims are looked at again after a day (LIP-6)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from web4.journal.errors import BlobNotFoundError
from web4.protocols.lip.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from web4.foundation.clock import Clock
    from web4.journal.journal import Journal
    from web4.protocols.lip.fetching.record import FetchRecord
    from web4.protocols.messages.fields import Provenance

AFTER_MS: Final = 24 * 3_600_000
AGAIN_MS: Final = 3_600_000
"""How long after a fetch that failed the next one is made: a host that is away says nothing about the claim."""
MAX_WAITING: Final = 4_096


class Recheck(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted web claim whose day is over.

    Args:
        claim_key: Of the claim.
        statement: What has to be supported.
        uri: Where its evidence came from.
        retrieved_at: When, UTC; names this re-check together with the claim, so it is made once.
        body_blake3: Of the body then.
        excerpt: Of the text then, if the evidence had one.
    """

    claim_key: str
    statement: str
    uri: str
    retrieved_at: str
    body_blake3: str
    excerpt: str = ""


class Rechecks(Protocol):
    """What LIP-6 needs of the ledger."""

    async def due(self, before_ms: int) -> Sequence[Recheck]:
        """The accepted web claims whose newest own evidence is older than `before_ms`, Unix milliseconds."""
        ...

    async def rechecked(self, claim_key: str, *, supported: bool, provenance: Provenance, cause: str) -> None:
        """What the fetch showed: a body without support disputes the claim. `cause` makes it happen once."""
        ...


def supports(recheck: Recheck, record: FetchRecord, text: str) -> bool:
    """Whether a body still supports a claim: it is the same, or it still has the statement or the excerpt in it.

    Words are compared without regard to case, white space and Unicode form; nothing is interpreted (LIP-7).
    """
    if record.body_blake3 == recheck.body_blake3:
        return True
    plain = _plain(text)
    return any(words and words in plain for words in (_plain(recheck.statement), _plain(recheck.excerpt)))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


@dataclass(slots=True)
class Rechecking:
    """Makes the re-checks that are due.

    Args:
        rechecks: The ledger.
        fetch: By fetch id, URI and claim key; the record, durable.
        journal: Holds the texts.
        clock: The time.
    """

    rechecks: Rechecks
    fetch: Callable[[str, str, str], Awaitable[FetchRecord]]
    journal: Journal
    clock: Clock
    _not_before: dict[str, tuple[int, int]]
    """Claims whose source was away: when it is asked again, and how often it was."""

    async def once(self) -> int:
        """Make those that are due now, one after the other; how many were told to the ledger.

        Cancellation: what was fetched and not told is told by the next run.
        """
        now = self.clock.wall_ms()
        told = 0
        for one in await self.rechecks.due(now - AFTER_MS):
            waits, tries = self._not_before.get(one.claim_key, (0, 0))
            if now < waits:
                continue
            fetch_id = f"fetch:recheck:{one.claim_key}:{one.retrieved_at}:{tries}"
            try:
                record = await self.fetch(fetch_id, one.uri, one.claim_key)
                text = (await self.journal.get_blob(record.text)).decode()
            except (FetchError, BlobNotFoundError):
                if len(self._not_before) < MAX_WAITING or one.claim_key in self._not_before:
                    self._not_before[one.claim_key] = (now + AGAIN_MS, tries + 1)
                continue
            self._not_before.pop(one.claim_key, None)
            await self.rechecks.rechecked(
                one.claim_key,
                supported=supports(one, record, text),
                provenance=record.provenance(),
                cause=fetch_id,
            )
            told += 1
        return told

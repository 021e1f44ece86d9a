"""How the peer that sent a LIP_FETCH is told: REPLY, and on success LIP_EVIDENCE (FETCH-1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from web4.foundation.codec import ENCODER
from web4.protocols.lip.fetching.record import FetchRecord
from web4.protocols.lip.untrusted import UntrustedText
from web4.protocols.messages.cip import Reply, Triple
from web4.protocols.messages.lip import LipEvidence, SourceClaim, TrustTier, WebClaim

if TYPE_CHECKING:
    from web4.foundation.events import Emitter
    from web4.journal.journal import Journal
    from web4.protocols.lip.fetch_events import AnswerRequested, FetchConcluded
    from web4.protocols.ports import SendMessage

FindClaims = Callable[[FetchRecord, UntrustedText], Awaitable[Sequence[WebClaim]]]
"""What an agent reads out of a text: claims about the world. It is given data, and gives data."""
TierOf = Callable[[str], TrustTier]
"""The tier that this node has computed for a URI's source (LIP-2)."""

TEXT_BYTES: Final = 96 * 1024
"""The longest text, as JSON, that a REPLY carries; a longer one is named by its size, never cut."""
_BUSY: Final = frozenset({"fetcher_busy", "interrupted", "fetch_timeout", "connection_failed"})


def unknown_tier(_: str) -> TrustTier:
    """The tier of a source that nobody has computed."""
    return "unknown"


async def what_was_seen(record: FetchRecord, _: UntrustedText) -> Sequence[WebClaim]:
    """The one claim that a fetch proves by itself: what answered, and with which body.

    What the body says about the world is for an agent to read: see `FindClaims`.
    """
    statement = f"{record.final_uri} answered with {record.content_type} of BLAKE3 {record.body_blake3}"
    triple = Triple(
        subject=record.final_uri, predicate="answered_with", object=record.body_blake3, functional=False
    )
    return (WebClaim(statement=statement, domain=host_of(record.final_uri), triple=triple),)


def host_of(uri: str) -> str:
    """The host of a URI that was fetched."""
    return urlsplit(uri).hostname or ""


def source_of(record: FetchRecord, tier_of: TierOf) -> SourceClaim:
    """What a LIP envelope about a record says of its source."""
    return SourceClaim(
        uri=record.final_uri, trust_tier=tier_of(record.final_uri), retrieved_at=record.retrieved_at
    )


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Queues the answers to a peer.

    Args:
        journal: Holds the texts.
        send: To peers; with a `msg_id` of ours, so that the outbox knows what it has.
        tier_of: See `TierOf`.
        find_claims: See `FindClaims`.
        emit: Told `fetch_concluded`.
    """

    journal: Journal
    send: SendMessage
    tier_of: TierOf
    find_claims: FindClaims
    emit: Emitter

    async def __call__(self, request: AnswerRequested) -> None:
        """See `Answers`.

        Raises:
            Web4Error: The peer cannot be told: it is blocked, the outbox is full, or a blob is gone.
        """
        asker, concluded = request.asker, request.concluded
        report_concluded(self.emit, concluded, peer=asker.peer, msg_id=asker.msg_id)
        record = concluded.record
        corr_id = asker.corr_id
        if record is None:
            await self.send(
                asker.peer, _refusal(asker.msg_id, concluded), corr_id=corr_id, msg_id=asker.reply_id
            )
            return
        data = await self.journal.get_blob(record.text)
        text = record.untrusted(data.decode())
        reply = Reply(
            in_reply_to=asker.msg_id, status="done", reason="", content=_content(record, text, len(data))
        )
        await self.send(asker.peer, reply, corr_id=corr_id, msg_id=asker.reply_id)
        evidence = await self._evidence(record, text)
        about = source_of(record, self.tier_of)
        await self.send(asker.peer, evidence, corr_id=corr_id, about=about, msg_id=asker.evidence_id)

    async def _evidence(self, record: FetchRecord, text: UntrustedText) -> LipEvidence:
        """What the agent reads out of the text; what the fetch proves by itself if it reads nothing, or fails."""
        claims: tuple[WebClaim, ...] = ()
        try:
            claims = tuple(await self.find_claims(record, text))
        except Exception as error:  # whatever it is, the peer gets the page that it asked for
            self.emit("error", severity="error", kind="find_claims_failed", reason=type(error).__name__)
        return LipEvidence(
            claims=claims or tuple(await what_was_seen(record, text)),
            evidence=(record.provenance(),),
            confidence=1.0,
            extraction_notes="",
        )


def _refusal(msg_id: str, concluded: FetchConcluded) -> Reply:
    code = concluded.code or "interrupted"
    return Reply(
        in_reply_to=msg_id,
        status="refused" if concluded.outcome == "refused" else "failed",
        reason=code,
        retry_after_ms=60_000 if code in _BUSY else UNSET,
    )


def _content(record: FetchRecord, text: UntrustedText, size: int) -> dict[str, Any]:
    """What a REPLY says of a fetch. The keys say that the words are the site's."""
    content: dict[str, Any] = {
        "provenance": msgspec.to_builtins(record.provenance()),
        "robots": record.hops[-1].robots,
        "redirects": [hop.uri for hop in record.hops[:-1]],
        "untrusted_title": record.title,
        "text_bytes": size,
    }
    # As JSON, where a control character takes six bytes: the envelope has to hold it.
    if size <= TEXT_BYTES and len(ENCODER.encode(text.text)) <= TEXT_BYTES:
        content["untrusted_text"] = text.text
    return content


def report_concluded(emit: Emitter, concluded: FetchConcluded, **where: Any) -> None:
    """Say that a fetch ended, once that is durable. Contents appear as their digest (OBS-5)."""
    emit(
        "fetch_concluded",
        severity="info" if concluded.outcome == "ok" else "warning",
        fetch_id=concluded.fetch_id,
        outcome=concluded.outcome,
        code=concluded.code,
        body_blake3=concluded.body_blake3,
        exceptions=list(concluded.exceptions),
        **where,
    )

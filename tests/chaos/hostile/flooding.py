"""More than anybody can take: of connections, of messages, of bytes, and of answers that nobody reads."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from tests.chaos.hostile.intruder import IDS, PATIENCE, CutError
from tests.chaos.hostile.stage import UNTOUCHED, fact, intent
from web4.protocols.messages import cip as m
from web4.protocols.messages import hcp, lip
from web4.protocols.messages.fields import Provenance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.hostile.intruder import Entry, Victim
    from tests.chaos.hostile.stage import Stage

BATCH = 100


async def garbage(stage: Stage, count: int) -> None:
    """Connections that say what is no TLS, half of them nothing at all."""
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(_garbage, stage, stage.victim, bool(number % 2))
            await trio.sleep(0.002)


async def _garbage(stage: Stage, victim: Victim, says: bool) -> None:
    host, _, port = victim.url.removeprefix("tcp://").rpartition(":")
    with trio.move_on_after(1), suppress(OSError):
        stream = await trio.open_tcp_stream(host, int(port), local_address=stage.address())
        async with stream:
            stage.sent += 1
            if says:
                await stream.send_all(stage.rng.randbytes(600))
            await stream.receive_some()


async def handshakes(stage: Stage, count: int) -> None:
    """New identities, each with a session: half stop before HELLO, half after VERIFY (TRUST-10, HS-3)."""
    limit = trio.CapacityLimiter(8)

    async def one(number: int) -> None:
        async with limit:
            with suppress(CutError):
                async with stage.sybil() as it:
                    victim = stage.victim
                    async with it.session(victim, handshake=bool(number % 2)):
                        stage.sent += 1
                    stage.did(it, victim, *UNTOUCHED)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)


async def _flood(
    stage: Stage, count: int, make: Callable[[Entry, int], tuple[Any, Any]], sybils: int = 3
) -> None:
    """Several strangers say as many of something as they can."""

    async def one(share: int) -> None:
        victim = stage.victim
        async with stage.sybil() as it:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    for number in range(share):
                        payload, about = make(entry, number)
                        await entry.send(payload, about=about)
                    stage.sent += share
            stage.did(it, victim, *UNTOUCHED)

    async with trio.open_nursery() as nursery:
        for _ in range(sybils):
            nursery.start_soon(one, count // sybils)


async def intents(stage: Stage, count: int) -> None:
    """Questions over the rate (LIM-2): some are answered, the rest is dropped unread."""
    await _flood(stage, count, lambda _, number: (intent(str(number)), None))


async def facts(stage: Stage, count: int) -> None:
    """Facts up to the bounds of the ledger and beyond (KNOW-10)."""
    await _flood(stage, count, lambda _, number: (fact(f"{IDS.uuid4()} {number}", IDS.uuid4()), None))


async def votes(stage: Stage, count: int) -> None:
    """Votes on claims that nobody knows, and on honest ones (KNOW-2): parked up to a bound, and of no weight."""

    def vote(_: Entry, number: int) -> tuple[Any, Any]:
        known = stage.claims and number % 2
        ref = stage.rng.choice(stage.claims) if known else stage.rng.randbytes(32).hex()
        seen = (m.HumanEvidence(ref="seen"),)
        shared: dict[str, Any] = {"fact_ref": ref, "confidence": 1.0, "evidence": seen, "notes": ""}
        if number % 3:
            return m.FactReject(decision="reject", **shared), None
        return m.FactChallenge(fact_ref=ref, reason="conflict", notes="no"), None

    await _flood(stage, count, vote)


async def states(stage: Stage, count: int) -> None:
    """Telemetry without end, as long as it may be (WEB-3)."""
    long = "x" * 2_000

    def state(_: Entry, number: int) -> tuple[Any, Any]:
        return m.StateUpdate(
            presence="overloaded", lri=number % 100, ltppeerstate="trusted", kernel_signals=(), intent=long
        ), None

    await _flood(stage, count, state)


async def people(stage: Stage, count: int) -> None:
    """Humans whom nobody has met, a new one in each message (HCP-8)."""

    def person(_: Entry, number: int) -> tuple[Any, Any]:
        about = hcp.HumanParties(
            sender=f"human{number}",
            receiver="eva",
            state=hcp.HumanState(
                presence="focused", affect="calm", clarity=90, pressure=1, intent="talk", consent="granted"
            ),
        )
        if number % 2:
            name = hcp.HumanIdentity(name=f"Human {number}", role="none")
            return hcp.HcpHello(identity=name, consent_scope=("topic:*",), safety_flags=()), about
        return hcp.HcpStateUpdate(
            presence="focused",
            affect="calm",
            clarity=90,
            pressure=1,
            consent="granted",
            consent_scope=("topic:*",),
        ), about

    await _flood(stage, count, person)


def evidence(number: int) -> tuple[lip.LipEvidence, lip.SourceClaim]:
    """Claims of a web page that nobody fetched."""
    at = "2026-01-01T00:00:00.000Z"
    uri = f"https://site{number}.example/page"
    seen = Provenance(
        uri=uri,
        final_uri=uri,
        retrieved_at=at,
        status=200,
        content_type="text/plain",
        body_blake3=f"{number:064x}",
        body_bytes=10,
    )
    claims = (lip.WebClaim(statement=f"page {number} {IDS.uuid4()}", domain=f"site{number}.example"),)
    said = lip.LipEvidence(claims=claims, evidence=(seen,), confidence=1.0, extraction_notes="")
    return said, lip.SourceClaim(uri=uri, trust_tier="high", retrieved_at=at)


async def web_claims(stage: Stage, count: int) -> None:
    """LIP_EVIDENCE of sources by the thousand (LIP-5)."""
    await _flood(stage, count, lambda _, number: evidence(number))


async def huge(stage: Stage, count: int) -> None:
    """Envelopes of as many bytes as there may be, and of more."""

    def big(_: Entry, number: int) -> tuple[Any, Any]:
        return (intent("x", much="y" * 180_000) if number % 2 else fact("z" * 16_000, IDS.uuid4())), None

    await _flood(stage, count, big)


async def slow_reader(stage: Stage, count: int) -> None:
    """Questions, and never a look at the answers: what waits for it is bounded (OUT-6), and others do not wait."""
    victim = stage.victim
    async with stage.sybil() as it:
        with suppress(CutError):
            async with it.session(victim, listens=False) as entry:
                with trio.move_on_after(PATIENCE):
                    for number in range(count):
                        await entry.send(intent(str(number)))
                stage.sent += entry.sent
        stage.did(it, victim, *UNTOUCHED)

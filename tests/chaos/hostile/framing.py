"""Forged names, two faces, and what is said of others (VAL-4, REP-3, TRUST-4)."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.chaos.hostile.intruder import IDS, CutError
from tests.chaos.hostile.stage import UNTOUCHED, fact, intent
from web4.protocols.messages import cip as m

if TYPE_CHECKING:
    from tests.chaos.hostile.stage import Stage


async def foreign_sender(stage: Stage, count: int) -> None:
    """Messages in an honest name, signed with a key of its own: `malicious_evidence` of whose session it is."""
    for number in range(count):
        victim, framed = stage.rng.sample(stage.victims, 2)
        async with stage.sybil() as it:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    name = {"agent_id": framed.name, "fingerprint": framed.fingerprint}
                    data = entry.sealed(intent() if number % 2 else fact("mine", IDS.uuid4()))
                    await entry.raw([entry.resealed(data, sender=name)])
                    stage.did(it, victim, "blacklisted", cut=await entry.cut())
                    stage.sent += 1


async def forged_signature(stage: Stage, count: int) -> None:
    """An honest node's name and a signature that nobody made; and its own name with one: `auth_failure`."""
    for number in range(count):
        victim, framed = stage.rng.sample(stage.victims, 2)
        async with stage.sybil() as it:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    data = entry.sealed(intent("a word"))
                    if number % 2:
                        own, other = it.fingerprint.encode(), framed.fingerprint.encode()
                        await entry.raw([data.replace(own, other)])
                        stage.did(it, victim, "blacklisted", cut=await entry.cut())
                    else:
                        await entry.raw([data.replace(b"a word", b"an ode")])
                        stage.did(it, victim, "untrusted", cut=await entry.cut())
                    stage.sent += 1


async def votes_in_honest_names(stage: Stage, count: int) -> None:
    """An insider rejects honest claims in the name of honest nodes, first in its own: all of it is taken back."""
    for _ in range(count):
        victim, framed = stage.rng.sample(stage.victims, 2)
        async with stage.insider() as it:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    for ref in stage.rng.sample(stage.claims, min(4, len(stage.claims))):
                        await entry.send(m.FactChallenge(fact_ref=ref, reason="conflict", notes="not so"))
                    shared: dict[str, Any] = {"fact_ref": (stage.claims or ["0" * 64])[0], "confidence": 1.0}
                    vote = m.FactReject(decision="reject", evidence=(), notes="", **shared)
                    name = {"agent_id": framed.name, "fingerprint": framed.fingerprint}
                    await entry.raw([entry.resealed(entry.sealed(vote), sender=name)])
                    stage.did(it, victim, "blacklisted", cut=await entry.cut())
                    stage.sent += entry.sent


async def equivocates(stage: Stage, count: int) -> None:
    """Two contents under one `msg_id`: both are kept as evidence, and the one who signed both is blacklisted."""
    for number in range(count):
        victim = stage.victim
        async with stage.insider() if number % 2 else stage.sybil() as it:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    msg_id = IDS.uuid4()
                    await entry.send(fact("it is day", IDS.uuid4()), msg_id=msg_id)
                    await entry.send(fact("it is night", IDS.uuid4()), msg_id=msg_id)
                    stage.did(it, victim, "blacklisted", cut=await entry.cut())
                    stage.sent += 2


async def two_faced_facts(stage: Stage, count: int) -> None:
    """Two facts that contradict each other, of one decision: `malicious_evidence` (TRUST-4)."""
    for number in range(count):
        victim = stage.victim
        async with stage.insider() if number % 2 else stage.sybil() as it:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    decision = IDS.uuid4()
                    await entry.send(fact(f"open {decision}", decision, value="open"))
                    await entry.send(fact(f"shut {decision}", decision, value="shut"))
                    stage.did(it, victim, "blacklisted", cut=await entry.cut())
                    stage.sent += 2


async def two_votes(stage: Stage, count: int) -> None:
    """A stranger votes for and against the same claims, many times: one vote each, and without weight (KNOW-2)."""
    victim = stage.victim
    async with stage.sybil() as it:
        with suppress(CutError):
            async with it.session(victim) as entry:
                for number in range(count):
                    seen = (m.HumanEvidence(ref="seen"),)
                    ref = stage.rng.choice(stage.claims) if stage.claims else "0" * 64
                    shared: dict[str, Any] = {
                        "fact_ref": ref,
                        "confidence": 1.0,
                        "notes": "",
                        "evidence": seen,
                    }
                    yes = m.FactConfirm(decision="confirm", **shared)
                    await entry.send(yes if number % 2 else m.FactReject(decision="reject", **shared))
                stage.sent += entry.sent
        stage.did(it, victim, *UNTOUCHED)


async def damaged_pubkey(stage: Stage, count: int) -> None:
    """A key of somebody else beside its own name: refused before any signature is looked at."""
    for _ in range(count):
        victim = stage.victim
        async with stage.sybil() as it, stage.sybil() as other:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    sender = {
                        "agent_id": "mallory",
                        "fingerprint": it.fingerprint,
                        "pubkey": _key(other.identity.public_key),
                    }
                    await entry.raw([entry.resealed(entry.sealed(intent()), sender=sender)])
                    stage.did(it, victim, "blacklisted", cut=await entry.cut())
                    stage.sent += 1


def _key(raw: bytes) -> str:
    return base64.b64encode(raw).decode()

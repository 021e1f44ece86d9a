"""What was said before, said again (section 6)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tests.chaos.hostile.intruder import IDS, CutError
from tests.chaos.hostile.stage import FAULTS, UNTOUCHED, fact, intent
from web4.protocols.messages import cip as m

if TYPE_CHECKING:
    from tests.chaos.hostile.stage import Stage


async def replayed_hello(stage: Stage, count: int) -> None:
    """The HELLO of one session in others: its nonce was used (REP-1), and its answer is for another binding."""
    victim = stage.victim
    async with stage.sybil() as it:
        async with it.session(victim) as first:
            hello = first.hello
        for _ in range(count):
            with suppress(CutError):
                async with it.session(victim, handshake=False) as entry:
                    await entry.raw([hello], "control")
                    await entry.cut(0.2)
                    stage.sent += 1
        stage.did(it, victim, *UNTOUCHED)


async def replayed_envelopes(stage: Stage, count: int) -> None:
    """One INTENT and one fact, byte for byte, again and again: a duplicate, receipted, handled once (REP-3)."""
    victim = stage.victim
    async with stage.sybil() as it, it.session(victim) as entry:
        data = [entry.sealed(intent()), entry.sealed(fact("said twice", IDS.uuid4()))]
        with suppress(CutError):
            for _ in range(count // 2):
                await entry.raw(data)
        stage.sent += entry.sent
        stage.did(it, victim, *UNTOUCHED)


async def replayed_to_others(stage: Stage, count: int) -> None:
    """An envelope for one node, given to another: misaddressed, whoever signed it."""
    first, second = stage.rng.sample(stage.victims, 2)
    async with stage.sybil() as it:
        async with it.session(first) as entry:
            data = [entry.sealed(intent(str(number))) for number in range(count)]
        with suppress(CutError):
            async with it.session(second) as entry:
                await entry.raw(data)
                borne = count <= FAULTS
                stage.did(it, second, *UNTOUCHED, cut=None if borne else await entry.cut())
        stage.sent += count


async def invented_receipts(stage: Stage, count: int) -> None:
    """Receipts and errors for messages that were never sent, and answers to questions that nobody asked."""
    victim = stage.victim
    async with stage.sybil() as it, it.session(victim) as entry:
        with suppress(CutError):
            for number in range(count):
                ids = tuple(IDS.uuid4() for _ in range(256))
                await entry.send(m.Receipt(msg_ids=ids))
                await entry.send(m.Error(code="busy", msg_id=IDS.uuid4(), retry_after_ms=2**53 - 1))
                if not number % 8:
                    await entry.send(m.Reply(in_reply_to=IDS.uuid4(), status="done", reason="you asked"))
        stage.sent += entry.sent
        stage.did(it, victim, *UNTOUCHED)

"""What has to outlast a node: a process is killed with SIGKILL, another is started in its directory (section 23)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import trio

from tests.e2e.test_web4_runtime import SECONDS, a_child, a_node, known, until
from web4.demo.wire import Wire
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.messages import lip
from web4.protocols.messages.fields import Provenance
from web4.protocols.messages.lip import SourceClaim

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.test_web4_runtime import Child

ALL_IS_WELL: dict[str, list[str]] = {"findings": [], "differs": []}


async def killed(child: Child) -> None:
    child.process.send_signal(signal.SIGKILL)
    await child.process.wait()


async def is_proven(child: Child) -> None:
    """The journal holds, and replayed from its records alone it gives the states that the node lives by."""
    found: dict[str, Any] = await child.ask("prove")
    assert {name: found[name] for name in ALL_IS_WELL} == ALL_IS_WELL
    assert found["records"] > 0


async def test_trust_survives(tmp_path: Path) -> None:
    """TRUST-7: a cut carrier, SIGKILL and a new start, and meeting again leave trust as it was, in who is trusted
    and in who is blocked; the lane replayed gives the same."""
    nobody: list[dict[str, Any]] = []
    with trio.fail_after(SECONDS):
        async with (
            a_node(tmp_path / "ada", "tcp://127.0.0.1:0", nobody) as ada,
            a_node(tmp_path / "cid", "tcp://127.0.0.1:0", nobody) as cid,
            trio.open_nursery() as nursery,
        ):
            wire = Wire(tmp_path, "tcp")
            await nursery.start(wire.run)
            wire.target = ada.addresses[0]
            to_ada = known(ada) | {"addresses": [wire.url]}

            async def trusts(child: Child) -> list[str]:
                return [await child.ask("trust", peer=one.fingerprint) for one in (ada, cid)]

            async with a_child(tmp_path / "bob", to_ada, known(cid)) as bob:
                for one in (ada, cid):
                    assert await bob.ask("connected", peer=one.fingerprint) == "probing"
                await bob.ask("act", peer=ada.fingerprint, block=False)
                await bob.ask("act", peer=cid.fingerprint, block=True)
                assert await trusts(bob) == ["trusted", "blacklisted"]
                assert wire.cut() == 1

                async def resumed() -> bool:
                    return bool(ada.hub.memory.select(lambda event: event.type == "session_resume"))

                await until(resumed)
                assert await trusts(bob) == ["trusted", "blacklisted"]
                await killed(bob)
            async with a_child(tmp_path / "bob", to_ada, known(cid)) as again:
                assert again.fingerprint == bob.fingerprint
                assert await trusts(again) == ["trusted", "blacklisted"]
                assert await again.ask("connected", peer=ada.fingerprint) == "trusted"
                assert await trusts(again) == ["trusted", "blacklisted"]
                await is_proven(again)
            nursery.cancel_scope.cancel()


async def test_lip_deferred_until_trusted(tmp_path: Path) -> None:
    """LIP-5: what a probing peer read waits as pending, over SIGKILL and a new start, and is accepted when its source
    has a tier that suffices. Evidence of an untrusted peer is in the test of the same name of the ledger."""
    sky = "the sky is blue"
    page = Provenance(
        uri="https://first.org/sky",
        final_uri="https://first.org/sky",
        retrieved_at="2026-11-22T08:00:00.000Z",
        status=200,
        content_type="text/html",
        body_blake3="ab" * 32,
        body_bytes=10,
    )
    read = lip.LipEvidence(
        claims=(lip.WebClaim(statement=sky, domain="physics"),),
        evidence=(page,),
        confidence=1.0,
        extraction_notes="",
    )
    source = SourceClaim(uri=page.uri, trust_tier="unknown", retrieved_at=page.retrieved_at)
    key = claim_key("physics", sky)
    with trio.fail_after(SECONDS):
        async with a_node(tmp_path / "ada", "tcp://127.0.0.1:0", []) as ada:
            async with a_child(tmp_path / "bob", known(ada)) as bob:
                assert await bob.ask("connected", peer=ada.fingerprint) == "probing"
                await ada.knowledge.evidence(read, about=source, to=[bob.fingerprint])

                async def there() -> bool:
                    return key in await bob.ask("claims")

                await until(there)
                assert await bob.ask("status", key=key) == "pending"
                await killed(bob)
            async with a_child(tmp_path / "bob", known(ada)) as again:
                assert await again.ask("trust", peer=ada.fingerprint) == "probing"
                assert await again.ask("status", key=key) == "pending"
                await again.ask("tier", domain="first.org", tier="medium")
                assert await again.ask("status", key=key) == "accepted"
                await is_proven(again)

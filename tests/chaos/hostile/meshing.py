"""What a neighbour whom everybody trusts can do to the mesh, to services and to the fetcher (section 15)."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from tests.chaos.hostile.flooding import evidence
from tests.chaos.hostile.intruder import CLOCK, IDS, PATIENCE, CutError
from tests.chaos.hostile.stage import FAULTS, identity_of
from web4.foundation import envelope as envelopes
from web4.foundation.clock import format_timestamp
from web4.protocols.messages import lip
from web4.protocols.messages import mesh as mm

if TYPE_CHECKING:
    from tests.chaos.hostile.intruder import Entry
    from tests.chaos.hostile.stage import Stage

HELD = ("trusted",)
"""What shows nothing by itself is borne: it is bounded, not judged."""


def introduction(seed: str, *, key: bytes | None = None, ahead_ms: int = 3_600_000) -> mm.MeshIntroduce:
    """An introduction of an identity; with `key` of one that has another."""
    subject = identity_of(seed)
    return mm.MeshIntroduce(
        intro_id=IDS.uuid4(),
        subject=subject.fingerprint,
        pubkey=base64.b64encode(key or subject.public_key).decode(),
        addresses=("tcp://198.51.100.7:1",),
        expires_at=format_timestamp(CLOCK.wall_ms() + ahead_ms),
    )


async def greet(entry: Entry) -> None:
    """Be a neighbour."""
    limits = mm.PolicyLimits(max_hops=3, ttl_ms=60_000, relays=True, relay_bytes_per_second=1_048_576)
    await entry.raw([entry.meshed(mm.MeshHello(capabilities=(), services=(), limits=limits))], "control")


async def forged_introductions(stage: Stage, count: int) -> None:
    """A key that is not the subject's, under its own signature: `malicious_evidence` (MESH-10)."""
    for _ in range(count):
        victim = stage.victim
        async with stage.insider() as it:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    await greet(entry)
                    said = introduction(IDS.uuid4(), key=identity_of("another").public_key)
                    await entry.raw([entry.meshed(said, destination=mm.BROADCAST)], "control")
                    stage.did(it, victim, "blacklisted", cut=await entry.cut())
                    stage.sent += 1


async def introductions_in_honest_names(stage: Stage, count: int) -> None:
    """Introductions that an honest node is said to have made: charged to who hands them over, not to whom they name."""
    victim, framed = stage.rng.sample(stage.victims, 2)
    async with stage.insider() as it:
        cut = False
        try:
            async with it.session(victim) as entry:
                await greet(entry)
                for number in range(count):
                    said = introduction(f"{number}", key=identity_of("another").public_key)
                    data = entry.meshed(said, destination=mm.BROADCAST)
                    changed = data.replace(it.fingerprint.encode(), framed.fingerprint.encode())
                    await entry.raw([envelopes.with_hop(envelopes.parse(changed), it.fingerprint)], "control")
                    stage.sent += 1
                cut = await entry.cut(0 if count <= FAULTS else PATIENCE)
        except CutError:
            cut = True
        stage.did(it, victim, *HELD, cut=cut or (None if count <= FAULTS else False))


async def thousands_introduced(stage: Stage, count: int) -> None:
    """Subjects by the thousand, some expired, some said again: no more than one introducer may have (TRUST-10)."""
    victim = stage.victim
    async with stage.insider() as it:
        with suppress(CutError):
            async with it.session(victim) as entry:
                await greet(entry)
                for number in range(count):
                    said = introduction(IDS.uuid4(), ahead_ms=-1_000 if number % 10 == 9 else 3_600_000)
                    data = entry.meshed(said, destination=mm.BROADCAST)
                    await entry.raw([data] * (2 if number % 10 == 5 else 1), "control")
            stage.sent += count
        stage.did(it, victim, *HELD)


async def gossip(stage: Stage, count: int) -> None:
    """It takes back introductions of honest nodes that it never gave, for made up reasons: a note, and no more."""
    victim = stage.victim
    async with stage.insider() as it:
        with suppress(CutError):
            async with it.session(victim) as entry:
                await greet(entry)
                for _ in range(count):
                    said = mm.MeshRevoke(
                        intro_id=IDS.uuid4(), subject=stage.victim.fingerprint, reason="blacklisted: it lies"
                    )
                    await entry.raw([entry.meshed(said, destination=mm.BROADCAST)], "control")
            stage.sent += count
        stage.did(it, victim, *HELD)


async def lying_routes(stage: Stage, count: int) -> None:
    """Every honest node is said to be next door, and thousands that are not; what is sent that way is swallowed."""
    async with stage.insider() as it, trio.open_nursery() as nursery:

        async def one(victim: Any) -> None:
            with suppress(CutError):
                async with it.session(victim) as entry:
                    await greet(entry)
                    for part in range(count):
                        ends = [f"{part:032x}{number:032x}" for number in range(90)]
                        if part == 0:
                            ends[:4] = [one.fingerprint for one in stage.victims][:4]
                        routes = tuple(
                            mm.PathVector(destination=end, path=(it.fingerprint, end), cost=1.0)
                            for end in ends
                            if end != victim.fingerprint
                        )
                        itself = mm.PathVector(destination=it.fingerprint, path=(it.fingerprint,), cost=0.0)
                        offer = mm.MeshRoutes(routes=(*routes, itself), withdrawn=(), whole=part == 0)
                        await entry.raw([entry.meshed(offer)], "control")
                        stage.sent += 1
                    await trio.sleep(1)
            stage.did(it, victim, *HELD)

        for victim in stage.victims:
            nursery.start_soon(one, victim)


async def relay_flood(stage: Stage, count: int) -> None:
    """Streams through one honest node to another, opened and never read, and bytes for streams that nobody opened."""
    victim, beyond = stage.rng.sample(stage.victims, 2)
    async with stage.insider() as it:
        with suppress(CutError):
            async with it.session(victim) as entry:
                await greet(entry)
                block = base64.b64encode(bytes(32 * 1024)).decode()
                for number in range(count):
                    stream = IDS.uuid4()
                    parts = [mm.MeshRelay(stream=stream, kind="open", offset=0, room=2**32 - 1)]
                    if not number % 4:
                        parts.append(mm.MeshRelay(stream=stream, kind="data", offset=0, data=block))
                    to = beyond if number % 3 else victim
                    data = [entry.meshed(one, destination=to.fingerprint) for one in parts]
                    await entry.raw(data, "relay")
                    stage.sent += len(data)
        stage.did(it, victim, *HELD)


async def services(stage: Stage, count: int) -> None:
    """Calls of services that are not there, with arguments that do not fit, and more than are served at once."""
    victim = stage.victim
    async with stage.insider() as it:
        with suppress(CutError):
            async with it.session(victim) as entry:
                for number in range(count):
                    calls: list[tuple[str, dict[str, Any]]] = [
                        ("sum", {"a": 1, "b": 2}),
                        ("sum", {"a": "x" * 9_000}),
                        (f"no{number}", {}),
                    ]
                    name, args = stage.rng.choice(calls)
                    called = mm.ServiceInvoke(
                        service=name, version=stage.rng.choice(["1.0", "9.9"]), args=args, deadline_ms=2**50
                    )
                    await entry.raw([entry.meshed(called)])
                stage.sent += entry.sent
        stage.did(it, victim, *HELD)


async def fetches(stage: Stage, count: int) -> None:
    """Fetches of private addresses, and evidence of pages that nobody saw, of one who is trusted."""
    victim = stage.victim
    async with stage.insider() as it:
        with suppress(CutError):
            async with it.session(victim) as entry:
                for number in range(count):
                    uri = stage.rng.choice(
                        ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "http://10.0.0.1/"]
                    )
                    asked = lip.LipFetch(query=uri, constraints=("unheard_of",) if number % 5 == 0 else ())
                    await entry.send(asked, about=lip.SourceRequest(uri=uri, trust_tier="high"))
                    payload, about = evidence(number)
                    await entry.send(payload, about=about)
                stage.sent += entry.sent
        stage.did(it, victim, *HELD)

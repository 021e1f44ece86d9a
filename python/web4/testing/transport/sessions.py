"""What sessions on a transport must do, while nothing breaks."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from web4 import rtt
from web4.testing.transport.arena import (
    BOB,
    CAROL,
    ROOMY,
    Ends,
    accepted_session,
    descriptors,
    dialled,
    emptied,
    require,
    settled,
    tasks,
)

if TYPE_CHECKING:
    from web4.testing.transport.arena import Arena, Joined

SMALL = rtt.Options(**ROOMY, knowledge=rtt.ChannelLimits(1024, 4, 1024))
"""Queue and credit of four messages: four can be under way, four can wait."""

SENDERS = 20
EACH = 50
LIVES = 20


async def echoed(joined: Joined, kind: str, messages: list[bytes]) -> None:
    """Messages go out one after another, come back from the other end, and are what they were."""
    ours, theirs = await joined.channel(kind)

    async def echo() -> None:
        for _ in messages:
            await theirs.send(await theirs.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        for message in messages:
            await ours.send(message)
            require(
                await ours.receive() == message, f"a {kind} message of {len(message)} bytes came back changed"
            )
    await ours.aclose()
    await theirs.aclose()


async def echoes_every_size(arena: Arena) -> None:
    """Empty, small and largest messages of every kind, on the core's own path and on the driver's."""
    for faults in (None, rtt.Faults()):
        for kind in ("control", "state", "knowledge"):
            async with (
                arena.case(f"{kind}, {'as it is' if faults is None else 'wrapped'}"),
                arena.joined(dialed=[faults], accepted=[faults]) as joined,
            ):
                options = joined.ends.alice.options
                largest, frame = getattr(options, kind).max_message, options.frame_payload
                sizes = sorted({0, 1, 64, frame - 1, frame, frame + 1, largest})
                await echoed(joined, kind, [arena.random.randbytes(size) for size in sizes])


async def survives_fragments(arena: Arena) -> None:
    """Reads and writes cut into pieces of any size, from single bytes on."""
    for most in (1, 7, 97, 5000):
        faults = rtt.Faults(chunks=(1, most), seed=arena.random.randrange(1 << 30))
        async with (
            arena.case(f"pieces of up to {most} bytes"),
            arena.joined(dialed=[faults], accepted=[faults]) as joined,
        ):
            sizes = (0, 1, 600, 60 * most)
            await echoed(joined, "knowledge", [arena.random.randbytes(size) for size in sizes])


async def refuses_a_wrong_pin(arena: Arena) -> None:
    """Another key than the expected one: no session, no RTT frame, and the next dial is none the worse (RTT-5)."""
    async with arena.case("wrong pin"), arena.ends() as ends:
        try:
            async with ends.alice.dial(ends.address, expect=CAROL.fingerprint):
                require(condition=False, what="it opened a session with somebody else")
        except rtt.AuthenticationError as error:
            require(error.code == "wrong_key", f"the code is {error.code}, not wrong_key")
        require(not ends.bob_events.named("session_open"), "the acceptor has a session")
        async with dialled(ends) as joined:
            await echoed(joined, "control", [b"the right one"])


async def keeps_the_policies(arena: Arena) -> None:
    """All four policies with a reader that stalls: what each promises, and the balances of RTT-42."""
    for policy in ("block", "error", "drop_oldest", "drop_newest"):
        for faults in (None, rtt.Faults(chunks=(1, 4000), seed=1)):
            async with (
                arena.case(f"policy {policy}, {'as it is' if faults is None else 'in pieces'}"),
                arena.joined(SMALL, dialed=[faults], accepted=[faults]) as joined,
            ):
                await _keep_policy(joined, policy)


async def _keep_policy(joined: Joined, policy: str) -> None:
    ours, theirs = await joined.channel(policy=policy)
    for number in range(4):
        await ours.send(b"%d" % number)
    await ours.flush()
    for number in range(4, 8):
        await ours.send(b"%d" % number)
    expected = [b"%d" % number for number in range(8)]
    match policy:
        case "drop_oldest":
            require(await ours.send(b"8") is rtt.Outcome.EVICTED_OLDEST, "nothing was evicted")
            del expected[4]
            expected.append(b"8")
        case "drop_newest":
            require(await ours.send(b"8") is rtt.Outcome.DROPPED_NEWEST, "nothing was dropped")
        case _:
            with suppress(rtt.BackpressureError):
                ours.send_nowait(b"8")
                require(condition=False, what="a full queue took a message")
    balanced(ours)
    async with trio.open_nursery() as nursery:
        if policy == "block":
            nursery.start_soon(ours.send, b"8")
            await trio.testing.wait_all_tasks_blocked(0.005)
            require(ours.stats()["waiting"] == 1, "a blocked sender does not wait")
            expected.append(b"8")
        received = [await theirs.receive() for _ in expected]
    require(received == expected, f"{received} arrived, not {expected}")
    await ours.flush()
    require(theirs.receive_nowait() == [], "more arrived than was sent")
    balanced(ours)


def balanced(channel: rtt.Channel) -> dict[str, int]:
    """The counters of a channel, after the balances of RTT-42 were checked."""
    stats = channel.stats()
    for whole, parts in (
        ("attempted", ("accepted", "dropped_newest", "failed", "cancelled", "waiting")),
        ("accepted", ("queued", "in_flight", "acknowledged", "dropped_oldest", "lost")),
        ("dropped", ("dropped_oldest", "dropped_newest")),
    ):
        require(
            stats[whole] == sum(stats[part] for part in parts),
            f"{whole} is not the sum of its parts: {stats}",
        )
    return stats


async def serves_many_senders(arena: Arena) -> None:
    """Many tasks send on one channel, in both directions: each task's order holds, and nothing is lost or doubled."""
    async with arena.case("many senders"), arena.joined() as joined:
        pair = await joined.channel()

        async def send(channel: rtt.Channel, task: int) -> None:
            for number in range(EACH):
                await channel.send(b"%d %d" % (task, number))

        async def receive(channel: rtt.Channel) -> None:
            counts: Counter[int] = Counter()
            while counts.total() < SENDERS * EACH:
                task, number = map(int, (await channel.receive()).split())
                require(
                    counts[task] == number, f"message {number} of task {task} came as its {counts[task]}."
                )
                counts[task] += 1

        async with trio.open_nursery() as nursery:
            for channel in pair:
                nursery.start_soon(receive, channel)
                for task in range(SENDERS):
                    nursery.start_soon(send, channel, task)


async def keeps_the_limits(arena: Arena) -> None:
    """Limits are errors of their own, and the session goes on after each (section 15)."""
    async with arena.case("limits"), arena.joined(SMALL) as joined:
        ours, _ = await joined.channel()
        for expected, attempt in (
            (rtt.MessageTooLargeError, lambda: ours.send(bytes(1025))),
            (rtt.BatchTooLargeError, lambda: ours.send_many([bytes(1024)] * 5)),
            (rtt.ChannelKindError, lambda: joined.here.open_channel("gossip")),
        ):
            try:
                await attempt()
            except expected:
                continue
            require(condition=False, what=f"there was no {expected.__name__}")
        with suppress(rtt.LimitError):
            for _ in range(joined.ends.alice.options.channels):
                await joined.here.open_channel("state")
            require(condition=False, what="there is no limit of channels")
        await joined.here.control.send(b"alive")
        require(await joined.there.control.receive() == b"alive", "the session did not survive its limits")


async def looks_like_memory(arena: Arena) -> None:
    """The same story gives the same events and counters as on `memory`."""
    told: list[Any] = []
    for factory, at in ((arena.factory, arena.at), (_memory, "memory://reference")):
        async with arena.case(f"at {at}"), arena.ends(SMALL, factory=factory, at=at) as ends:
            told.append(await _story(ends))
    here, reference = told
    for what, reference_says in reference.items():
        require(here[what] == reference_says, f"{what}: {here[what]}, but on memory {reference_says}")


def _memory() -> rtt.MemoryTransport:
    return rtt.MemoryTransport(rtt.MemoryNetwork())


STEADY = (
    "attempted",
    "accepted",
    "dropped",
    "acknowledged",
    "sent",
    "sent_bytes",
    "received",
    "received_bytes",
)
UNSTEADY = frozenset({"address", "session_id", "peer", "at"})


async def _story(ends: Ends) -> dict[str, Any]:
    with suppress(rtt.AuthenticationError):
        async with ends.alice.dial(ends.address, expect=CAROL.fingerprint):
            pass
    await settled(
        lambda: bool(ends.bob.failures), "the acceptor did not notice that it was not the expected one"
    )
    async with ends.alice.dial(ends.address, expect=BOB.fingerprint) as here:
        there = await accepted_session(ends.bob)
        ours = await here.open_channel("knowledge", name="story")
        theirs = await there.accept_channel()
        for number in range(6):
            await ours.send(b"%d" % number)
            await theirs.receive()
        await ours.flush()
        stats = {name: (ours.stats()[name], theirs.stats()[name]) for name in STEADY}
        await ours.aclose()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.aclose)
            await here.aclose()
    return {
        "counters": stats,
        "failures": (
            sorted(code for _, code in ends.alice.failures),
            sorted(code for _, code in ends.bob.failures),
        ),
        "events of who dialled": _told(ends.alice_events.seen),
        "events of who accepted": _told(ends.bob_events.seen),
    }


def _told(seen: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, {key: value for key, value in fields.items() if key not in UNSTEADY}) for name, fields in seen
    ]


async def leaves_nothing(arena: Arena) -> None:
    """Sessions that are closed, aborted, cancelled or refused leave no task and no descriptor behind."""
    before: tuple[int, int | None] | None = None
    for faults in (None, rtt.Faults()):
        async with arena.case(f"lives, {'as it is' if faults is None else 'wrapped'}"):
            for rehearsal in (True, False):
                if not rehearsal:
                    before = (tasks(), descriptors())
                plan = [faults] * LIVES * 2
                async with arena.ends(dialed=plan, accepted=plan) as ends:
                    for life in range(2 if rehearsal else LIVES):
                        await _live(ends, life)
            after = (tasks(), descriptors())
            require(after == before, f"tasks and descriptors were {before}, and are {after}")


async def _live(ends: Ends, life: int) -> None:
    if life % 4 == 3:
        with suppress(rtt.AuthenticationError):
            async with ends.alice.dial(ends.address, expect=CAROL.fingerprint):
                pass
        return
    with trio.CancelScope() as scope:
        async with ends.alice.dial(ends.address, expect=BOB.fingerprint) as here:
            there = await accepted_session(ends.bob)
            await here.control.send(b"life")
            await there.control.receive()
            if life % 4 == 0:
                there.abort("over")
            elif life % 4 == 1:
                scope.cancel()
                await trio.lowlevel.checkpoint()
            else:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(there.aclose)
                    await here.aclose()
    await emptied(ends.bob)


SESSIONS = {
    "echoes every size": echoes_every_size,
    "survives fragments": survives_fragments,
    "refuses a wrong pin": refuses_a_wrong_pin,
    "keeps the policies": keeps_the_policies,
    "serves many senders": serves_many_senders,
    "keeps the limits": keeps_the_limits,
    "looks like memory": looks_like_memory,
    "leaves nothing": leaves_nothing,
}

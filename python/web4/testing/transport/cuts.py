"""What sessions on a transport must do when its streams break: at every byte, from either end, in every way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import trio

from web4 import rtt
from web4.testing.transport.arena import BOB, ROOMY, Ends, accepted_session, emptied, require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from web4.testing.transport.arena import Arena

HASTY = {**ROOMY, "reconnect_base": 0.002, "reconnect_cap": 0.01, "ack_delay": 0.001, "sessions_per_peer": 64}
"""So that reconnecting at every byte does not take all day. What is refused for other reasons stays so."""

FATAL = rtt.Options(**HASTY, resume_window=0.0, drain_timeout=0.2)
RESUMING = rtt.Options(**HASTY)

TALK = [b"one", b"", b"three" * 200, b"four"]
"""What is said in either direction of the recorded exchange."""

Where = tuple[Literal["dialed", "accepted"], Literal["sending", "receiving"]]
ENDS: tuple[Where, ...] = (
    ("dialed", "sending"),
    ("dialed", "receiving"),
    ("accepted", "sending"),
    ("accepted", "receiving"),
)


class Talk:
    """The recorded exchange: what either end has received so far, and whether all of it went well."""

    def __init__(self) -> None:
        self.received: dict[str, list[bytes]] = {"here": [], "there": []}
        self.opened = False

    async def run(self, ends: Ends) -> None:
        """Hold it; raises what a session or a dial raises when its stream breaks."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._answer, ends, nursery.cancel_scope)
            async with ends.alice.dial(ends.address, expect=BOB.fingerprint) as here:
                self.opened = True
                channel = await here.open_channel("knowledge")
                for message in TALK:
                    await channel.send(message)
                    self.received["here"].append(await channel.receive())
                await channel.flush()
            nursery.cancel_scope.cancel()

    async def _answer(self, ends: Ends, talk: trio.CancelScope) -> None:
        session = await accepted_session(ends.bob)
        try:
            channel = await session.accept_channel()
            async for message in channel:
                self.received["there"].append(message)
                await channel.send(message)
            await session.aclose()
        except (rtt.RttError, trio.EndOfChannel):
            # Its own view of the break. That of the dialling end is what counts.
            session.abort("broken")

    def check(self, *, whole: bool) -> None:
        """What arrived is what was said, from its beginning; all of it, if it is `whole`."""
        for end, received in self.received.items():
            expected = TALK if whole else TALK[: len(received)]
            require(received == expected, f"{end} received {[len(message) for message in received]} bytes")


async def _lengths(arena: Arena, options: rtt.Options) -> dict[Where, int]:
    """How many bytes of the exchange each end writes and reads."""
    async with (
        arena.case("recorded exchange"),
        arena.ends(options, dialed=[rtt.Faults()], accepted=[rtt.Faults()]) as ends,
    ):
        talk = Talk()
        await talk.run(ends)
        talk.check(whole=True)
        # The order in which two ends of one stream are wrapped is the transport's business.
        ours, theirs = ends.transport.dialed_streams[0], ends.transport.accepted_streams[0]
    return {
        ("dialed", "sending"): ours.sent,
        ("dialed", "receiving"): ours.received,
        ("accepted", "sending"): theirs.sent,
        ("accepted", "receiving"): theirs.received,
    }


def _every_byte(length: int, stride: int) -> Iterator[int]:
    """Every `stride`-th byte, from 0 on, and the last one."""
    yield from range(0, length, stride)
    if (length - 1) % stride:
        yield length - 1


def _faults(where: Where, byte: int, then: Literal["cut", "end", "stall"]) -> dict[str, Any]:
    end, direction = where
    broken = rtt.Break(byte, then)
    faults = rtt.Faults(sending=broken) if direction == "sending" else rtt.Faults(receiving=broken)
    return {end: [faults]}


async def names_what_a_cut_ends(arena: Arena) -> None:
    """Without a resume window: a stream that breaks ends the dial or the session with the right error.

    Never with a message that was not sent, and never with a peer that is called somebody else.
    """
    lengths = await _lengths(arena, FATAL)
    for where in ENDS:
        for then in ("cut", "end"):
            for byte in _every_byte(lengths[where], arena.stride):
                async with (
                    arena.case(f"{' '.join(where)}, {then} after byte {byte}"),
                    arena.ends(FATAL, **_faults(where, byte, then)) as ends,
                ):
                    await _talk_that_breaks(ends)


async def _talk_that_breaks(ends: Ends) -> None:
    talk = Talk()
    for error in await _errors_of(lambda: talk.run(ends)):
        require(not isinstance(error, rtt.AuthenticationError), f"a break is no proof: {error}")
        fitting: tuple[type[rtt.RttError], ...] = (rtt.SessionLost, rtt.SessionClosedError)
        if not talk.opened:
            fitting = (rtt.HandshakeError, rtt.TransportUnavailableError)
        require(isinstance(error, fitting), f"it raised {type(error).__name__}: {error}")
    talk.check(whole=False)
    await emptied(ends.bob)


async def _errors_of(call: Callable[[], Awaitable[None]]) -> list[rtt.RttError]:
    """The errors of RTT that a call raises, however they are grouped."""
    errors: list[rtt.RttError] = []
    try:
        await call()
    except* rtt.RttError as group:
        errors.extend(_leaves(group))
    return errors


def _leaves(group: BaseExceptionGroup[rtt.RttError]) -> Iterator[rtt.RttError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def resumes_after_a_cut(arena: Arena) -> None:
    """With a resume window: wherever the first stream of a session breaks, the exchange is whole, once, in order."""
    lengths = await _lengths(arena, RESUMING)
    for where in ENDS:
        for then in ("cut", "end"):
            for byte in _every_byte(lengths[where], arena.stride):
                async with (
                    arena.case(f"{' '.join(where)}, {then} after byte {byte}"),
                    arena.ends(RESUMING, **_faults(where, byte, then)) as ends,
                ):
                    await _talk_that_goes_on(ends)


async def _talk_that_goes_on(ends: Ends) -> None:
    talk = Talk()
    errors = await _errors_of(lambda: talk.run(ends))
    for error in errors:
        if isinstance(error, rtt.SessionLost):
            # The acceptor never saw CONFIRM: for it there is no such session (RTT-37).
            unknown = error.reason == "unknown_session" and not talk.received["there"]
            require(unknown, f"the session was lost: {error}")
        else:
            # The first carrier never opened: there was nothing to resume.
            fitting = isinstance(error, rtt.HandshakeError | rtt.TransportUnavailableError)
            require(fitting and not talk.opened, f"it raised {type(error).__name__}: {error}")
    if not errors:
        talk.check(whole=True)


async def survives_random_cuts(arena: Arena) -> None:
    """Messages on three channels both ways, while one stream after another is cut at random: each once, in order.

    The events of both ends come in the order of RTT-54.
    """
    cuts = arena.rounds
    faults = [_random_cut(arena) for _ in range(cuts)]
    async with (
        arena.case(f"{cuts} cuts"),
        arena.ends(RESUMING, dialed=[rtt.Faults(), *faults]) as ends,
        ends.alice.dial(ends.address, expect=BOB.fingerprint) as here,
    ):
        there = await accepted_session(ends.bob)
        over = trio.Event()
        async with trio.open_nursery() as nursery:
            for kind in ("control", "state", "knowledge"):
                ours = await here.open_channel(kind, policy="block")
                theirs = await there.accept_channel(policy="block")
                for source, target in ((ours, theirs), (theirs, ours)):
                    nursery.start_soon(_count_up, source, over)
                    nursery.start_soon(_count_along, target)
            # The first stream bears no fault, so that there is a session at all; its end is the first cut.
            await trio.aclose_forcefully(ends.transport.dialed_streams[0].stream)
            arena.cases += cuts
            while len(ends.transport.dialed_streams) <= cuts:  # noqa: ASYNC110 - nobody announces a stream
                await trio.sleep(0.002)
            over.set()
        require(here.reconnects > 0 or cuts == 0, "no stream was ever cut")
        here.abort("the case is over")
        there.abort("the case is over")
    for events in (ends.alice_events, ends.bob_events):
        _check_order([name for name, _ in events.seen if name.startswith("session_")])


def _random_cut(arena: Arena) -> rtt.Faults:
    broken = rtt.Break(arena.random.randrange(500, 20_000))
    if arena.random.random() < 0.5:
        return rtt.Faults(sending=broken)
    return rtt.Faults(receiving=broken)


async def _count_up(channel: rtt.Channel, over: trio.Event) -> None:
    number = 0
    while not over.is_set():
        await channel.send(b"%d" % number)
        number += 1
        if number % 16 == 0:
            await trio.lowlevel.checkpoint()
    await channel.send(b"over")


async def _count_along(channel: rtt.Channel) -> None:
    expected = 0
    async for message in channel:
        if message == b"over":
            return
        require(message == b"%d" % expected, f"{message!r} came on {channel.kind}, not {expected}")
        expected += 1


def _check_order(names: list[str]) -> None:
    """RTT-54: open, then suspend and resume in turn, then perhaps lost, then close."""
    require(names[0] == "session_open", f"the first event is {names[0]}")
    require(names[-1] == "session_close", f"the last event is {names[-1]}")
    middle = [name for name in names[1:-1] if name != "session_lost"]
    for index, name in enumerate(middle):
        expected = ("session_suspend", "session_resume")[index % 2]
        require(name == expected, f"event {index + 1} is {name}, not {expected}")


async def notices_silence(arena: Arena) -> None:
    """A stream that carries nothing any more, and does not say so: the opening times out, the session is suspended."""
    options = rtt.Options(**ROOMY, handshake_timeout=0.2, heartbeat=0.05, resume_window=0.0)
    for where in ENDS:
        for after, expected in ((10, rtt.HandshakeError), (20_000, rtt.SessionLost)):
            async with (
                arena.case(f"{' '.join(where)}, silent after byte {after}"),
                arena.ends(options, **_faults(where, after, "stall")) as ends,
            ):
                await _fall_silent(ends, expected)


async def _fall_silent(ends: Ends, expected: type[rtt.RttError]) -> None:
    async def talk() -> None:
        async with ends.alice.dial(ends.address, expect=BOB.fingerprint) as here:
            there = await accepted_session(ends.bob)
            async with trio.open_nursery() as nursery:
                for session in (here, there):
                    nursery.start_soon(_send_for_ever, session)
                    nursery.start_soon(_receive_for_ever, session)

    errors = await _errors_of(talk)
    require(
        any(isinstance(error, expected) for error in errors), f"nobody raised {expected.__name__}: {errors}"
    )


async def _send_for_ever(session: rtt.RttSession) -> None:
    while True:
        await session.control.send(bytes(1000))


async def _receive_for_ever(session: rtt.RttSession) -> None:
    while True:
        await session.control.receive()


CUTS = {
    "names what a cut ends": names_what_a_cut_ends,
    "resumes after a cut": resumes_after_a_cut,
    "survives random cuts": survives_random_cuts,
    "notices silence": notices_silence,
}

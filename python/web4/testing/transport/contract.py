"""`check_transport`: the contract that every transport fulfils, shipped or foreign (RTT-69)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.testing.transport.arena import Arena, TransportContractError
from web4.testing.transport.cancelling import CANCELLING
from web4.testing.transport.cuts import CUTS
from web4.testing.transport.sessions import SESSIONS
from web4.testing.transport.streams import STREAMS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from web4 import rtt

CHECKS: dict[str, Callable[[Arena], Awaitable[None]]] = {**STREAMS, **SESSIONS, **CUTS, **CANCELLING}
"""The checks by name, in the order in which they run: each builds on what those before it have shown."""


async def check_transport(
    factory: Callable[[], rtt.Transport],
    at: str,
    *,
    only: Collection[str] | None = None,
    stride: int = 97,
    rounds: int = 20,
    seed: int = 0,
    patience: float = 30.0,
) -> dict[str, int]:
    """Check a transport: its streams by themselves, and sessions on them while everything goes wrong.

    Runs in the caller's Trio run, and leaves nothing behind, whether it raises, is cancelled or returns. It waits for
    real time where silence is the subject, so it takes some seconds; on a transport that never leaves the process,
    Trio's `MockClock` makes it faster.

    Args:
        factory: What `Registry.register` gets.
        at: An address to listen at that can be used again and again, such as `tcp://127.0.0.1:0`.
        only: Names of `CHECKS`, to run these; all of them when left out.
        stride: Streams are cut at every `stride`-th byte of an exchange. 1 is thorough, and takes minutes.
        rounds: How many streams are cut at random under one session. RTT-69 wants 1 000 in a thorough run.
        seed: Of everything that is drawn.
        patience: Seconds after which a case counts as hanging.

    Returns:
        How many cases each check ran.

    Raises:
        TransportContractError: The first thing that is wrong, with the name of the check and of the case.
        ValueError: `only` names no check, or a number is out of range.
    """
    names = list(CHECKS) if only is None else list(only)
    if unknown := set(names) - set(CHECKS):
        raise ValueError(f"there is no check {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    if stride < 1 or rounds < 0 or not patience > 0:
        raise ValueError("stride is at least 1, rounds at least 0, patience more than 0")
    ran: dict[str, int] = {}
    for name in names:
        arena = Arena(factory, at, stride=stride, rounds=rounds, seed=seed, patience=patience)
        try:
            await CHECKS[name](arena)
        except TransportContractError as error:
            raise TransportContractError(f"{name}: {error}") from error
        ran[name] = arena.cases
    return ran

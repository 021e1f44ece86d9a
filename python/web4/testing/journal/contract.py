"""`check_journal_backend`: the contract that every store of a journal fulfils, shipped or foreign (JRN-25)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.testing.journal.arena import Arena
from web4.testing.journal.following import FOLLOWING
from web4.testing.journal.journals import JOURNALS
from web4.testing.journal.keeping import KEEPING
from web4.testing.journal.owning import OWNING
from web4.testing.journal.reading import READING
from web4.testing.journal.repairing import REPAIRING
from web4.testing.journal.scribe import JournalContractError
from web4.testing.journal.storing import STORING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from web4.testing.journal.store import StoreFactory

CHECKS: dict[str, Callable[[Arena], Awaitable[None]]] = {
    **STORING,
    **READING,
    **KEEPING,
    **REPAIRING,
    **OWNING,
    **JOURNALS,
    **FOLLOWING,
}
"""The checks by name, in the order in which they run: first what a backend stores, then journals on it."""


async def check_journal_backend(
    factory: StoreFactory,
    *,
    only: Collection[str] | None = None,
    lanes: int = 10_000,
    callers: int = 64,
    rounds: int = 20,
    seed: int = 0,
    patience: float = 60.0,
) -> dict[str, int]:
    """Check a backend: what it stores by itself, and journals on it while everything goes wrong.

    Runs in the caller's Trio run, and leaves nothing behind, whether it raises, is cancelled or returns.

    Args:
        factory: Makes a new store for each case, and takes it away again.
        only: Names of `CHECKS`, to run these; all of them when left out.
        lanes: How many lanes one journal has to hold. JRN-25 wants 10 000.
        callers: How many append at once.
        rounds: How many commits a case makes where more of them show more.
        seed: Of everything that is drawn.
        patience: Seconds after which a case counts as hanging.

    Returns:
        How many cases each check ran: 0 where the store lacks the ability that it needs (see `StoreUnderTest`).

    Raises:
        JournalContractError: The first thing that is wrong, with the name of the check and of the case.
        ValueError: `only` names no check, or a number is out of range.
    """
    names = list(CHECKS) if only is None else list(only)
    if unknown := set(names) - set(CHECKS):
        raise ValueError(f"there is no check {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    if min(lanes, callers, rounds) < 2 or not patience > 0:
        raise ValueError("lanes, callers and rounds are at least 2, patience is more than 0")
    ran: dict[str, int] = {}
    for name in names:
        arena = Arena(factory, lanes=lanes, callers=callers, rounds=rounds, seed=seed, patience=patience)
        try:
            await CHECKS[name](arena)
        except JournalContractError as error:
            raise JournalContractError(f"{name}: {error}") from error
        ran[name] = arena.cases
    return ran

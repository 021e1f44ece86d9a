"""What the checks of a backend share: a new store for each case, and how thoroughly it is tested."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from web4.testing.journal.scribe import JournalContractError, Scribe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from web4.journal.backends.backend import Backend
    from web4.testing.journal.store import StoreFactory, StoreUnderTest


class Arena:
    """The backend under test, and how thoroughly it is tested."""

    def __init__(
        self, factory: StoreFactory, *, lanes: int, callers: int, rounds: int, seed: int, patience: float
    ) -> None:
        self.factory = factory
        self.lanes = lanes
        self.callers = callers
        self.rounds = rounds
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.patience = patience
        self.cases = 0
        """How many cases the current check ran."""

    @asynccontextmanager
    async def store(self, what: str) -> AsyncGenerator[StoreUnderTest]:
        """One case, with a store of its own: it must end in time; what fails in it says which case it was."""
        self.cases += 1
        try:
            with trio.fail_after(self.patience):
                async with self.factory() as store:
                    yield store
        except trio.TooSlowError:
            raise JournalContractError(f"{what}: nothing happened for {self.patience} s") from None
        except Exception as error:
            raise JournalContractError(f"{what}: {_told(error)}") from error

    @asynccontextmanager
    async def scribe(self, what: str) -> AsyncGenerator[tuple[StoreUnderTest, Scribe]]:
        """One case with a store that was opened once, and somebody who writes to it."""
        async with self.store(what) as store, store.open() as backend:
            yield store, Scribe(backend)

    def leave_out(self) -> None:
        """A case that the store has no ability for was not one."""
        self.cases -= 1


@asynccontextmanager
async def reopened(store: StoreUnderTest, scribe: Scribe) -> AsyncGenerator[Backend]:
    """Open a closed store for the same scribe."""
    async with store.open() as backend:
        await scribe.reopened(backend)
        yield backend


def _told(error: BaseException) -> str:
    """What an error says; of a group, what its first leaf says."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, JournalContractError) else f"{type(error).__name__}: {error}"

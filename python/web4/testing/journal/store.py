"""What the contract suite has to know of the stores of a backend: how to open one, and what else can be done to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from web4.journal.backends.backend import Backend
    from web4.journal.lane import Lane

FailureKind = Literal["not_committed", "reply_lost", "unknown", "torn"]
"""How the next commits fail. `not_committed`: refused, nothing is there. The others raise `OutcomeUnknownError`:
`reply_lost` once everything was written, `unknown` before anything was, `torn` with unfinished bytes left behind."""
Column = Literal["header", "payload", "salt", "payload_hash", "hash"]


class Opens(Protocol):
    """Opens the store; again, once the last opening has ended."""

    def __call__(self, *, read_only: bool = False) -> AbstractAsyncContextManager[Backend]:
        """An opening of the store."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUnderTest:
    """One store of the backend under test, empty and never opened. Checks leave out what it has no ability for.

    Args:
        open: Opens it. The suite opens it again after closing it, and for reading while it is open.
        kill: Ends every opening as `kill -9` would: nothing of it writes afterwards, its locks are free, and its
            context manager can still be left.
        fail: Lets the next so many commits fail, in the way that is named.
        expire: Lets the leases of the present owners of all lanes run out (backends that are `shared`).
        damage: Flips a bit in one column of a stored record, behind the backend's back, while it is closed.
        holds: Whether bytes occur anywhere in the store's files.
    """

    open: Opens
    kill: Callable[[], Awaitable[None]] | None = None
    fail: Callable[[FailureKind, int], None] | None = None
    expire: Callable[[], Awaitable[None]] | None = None
    damage: Callable[[Lane, int, Column], Awaitable[None]] | None = None
    holds: Callable[[bytes], Awaitable[bool]] | None = None


StoreFactory = Callable[[], AbstractAsyncContextManager[StoreUnderTest]]
"""Makes a new store for each case, and takes it away again."""

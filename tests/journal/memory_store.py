"""A memory store under test, with every ability that the contract suite knows of."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from web4.journal.backends.memory import MemoryBackend, MemoryStore, ScriptedFaults, open_memory
from web4.testing.journal import StoreUnderTest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from web4.journal.backends.backend import Backend
    from web4.journal.lane import Lane
    from web4.testing.journal import Column, FailureKind, StoreFactory


def memory_factory(
    *, shared: bool = False, breaks: Callable[[MemoryBackend], Any] | None = None
) -> StoreFactory:
    """Stores in memory; `breaks` stands between each opening and the suite."""

    @asynccontextmanager
    async def make() -> AsyncGenerator[StoreUnderTest]:
        store, faults = MemoryStore(shared=shared), ScriptedFaults()

        @asynccontextmanager
        async def opened(*, read_only: bool = False) -> AsyncGenerator[Backend]:
            async with open_memory(store, read_only=read_only, faults=faults) as backend:
                yield backend if breaks is None else breaks(backend)

        def opens(*, read_only: bool = False) -> AbstractAsyncContextManager[Backend]:
            return opened(read_only=read_only)

        async def kill() -> None:
            store.kill()

        async def expire() -> None:
            store.expire()

        async def damage(lane: Lane, seq: int, column: Column) -> None:
            store.damage(lane, seq, column, at=7)

        async def holds(needle: bytes) -> bool:
            return store.holds(needle)

        def fail(kind: FailureKind, times: int) -> None:
            faults.plan("commit", kind, times=times)

        yield StoreUnderTest(open=opens, kill=kill, fail=fail, expire=expire, damage=damage, holds=holds)

    return make

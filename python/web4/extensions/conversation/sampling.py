"""One look at all workers of the host, every now and then: what they use, and what idle ones have to say (EXT-28)."""

from __future__ import annotations

import os
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from web4.worker.descendants import descendants

if TYPE_CHECKING:
    from web4.extensions.conversation.conversation import Conversation

PERIOD: Final = 0.1
"""Seconds between two looks."""
_SHARE: Final = 20
"""A look at a private directory that took a while is repeated after that many times as long."""
_ENTRY: Final = 4096
"""Bytes that an entry of a directory is charged with at least: empty files are not free."""


class Sampler:
    """Looks at every worker. The host holds one, and runs it as one task."""

    def __init__(self) -> None:
        self._watched: dict[Conversation, float] = {}
        """With the moment before which its directory is not looked at again."""

    def add(self, conversation: Conversation) -> None:
        """Look at a worker from now on."""
        self._watched[conversation] = -inf

    def discard(self, conversation: Conversation) -> None:
        """Look at it no more."""
        self._watched.pop(conversation, None)

    async def run(self) -> None:
        """Look, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_at_directories)
            while True:
                await trio.sleep(PERIOD)
                for conversation in list(self._watched):
                    if conversation.open_call is not None:
                        conversation.sample()
                    else:
                        conversation.attend()
                        await trio.lowlevel.checkpoint()

    async def _look_at_directories(self) -> None:
        """Beside the rest: a large directory of one worker puts off no look at another."""
        while True:
            await trio.sleep(PERIOD)
            for conversation, due in list(self._watched.items()):
                if conversation.open_call is not None and trio.current_time() >= due:
                    await self._look_at_directory(conversation)

    async def _look_at_directory(self, conversation: Conversation) -> None:
        call_id, limit = conversation.open_call, conversation.terms.tmp
        began = trio.current_time()
        over = await trio.to_thread.run_sync(
            exceeds, conversation.process.tmp, limit, conversation.process.pid
        )
        ended = trio.current_time()
        if conversation in self._watched:
            self._watched[conversation] = ended + (ended - began) * _SHARE
        if over and conversation.open_call == call_id:
            conversation.fail(
                "extension_disk_exceeded", f"its private directory holds more than {limit} bytes"
            )


def exceeds(directory: str, limit: int, pid: int | None = None) -> bool:
    """Whether a directory tree holds more than `limit` bytes on its disk. Follows no link; ends as soon as it does.

    What cannot be looked into counts as too much: only its owner can have made it so.

    Args:
        directory: To look at.
        limit: Bytes.
        pid: Whose open files count too, once they have no name any more; with those of its descendants.
    """
    total = 0 if pid is None else _nameless(directory, pid)
    if total > limit:
        return True
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    total += max(found.st_blocks * 512, _ENTRY)
                    if total > limit:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return True
    return False


def _nameless(directory: str, pid: int) -> int:
    """Bytes of files on the disk of `directory` that are deleted, and open in a process tree."""
    found: dict[int, int] = {}
    with suppress(OSError):
        device = os.stat(directory).st_dev  # noqa: PTH116 - strings, as above
        for one in (pid, *descendants(pid)):
            with suppress(OSError):
                for name in os.listdir(f"/proc/{one}/fd"):  # noqa: PTH208
                    with suppress(OSError):
                        file = os.stat(f"/proc/{one}/fd/{name}")  # noqa: PTH116
                        if file.st_nlink == 0 and file.st_dev == device:
                            found[file.st_ino] = file.st_blocks * 512
    return sum(found.values())

"""One look at all workers of the host, every now and then: what they use, and what idle ones have to say (EXT-28)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from web4.extensions.conversation import Conversation

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

    def add(self, conversation: Conversation) -> None:
        """Look at a worker from now on."""
        self._watched[conversation] = 0.0

    def discard(self, conversation: Conversation) -> None:
        """Look at it no more."""
        self._watched.pop(conversation, None)

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await trio.sleep(PERIOD)
            for conversation in list(self._watched):
                await self.look(conversation)

    async def look(self, conversation: Conversation) -> None:
        """Look at one worker now."""
        if conversation.open_call is None:
            conversation.attend()
            await trio.lowlevel.checkpoint()
            return
        conversation.sample()
        now = trio.current_time()
        if now < self._watched.get(conversation, 0.0):
            await trio.lowlevel.checkpoint()
            return
        call_id = conversation.open_call
        limit = conversation.terms.tmp
        over = await trio.to_thread.run_sync(exceeds, conversation.process.tmp, limit)
        after = trio.current_time()
        if conversation in self._watched:
            self._watched[conversation] = after + (after - now) * _SHARE
        if over and conversation.open_call == call_id:
            conversation.fail(
                "extension_disk_exceeded", f"its private directory holds more than {limit} bytes"
            )


def exceeds(directory: str, limit: int) -> bool:
    """Whether a directory tree holds more than `limit` bytes on its disk. Follows no link; ends as soon as it does.

    What cannot be looked into counts as too much: only its owner can have made it so.
    """
    total = 0
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

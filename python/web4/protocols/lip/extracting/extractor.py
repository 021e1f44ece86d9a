"""The node's side of the worker that reads bodies (FETCH-9): what goes in are bytes, what comes out is data."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import trio

from web4.extensions import open_extension_host, open_processes, read_provisional
from web4.extensions.errors import ExtensionError
from web4.foundation.events import no_events
from web4.protocols.lip.errors import FetchFailed, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.extensions import CallOutcome, EnabledExtension, ExtensionHost, Processes
    from web4.foundation.events import Emitter

DIRECTORY: Final = Path(__file__).with_name("web_reader")
"""The code of the worker. It is a part of this package, as trusted as the node's own modules; what it reads is not."""
NAME: Final = "web_reader"

Kind = Literal["html", "pdf", "text"]


class ReadPage(msgspec.Struct, frozen=True):
    """A body as text, and the kinds of personal data in it, where they were asked for."""

    text: str
    title: str
    personal_data: tuple[str, ...]


class RobotsAnswer(msgspec.Struct, frozen=True):
    """What a robots.txt says about one URI; `crawl_delay` in seconds, 0 when it asks for none."""

    allowed: bool
    crawl_delay: float


class Extractor:
    """Has bodies read. `open_extractor` makes it.

    Args:
        host: Runs the worker.
        name: Of the extension.
    """

    def __init__(self, host: ExtensionHost, name: str = NAME) -> None:
        self._host = host
        self._name = name

    async def read_page(
        self, body: bytes, kind: Kind, *, charset: str, find_personal_data: bool, limit: int, timeout_ms: int
    ) -> ReadPage:
        """Turn a body into text.

        Cancellation: the worker is told, and killed if it does not yield.

        Args:
            body: Decoded.
            kind: What it is.
            charset: As the answer named it; empty when it did not.
            find_personal_data: Whether to look for personal data (FETCH-2).
            limit: Bytes the text may have.
            timeout_ms: After that the worker is killed.

        Raises:
            TooLarge: The text is too long.
            FetchFailed: `unreadable`: the worker could not read it, or did not end in time.
        """
        arguments = {
            "body": body,
            "kind": kind,
            "charset": charset,
            "find_personal_data": find_personal_data,
            "limit": limit,
        }
        return msgspec.convert(await self._call("read_page", arguments, timeout_ms), ReadPage)

    async def read_robots(
        self, body: bytes, uri: str, agent: str, *, timeout_ms: int = 2_000
    ) -> RobotsAnswer:
        """Ask a robots.txt about a URI. Its patterns are not ours: matching them happens in the worker, too.

        Raises:
            FetchFailed: `unreadable`.
        """
        arguments = {"body": body, "uri": uri, "agent": agent}
        return msgspec.convert(await self._call("read_robots", arguments, timeout_ms), RobotsAnswer)

    async def _call(self, tool: str, arguments: dict[str, Any], timeout_ms: int) -> Any:
        outcome = await self._outcome(tool, arguments, timeout_ms)
        if outcome.code == "extension_quarantined":
            # What failed was the bodies, not the code: a hostile site must not keep others from being read.
            await self._host.reset(self._name, by="fetcher")
            outcome = await self._outcome(tool, arguments, timeout_ms)
        if outcome.outcome != "ok":
            reason = outcome.reason or ""
            if outcome.code == "extension_error" and reason.startswith("too_large"):
                raise TooLarge("the text of the body is too long", field="text")
            raise FetchFailed(f"the body could not be read ({outcome.code})", code="unreadable")
        return outcome.value

    async def _outcome(self, tool: str, arguments: dict[str, Any], timeout_ms: int) -> CallOutcome:
        try:
            return await self._host.call("tool", f"{self._name}.{tool}", arguments, timeout_ms=timeout_ms)
        except ExtensionError as error:
            raise FetchFailed(f"the body could not be read ({error.code})", code="unreadable") from None


@asynccontextmanager
async def open_extractor(
    processes: Processes | None = None,
    *,
    runtime: Path | None = None,
    directory: Path = DIRECTORY,
    emit: Emitter = no_events,
) -> AsyncIterator[Extractor]:
    """Run the worker for the time of the block.

    Args:
        processes: Starts workers; None to have processes of its own.
        runtime: Where these keep what they need while they run, see `open_processes`: what a killed run left there is
            removed by the next.
        directory: The worker's code: another only in tests.
        emit: Told what workers do.

    Raises:
        ExtensionError: The worker does not start.
    """
    extension: EnabledExtension = await trio.to_thread.run_sync(read_provisional, directory)
    async with AsyncExitStack() as stack:
        if processes is None:
            processes = await stack.enter_async_context(open_processes(runtime=runtime, emit=emit))
        host = await stack.enter_async_context(open_extension_host([extension], processes, emit=emit))
        yield Extractor(host, extension.manifest.name)

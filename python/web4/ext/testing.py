"""Runs an extension from a test (EXT-44): in a real worker, with the sandbox, the limits and the envelopes of a node.

Nothing has to be enabled, and nothing is recorded. It needs what a node needs: Linux, and the `web4` package.
"""

from __future__ import annotations

import re
import tempfile
from collections import deque
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import trio

from web4.extensions.conversation.call import IntentReply, UiReply
from web4.extensions.hosting.host import open_extension_host
from web4.extensions.hosting.options import HostOptions
from web4.extensions.hosting.provisional import read_provisional
from web4.extensions.processes import open_processes
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from web4.extensions.conversation.call import LogLine, ProgressUpdate, UiQuestion
    from web4.extensions.hooks.hook_answers import HookVerdict
    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.outcome import CallOutcome
    from web4.worker.frames import CallKind

KEPT: Final = 10_000
"""Of each sort, so many things are kept: log lines, progress, events."""
_NOWHERE: Final = CallContext()


class Emitted(NamedTuple):
    """An event of a workload's turn."""

    event_type: str
    payload: Any


class Telemetry(NamedTuple):
    """Something that the node tells of its workers: `worker_started`, `worker_exited` and so on (EXT-40)."""

    type: str
    fields: dict[str, Any]


class Harness:
    """One extension, running. Use it as an async context manager; at its end every worker is dead and reaped.

    ```python
    async with Harness(directory) as harness:
        assert await harness.value("search", {"query": "tea"}) == [...]
        await harness.failure("search", {"query": "hang"}, code="extension_timeout")
    ```

    What the extension says on the way is kept, oldest first, the last `KEPT` of each sort: `log`, `progress`,
    `emitted`, `intents`, `asked`, `telemetry`; and every outcome in `outcomes`.

    Args:
        directory: Holds the manifest.
        config: What the operator would have configured for it.
        answer: Answers a question to the person; None, or a function that returns None, refuses it.
        decide: Decides an intent of a workload; None accepts all.
        environment: Where the variables come from that the manifest lets through; None for those of this process.
        development: Whether it is loaded anew when its files change.
        without: Protections to do without, as on a machine that lacks them (EXT-32).

    Raises:
        ManifestError: On entering: it is no extension.
        TreeError: On entering: its directory cannot be read as a whole.
        WorkerStartError: On entering: its first worker does not become ready; a fault in its code shows here.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        config: dict[str, Any] | None = None,
        answer: Callable[[UiQuestion], UiReply | None] | None = None,
        decide: Callable[[Any], IntentReply] | None = None,
        environment: dict[str, str] | None = None,
        development: bool = False,
        without: tuple[str, ...] = (),
    ) -> None:
        self.directory = Path(directory)
        self._config = config or {}
        self._answer = answer
        self._decide = decide
        self._environment = environment
        self._development = development
        self._without = without
        self._stack = AsyncExitStack()
        self._host: ExtensionHost | None = None
        self.name = ""
        """The extension's, once entered."""
        self.log: deque[LogLine] = deque(maxlen=KEPT)
        self.progress: deque[ProgressUpdate] = deque(maxlen=KEPT)
        self.emitted: deque[Emitted] = deque(maxlen=KEPT)
        self.intents: deque[Any] = deque(maxlen=KEPT)
        self.asked: deque[UiQuestion] = deque(maxlen=KEPT)
        self.telemetry: deque[Telemetry] = deque(maxlen=KEPT)
        self.outcomes: deque[CallOutcome] = deque(maxlen=KEPT)

    # --- its life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        extension = await trio.to_thread.run_sync(self._read)
        self.name = extension.manifest.name
        async with AsyncExitStack() as stack:
            runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="web4-harness-"))
            processes = await stack.enter_async_context(
                open_processes(runtime=Path(runtime) / "run", emit=self._tell)
            )
            self._host = await stack.enter_async_context(
                open_extension_host(
                    [extension],
                    processes,
                    options=HostOptions(
                        config={self.name: self._config},
                        environment=self._environment,
                        without=self._without,
                        watch_ms=100,
                    ),
                    emit=self._tell,
                    on_log=self.log.append,
                )
            )
            await self._host.ready(self.name)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._host = None
        await self._stack.__aexit__(kind, error, trace)

    def _read(self) -> Any:
        return read_provisional(self.directory, development=self._development)

    @property
    def host(self) -> ExtensionHost:
        """What runs it, for whatever is not offered here.

        Raises:
            RuntimeError: The harness is not entered.
        """
        if self._host is None:
            raise RuntimeError("use the harness as an async context manager")
        return self._host

    # --- calls ------------------------------------------------------------------------------------------------

    async def call(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        kind: CallKind = "tool",
        context: CallContext = _NOWHERE,
        timeout_ms: int | None = None,
        idempotency_key: str | None = None,
    ) -> CallOutcome:
        """Call it as a node does. Whatever the extension does is in the envelope (EXT-26).

        Args:
            name: Of the tool, command, … or the point of a hook.
            arguments: Those; none, unless given.
            kind: What is called.
            context: Ids for the extension; its `session` is what `reuse = "session"` goes by.
            timeout_ms: A shorter limit than the manifest's.
            idempotency_key: With it, a lost call of an idempotent tool is made once more (EXT-23).

        Raises:
            CallError: Nothing was called: there is no such operation, or the arguments do not fit its schema.
            Exception: What `answer` or `decide` raised.
        """
        outcome = await self.host.call(
            kind,
            f"{self.name}.{name}",
            {} if arguments is None else arguments,
            context=context,
            timeout_ms=timeout_ms,
            idempotency_key=idempotency_key,
            on_progress=self.progress.append,
            ask=self._ask,
            on_emit=self._emitted,
            on_intent=self._intend,
        )
        self.outcomes.append(outcome)
        return outcome

    async def value(self, name: str, arguments: dict[str, Any] | None = None, **given: Any) -> Any:
        """The value of a call that has to succeed; see `call`.

        Raises:
            AssertionError: It failed; the message is its envelope.
        """
        outcome = await self.call(name, arguments, **given)
        if outcome.outcome != "ok":
            raise AssertionError(f"{outcome.operation} failed\n{_shown(outcome)}")
        return outcome.value

    async def failure(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        *,
        code: str,
        reason: str | None = None,
        **given: Any,
    ) -> CallOutcome:
        """The envelope of a call that has to fail; see `call`.

        Args:
            name: See `call`.
            arguments: See `call`.
            code: Of EXT-27.
            reason: A pattern that is found in the reason, which for `extension_error` begins with the extension's code.
            given: See `call`.

        Raises:
            AssertionError: It succeeded, or failed otherwise; the message is its envelope.
        """
        outcome = await self.call(name, arguments, **given)
        if outcome.code != code or (reason is not None and not re.search(reason, outcome.reason or "")):
            due = code if reason is None else f"{code} with {reason!r}"
            raise AssertionError(f"{outcome.operation} did not fail with {due}\n{_shown(outcome)}")
        return outcome

    async def ask(self, point: str, question: msgspec.Struct, context: CallContext = _NOWHERE) -> HookVerdict:
        """What its hook at a point makes of a question, fail mode included (EXT-10 to EXT-12).

        Raises:
            ValueError: There is no such point.
            TypeError: The question is not that point's; see `web4.ext.hooks.QUESTIONS`.
        """
        return await self.host.hooks.ask(point, question, context)

    async def reload(self) -> int:
        """Run what its files are now (EXT-39); the number of the generation that takes calls.

        Raises:
            ExtensionError: The new one does not start; the old one serves on.
        """
        return await self.host.reload(self.name)

    # --- what it says -----------------------------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        """The texts of its log, printed lines included."""
        return (line.text for line in self.log)

    async def _ask(self, question: UiQuestion) -> UiReply | None:
        self.asked.append(question)
        return None if self._answer is None else self._answer(question)

    async def _emitted(self, event_type: str, payload: Any) -> None:
        self.emitted.append(Emitted(event_type, payload))

    async def _intend(self, _intent_id: str, intent: Any) -> IntentReply:
        self.intents.append(intent)
        return IntentReply(ok=True) if self._decide is None else self._decide(intent)

    def _tell(self, type: str, /, **fields: Any) -> None:  # noqa: A002 - as an `Emitter` has it
        self.telemetry.append(Telemetry(type, fields))


def _shown(outcome: CallOutcome) -> str:
    """The envelope, a line for each key that says something."""
    told = msgspec.structs.asdict(outcome)
    return "\n".join(f"  {key}: {value}" for key, value in told.items() if value is not None)

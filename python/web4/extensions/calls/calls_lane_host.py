"""How a calling lane reaches the extension host, also while the host is not there yet (EXT-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from web4.extensions.calls.call_events import NOTHING, CallRequested
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from web4.extensions.calls.call_events import Kept
    from web4.extensions.conversation.call import Ask, OnProgress
    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.hosting.operations import Operation
    from web4.extensions.outcome import CallOutcome


class HostCalls:
    """Makes the calls of a lane through a host (a `PerformCall`).

    A node opens its lanes before its host, which asks lane `server` what is enabled; recovery may want calls performed
    again at once. They wait until the host is attached.
    """

    def __init__(self) -> None:
        self._host: ExtensionHost | None = None
        self._there = trio.Event()
        self._watchers: dict[str, tuple[OnProgress | None, Ask | None]] = {}

    def attach(self, host: ExtensionHost) -> None:
        """From now on calls go to this host."""
        self._host = host
        self._there.set()

    def watch(self, call_id: str, *, on_progress: OnProgress | None = None, ask: Ask | None = None) -> None:
        """Say who follows a call and answers its questions, before it is requested. Not durable: they are people."""
        self._watchers[call_id] = (on_progress, ask)

    def unwatch(self, call_id: str) -> None:
        """Nobody does any more."""
        self._watchers.pop(call_id, None)

    async def __call__(self, request: CallRequested, arguments: Any, /) -> CallOutcome:
        """See `PerformCall`."""
        await self._there.wait()
        assert self._host is not None
        on_progress, ask = self._watchers.get(request.call_id, (None, None))
        return await self._host.call(
            request.kind,
            f"{request.extension}.{request.name}",
            arguments,
            context=request.context,
            timeout_ms=request.timeout_ms,
            call_id=request.call_id,
            idempotency_key=request.idempotency_key,
            on_progress=on_progress,
            ask=ask,
        )


def request_for(
    operation: Operation,
    call_id: str,
    *,
    arguments: Kept = NOTHING,
    timeout_ms: int | None = None,
    idempotency_key: str | None = None,
    context: CallContext | None = None,
    command: str | None = None,
) -> CallRequested:
    """The request of a call of what a name stands for now (`ExtensionHost.operation`).

    Args:
        operation: What is called; whether it may be repeated after a crash is taken from it.
        call_id: Unique in the lane and in the node's life.
        arguments: Of `kept_values.kept`.
        timeout_ms: A shorter limit than the manifest's.
        idempotency_key: The call id, unless given.
        context: Where it comes from; unless given, the call id alone.
        command: The lane's command that it belongs to.
    """
    return CallRequested(
        call_id=call_id,
        extension=operation.extension,
        version=operation.version,
        kind=operation.kind,
        name=operation.name,
        arguments=arguments,
        timeout_ms=timeout_ms,
        idempotency_key=idempotency_key or call_id,
        idempotent=operation.idempotent,
        context=context or CallContext(call=call_id),
        command=command,
    )

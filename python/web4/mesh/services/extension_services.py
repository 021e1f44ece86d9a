"""Services that an extension does, in a worker that a timeout can kill (GRAPH-4, EXT-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from web4.extensions.errors import CallError
from web4.mesh.services.catalogue import Service
from web4.mesh.services.errors import ServiceRefusal
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from typing import Literal

    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.outcome import CallOutcome
    from web4.mesh.services.catalogue import ServiceCall

_REFUSED: Final = frozenset({"extension_busy", "extension_quarantined", "extension_changed"})


class ExtensionServiceError(Exception):
    """A call of an extension did not end well. The message is its code; what the extension said does not leave."""


def extension_service(
    host: ExtensionHost,
    operation: str,
    *,
    version: str,
    name: str | None = None,
    kind: Literal["service", "tool", "command"] = "service",
    output_schema: dict[str, Any] | None = None,
    min_trust: Literal["probing", "trusted"] = "trusted",
) -> Service:
    """Offer an operation of an enabled extension as a service of this node.

    What goes in is held against the manifest's input schema by the catalogue, and again by the host. A value that is no
    object comes as `{"value": ...}`. Cancelled, or past its deadline, the worker is told, and killed if it does not
    yield (EXT-19).

    Args:
        host: Runs the extension.
        operation: `<extension>.<name>`.
        version: Of the service; not of the extension, whose interface may stay while it changes.
        name: Of the service; the operation's full name when left out.
        kind: What it is in the manifest.
        output_schema: What the result fits. The host holds a tool's value against the manifest's own besides.
        min_trust: How far a caller has to be trusted.

    Raises:
        CallError: `unknown_operation`.
    """
    found = host.operation(kind, operation)

    async def handler(call: ServiceCall) -> dict[str, Any]:
        context = CallContext()
        try:
            outcome: CallOutcome = await host.call(
                kind, operation, call.args, context=context, idempotency_key=call.key
            )
        except CallError as error:
            raise ServiceRefusal(error.code) from None
        if outcome.outcome == "ok":
            return outcome.value if isinstance(outcome.value, dict) else {"value": outcome.value}
        if outcome.code in _REFUSED:
            raise ServiceRefusal(outcome.code or "refused")
        raise ExtensionServiceError(outcome.code)

    schemas: dict[str, Any] = {}
    if found.input_schema is not None:
        schemas["input_schema"] = found.input_schema
    if output_schema is not None:
        schemas["output_schema"] = output_schema
    return Service(
        name=name or found.full_name,
        version=version,
        handler=handler,
        min_trust=min_trust,
        idempotent=found.idempotent,
        **schemas,
    )

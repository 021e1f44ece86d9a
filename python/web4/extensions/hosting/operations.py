"""What can be called, and under which names (EXT-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.extensions.conversation.values import unfit_argument
from web4.extensions.errors import CallError
from web4.extensions.manifests.manifest import Hook, Manifest, Tool
from web4.extensions.manifests.schemas import compile_schema
from web4.worker.frames import KINDS, CallKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from web4.extensions.hosting.generation import Generation
    from web4.extensions.manifests.schemas import Schema

_NAMED: Final = 5
"""Names that an error gives."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an extension does when it is called; as its manifest has it, defaults filled in.

    Args:
        extension: Its extension's name.
        version: Of the extension.
        generation: Of the extension: which of its reloads.
        kind: See EXT-9.
        name: Without the extension's; of a hook, its point.
        description: For people and models.
        input_schema: What arguments have to fit; None when they are not checked.
        output_schema: What a tool's value has to fit.
        timeout_ms: The limit of one call.
        idempotent: Whether doing it twice is doing it once (EXT-23).
        cancellable: Whether it is told of a cancellation (EXT-19).
        cancel_safe: Whether a cancelled call left nothing half done.
        permissions: What it needs to be permitted (AGT-29).
        high_risk: Whether it calls itself so (AGT-29).
    """

    extension: str
    version: str
    generation: int
    kind: CallKind
    name: str
    description: str
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    timeout_ms: int
    idempotent: bool = False
    cancellable: bool = True
    cancel_safe: bool = False
    permissions: tuple[str, ...] = ()
    high_risk: bool = False

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous."""
        return f"{self.extension}.{self.name}"


def operations_of(manifest: Manifest, generation: int) -> Iterator[Operation]:
    """Everything that an extension can be called for."""
    for kind in KINDS:
        parts = manifest.hooks if kind == "hook" else getattr(manifest, f"{kind}s")
        for part in parts:
            name = part.point if isinstance(part, Hook) else part.name
            tool = part if isinstance(part, Tool) else None
            yield Operation(
                extension=manifest.name,
                version=manifest.version,
                generation=generation,
                kind=kind,
                name=name,
                description="" if isinstance(part, Hook) else part.description,
                input_schema=None if isinstance(part, Hook) else part.input_schema,
                output_schema=tool.output_schema if tool else None,
                timeout_ms=manifest.timeout_ms(kind, name),
                idempotent=tool.idempotent if tool else False,
                cancellable=tool.cancellable if tool else True,
                cancel_safe=tool.cancel_safe if tool else False,
                permissions=tool.permissions if tool else (),
                high_risk=tool.high_risk if tool else False,
            )


class Route:
    """Where a call goes: an operation of one generation, ready to be called."""

    __slots__ = ("generation", "operation", "schema")

    def __init__(self, operation: Operation, generation: Generation) -> None:
        self.operation = operation
        self.generation = generation
        self.schema: Schema | None = None
        if operation.input_schema is not None:
            field = f"{operation.kind}s.{operation.name}.input_schema"
            self.schema = compile_schema(operation.input_schema, field=field)

    def check(self, arguments: Any) -> None:
        """Hold arguments against the protocol and the input schema.

        Raises:
            CallError: `arguments`; `field` is the JSON pointer of the first thing that does not fit the schema.
        """
        unfit = unfit_argument(arguments)
        if unfit is not None:
            raise CallError(f"{self.operation.full_name}: {unfit} cannot be an argument", code="arguments")
        misfit = None if self.schema is None else self.schema.misfit(arguments)
        if misfit is not None:
            raise CallError(
                f"{self.operation.full_name}: expected {misfit.expected}, got {misfit.found}",
                code="arguments",
                field=misfit.pointer or "/",
            )


class Names:
    """Every name that something goes by. Immutable: a reload makes another one.

    Args:
        routes: Of all generations that take calls, one of each extension.
    """

    __slots__ = ("_ambiguous", "_routes", "generations")

    def __init__(self, generations: Iterable[Generation]) -> None:
        self.generations = {one.name: one for one in generations}
        found: dict[tuple[str, str], list[Route]] = {}
        full: set[tuple[str, str]] = set()
        for generation in self.generations.values():
            for route in generation.routes:
                operation = route.operation
                full.add((operation.kind, operation.full_name))
                for name in (operation.name, operation.full_name):
                    found.setdefault((operation.kind, name), []).append(route)
        self._routes: dict[tuple[str, str], Route] = {}
        self._ambiguous: dict[tuple[str, str], list[str]] = {}
        for key, routes in found.items():
            # A full name is never taken from its owner by a short one that looks like it.
            owners = [one for one in routes if one.operation.full_name == key[1]] if key in full else routes
            if len(owners) == 1:
                self._routes[key] = owners[0]
            else:
                self._ambiguous[key] = sorted(one.operation.full_name for one in owners)

    def find(self, kind: str, name: str) -> Route:
        """The one that goes by this name.

        Raises:
            CallError: `unknown_operation`: there is none, or more than one.
        """
        route = self._routes.get((kind, name))
        if route is None:
            raise self._unknown(kind, name)
        return route

    def operations(self) -> list[Operation]:
        """All of them, by kind and full name."""
        found = [route.operation for one in self.generations.values() for route in one.routes]
        return sorted(found, key=lambda one: (KINDS.index(one.kind), one.full_name))

    def _unknown(self, kind: str, name: str) -> CallError:
        shown = name[:128] if name.isprintable() else repr(name[:128])
        several = self._ambiguous.get((kind, name))
        if several is not None:
            message = f"{shown} may be {', '.join(several[:_NAMED])}: say which"
        else:
            message = f"no enabled extension has a {kind} {shown}"
        return CallError(message, code="unknown_operation")

"""What an extension offers: functions, marked by decorators (EXT-43)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from web4.ext.failures import DeclarationError
from web4.ext.hooks import QUESTIONS
from web4.ext.operations import Operation
from web4.worker.frames import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from web4.worker.frames import CallKind

Handler = TypeVar("Handler", bound="Callable[..., Any]")

_EXTENSION_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_PART_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Extension:
    """An extension written in Python. One object of it stands in a module; the manifest's `entry.python` names it.

    Handlers are plain or async functions. Their first parameter is the `Context`, if it is called `ctx` or annotated
    so; the others are the arguments, converted into their annotations (dataclasses, TypedDicts and msgspec structs
    included) before the handler runs. Async handlers run under Trio.

    Args:
        name: As in the manifest.

    Raises:
        DeclarationError: The name is none.
    """

    def __init__(self, name: str) -> None:
        if not _EXTENSION_NAME.fullmatch(name):
            raise DeclarationError(f"{name!r} is no name of an extension: {_EXTENSION_NAME.pattern}")
        self.name = name
        self._operations: dict[tuple[str, str], Operation] = {}

    def __repr__(self) -> str:
        return f"<Extension {self.name}: {len(self._operations)} operations>"

    # --- decorators -------------------------------------------------------------------------------------------

    @overload
    def tool(self, function: Handler, /) -> Handler: ...
    @overload
    def tool(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
        idempotent: bool = False,
        cancellable: bool = True,
        cancel_safe: bool = False,
        permissions: Sequence[str] = (),
        high_risk: bool = False,
    ) -> Callable[[Handler], Handler]: ...
    def tool(
        self,
        function: Handler | None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
        idempotent: bool = False,
        cancellable: bool = True,
        cancel_safe: bool = False,
        permissions: Sequence[str] = (),
        high_risk: bool = False,
    ) -> Handler | Callable[[Handler], Handler]:
        """A tool, offered to models. Its return annotation becomes the schema that every result is held to (EXT-17).

        Args:
            function: When it stands without parentheses.
            name: The function's own, unless named.
            description: The docstring, its sections left out, unless given.
            timeout_ms: Its limit.
            idempotent: Whether doing it twice is as doing it once, so that the node may try again (EXT-23).
            cancellable: Whether it is told when it is to stop (EXT-19).
            cancel_safe: Whether its result counts although the turn was cancelled (TURN-13).
            permissions: What it needs, of AGT-29.
            high_risk: Whether a person has to approve it.
        """
        options = _given(
            description=description,
            timeout_ms=timeout_ms,
            idempotent=idempotent or None,
            cancellable=None if cancellable else False,
            cancel_safe=cancel_safe or None,
            permissions=list(permissions) or None,
            high_risk=high_risk or None,
        )
        return self._decorator("tool", name, options, function)

    @overload
    def command(self, function: Handler, /) -> Handler: ...
    @overload
    def command(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
    ) -> Callable[[Handler], Handler]: ...
    def command(
        self,
        function: Handler | None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
    ) -> Handler | Callable[[Handler], Handler]:
        """A command, invoked by a client; it answers an object. For the arguments see `tool`."""
        return self._decorator(
            "command", name, _given(description=description, timeout_ms=timeout_ms), function
        )

    @overload
    def service(self, function: Handler, /) -> Handler: ...
    @overload
    def service(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
        version: str | None = None,
    ) -> Callable[[Handler], Handler]: ...
    def service(
        self,
        function: Handler | None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
        version: str | None = None,
    ) -> Handler | Callable[[Handler], Handler]:
        """A service of the mesh. For the arguments see `tool`."""
        return self._decorator(
            "service", name, _given(description=description, timeout_ms=timeout_ms, version=version), function
        )

    @overload
    def workload(self, function: Handler, /) -> Handler: ...
    @overload
    def workload(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
        version: str | None = None,
    ) -> Callable[[Handler], Handler]: ...
    def workload(
        self,
        function: Handler | None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
        version: str | None = None,
    ) -> Handler | Callable[[Handler], Handler]:
        """The work of a streamed turn. It takes the envelope of TURN-20 as one value and emits as it goes."""
        return self._decorator(
            "workload",
            name,
            _given(description=description, timeout_ms=timeout_ms, version=version),
            function,
        )

    @overload
    def rule(self, function: Handler, /) -> Handler: ...
    @overload
    def rule(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
        version: str | None = None,
    ) -> Callable[[Handler], Handler]: ...
    def rule(
        self,
        function: Handler | None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_ms: int | None = None,
        version: str | None = None,
    ) -> Handler | Callable[[Handler], Handler]:
        """A judge of commits: it takes a `Commit` and answers a list of `Issue`, empty when it has no objection."""
        return self._decorator(
            "rule", name, _given(description=description, timeout_ms=timeout_ms, version=version), function
        )

    def hook(
        self,
        point: str,
        *,
        fail: Literal["open", "closed"] | None = None,
        order: int = 0,
        timeout_ms: int | None = None,
        tools: Sequence[str] = (),
        rewrites: bool | None = None,
    ) -> Callable[[Handler], Handler]:
        """A hook at one point. What it is asked and may answer stands in `web4.ext.hooks`.

        Args:
            point: Of EXT-10.
            fail: What its failure means (EXT-12); None is the point's own.
            order: Hooks run by it, lowest first.
            timeout_ms: Its limit.
            tools: Shell-style patterns; the hook is asked about these only. For the points of tools.
            rewrites: Whether it may rewrite arguments; None looks for `Rewrite` in the return annotation.

        Raises:
            DeclarationError: There is no such point, or it has a hook already.
        """
        if point not in QUESTIONS:
            raise DeclarationError(f"there is no hook point {point!r}; there are {', '.join(QUESTIONS)}")
        options = _given(
            fail=fail,
            order=order or None,
            timeout_ms=timeout_ms,
            tools=list(tools) or None,
            rewrites=rewrites,
        )
        return lambda function: self._add("hook", point, function, options)

    def _decorator(
        self, kind: CallKind, name: str | None, options: dict[str, Any], function: Handler | None
    ) -> Handler | Callable[[Handler], Handler]:
        def add(one: Handler) -> Handler:
            return self._add(kind, name or one.__name__, one, options)

        return add if function is None else add(function)

    def _add(self, kind: CallKind, name: str, function: Handler, options: dict[str, Any]) -> Handler:
        if kind != "hook" and not _PART_NAME.fullmatch(name):
            raise DeclarationError(f"{name!r} is no name of a {kind}: {_PART_NAME.pattern}")
        if not callable(function):
            raise DeclarationError(f"{kind} {name!r} is no function")
        if (kind, name) in self._operations:
            raise DeclarationError(f"there is a {kind} {name!r} already")
        self._operations[kind, name] = Operation(kind, name, function, options)
        return function

    # --- what was declared ------------------------------------------------------------------------------------

    def operations(self, kind: CallKind | None = None) -> list[Operation]:
        """All operations, or those of one kind, in the order of their declaration."""
        return [one for one in self._operations.values() if kind is None or one.kind == kind]

    def names(self, kind: CallKind) -> list[str]:
        """The names of one kind, as `ready` tells them; of hooks, the points."""
        return [one.name for one in self.operations(kind)]

    def describe(self) -> dict[str, list[dict[str, Any]]]:
        """The parts of the manifest that follow from the code: `tools`, `commands`, `hooks` and so on (EXT-43).

        Keys with their default values are left out, kinds without an operation too.

        Raises:
            DeclarationError: An operation lacks a description, or a type of its signature has no schema.
        """
        parts = {f"{kind}s": [one.describe() for one in self.operations(kind)] for kind in KINDS}
        return {kind: entries for kind, entries in parts.items() if entries}


def _given(**options: Any) -> dict[str, Any]:
    """What differs from the manifest's defaults, which are not written."""
    return {key: value for key, value in options.items() if value is not None}

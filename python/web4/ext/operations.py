"""A function of an extension as the node sees it: its schemas, and how it is called (EXT-43)."""

from __future__ import annotations

import copy
import functools
import inspect
import typing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from web4.ext.context import Context
from web4.ext.failures import DeclarationError, Failure
from web4.ext.hooks import ANSWERS, QUESTIONS, Rewrite
from web4.ext.rules import Commit, Issue
from web4.ext.schemas import schema_of, split_docstring
from web4.ext.values import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.worker.frames import CallKind

_UNNAMED: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_WHOLE: Final = frozenset({"hook", "workload", "rule"})
"""Kinds whose handler takes what it is given as one value: the node decides its keys, not the extension."""


class _Parameters(NamedTuple):
    """How arguments become those of a function."""

    type: Any  # a struct of the parameters, or the type of the one value
    whole: bool
    positional: int  # how many are given by position
    keywords: tuple[str, ...]


class Operation:
    """One tool, command, hook, workload, service or rule.

    Args:
        kind: Which of them.
        name: Its name; of a hook, the point.
        function: Plain or async. Its first parameter is the `Context`, if it is called `ctx` or annotated so.
        options: What stands in its entry of the manifest beside what follows from the function.
    """

    def __init__(
        self, kind: CallKind, name: str, function: Callable[..., Any], options: dict[str, Any]
    ) -> None:
        self.kind = kind
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self._options = options

    def __repr__(self) -> str:
        return f"<{self.kind}:{self.name}>"

    # --- from types -------------------------------------------------------------------------------------------

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The resolved annotations. Late, so that they may name what the module defines further down."""
        try:
            return typing.get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise DeclarationError(
                f"{self!r}: its annotations do not resolve at run time ({error}); import what they name"
            ) from None

    @functools.cached_property
    def takes_context(self) -> bool:
        """Whether the first parameter is the context."""
        first = next(iter(inspect.signature(self.function).parameters.values()), None)
        if first is None:
            return False
        return self.hints.get(first.name) is Context or (first.name == "ctx" and "ctx" not in self.hints)

    @functools.cached_property
    def parameters(self) -> _Parameters:
        """What it takes, the context aside."""
        given = list(inspect.signature(self.function).parameters.values())[self.takes_context :]
        if any(one.kind in _UNNAMED for one in given):
            raise DeclarationError(f"{self!r}: a schema has no place for * and ** parameters")
        if self.kind in _WHOLE:
            if len(given) > 1 or any(one.kind is one.KEYWORD_ONLY for one in given):
                raise DeclarationError(f"{self!r} takes its context and one value")
            if not given:
                return _Parameters(None, True, 0, ())
            usual = QUESTIONS[self.name] if self.kind == "hook" else Commit if self.kind == "rule" else Any
            return _Parameters(self.hints.get(given[0].name, usual), True, 1, ())
        keywords = tuple(one.name for one in given if one.kind is one.KEYWORD_ONLY)
        return _Parameters(self._struct(given), False, len(given) - len(keywords), keywords)

    def _struct(self, given: list[inspect.Parameter]) -> type[msgspec.Struct]:
        told = split_docstring(inspect.getdoc(self.function))[1]
        fields: list[Any] = []
        for one in given:
            kind = self.hints.get(one.name, Any)
            if kind is Context:
                raise DeclarationError(f"{self!r}: the context is the first parameter")
            if one.name in told:
                kind = typing.Annotated[kind, msgspec.Meta(description=told[one.name])]
            if one.default is one.empty:
                fields.append((one.name, kind))
            elif isinstance(one.default, list | dict | set):
                made = functools.partial(copy.deepcopy, one.default)
                fields.append((one.name, kind, msgspec.field(default_factory=made)))
            else:
                fields.append((one.name, kind, one.default))
        try:
            return msgspec.defstruct(self.name, fields, kw_only=True, forbid_unknown_fields=True)
        except (TypeError, ValueError) as error:
            raise DeclarationError(f"{self!r}: {error}") from None

    def describe(self) -> dict[str, Any]:
        """Its entry in the manifest (EXT-5, EXT-43).

        Raises:
            DeclarationError: It has no description, or its types no schema.
        """
        told = dict(self._options)
        if self.kind == "hook":
            rewrites = told.pop("rewrites", None)
            if rewrites is None:
                answer = self.hints.get("return")
                rewrites = answer is Rewrite or Rewrite in typing.get_args(answer)
            return {"point": self.name} | told | ({"rewrites": True} if rewrites else {})
        description = told.pop("description", None) or split_docstring(inspect.getdoc(self.function))[0]
        if not description:
            raise DeclarationError(f"{self!r} has no description: give its function a docstring")
        entry: dict[str, Any] = {"name": self.name, "description": description}
        if self.kind in _WHOLE:
            schema = None if self.parameters.type in (None, Commit) else schema_of(self.parameters.type)
        else:
            schema = self._schema_of_parameters()
            # The struct's own docstring would be that of every struct.
            assert schema is not None
            schema.pop("description", None)
        if schema is not None:
            entry["input_schema"] = schema
        answer = self.hints.get("return", Any)
        if self.kind == "tool" and answer is not Any:
            entry["output_schema"] = self._schema("what it returns", answer)
        return entry | told

    def _schema_of_parameters(self) -> dict[str, Any] | None:
        try:
            return schema_of(self.parameters.type)
        except DeclarationError:
            for one in msgspec.structs.fields(self.parameters.type):  # which of them
                self._schema(f"its parameter {one.name}", one.type)
            raise

    def _schema(self, what: str, kind: Any) -> dict[str, Any] | None:
        try:
            return schema_of(kind)
        except DeclarationError as error:
            raise DeclarationError(
                f"{self!r}: {what}: {error}; take numbers, texts, lists, dataclasses, TypedDicts, msgspec structs"
            ) from None

    # --- calling ----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Work out now what the first call would have to.

        Raises:
            DeclarationError: As `describe`.
        """
        self.bind = self._binder()

    def _binder(self) -> Callable[[Context, Any], Any]:
        """The way from what came to the function's return: a coroutine, if it is async."""
        function, takes_context = self.function, self.takes_context
        kind, whole, positional, keywords = self.parameters
        convert, flat = msgspec.convert, msgspec.structs.astuple

        def bind(context: Context, arguments: Any) -> Any:
            try:
                if whole:
                    values: tuple[Any, ...] = (convert(arguments, kind),) if positional else ()
                else:
                    values = flat(convert(arguments, kind))
            except (msgspec.ValidationError, RecursionError) as error:
                raise Failure("arguments", str(error), side_effects=False) from None
            if takes_context:
                values = (context, *values)
            if not keywords:
                return function(*values)
            split = positional + takes_context
            return function(*values[:split], **dict(zip(keywords, values[split:], strict=True)))

        return bind

    def value(self, returned: Any) -> Any:
        """What the function returned, as the protocol carries it.

        Raises:
            Failure: It is nothing that this kind of operation may answer; code `result`.
        """
        try:
            returned = plain(returned)
        except ValueError as error:
            raise Failure("result", f"what it returned cannot be sent: {error}") from None
        if self.kind == "tool":
            return returned  # the node has its schema (EXT-17)
        expected = ANSWERS[self.name] if self.kind == "hook" else _EXPECTED.get(self.kind, Any)
        if expected is not Any:
            try:
                msgspec.convert(returned, expected)
            except msgspec.ValidationError as error:
                raise Failure("result", f"a {self.kind} may not answer this: {error}") from None
        return returned


_EXPECTED: Final[dict[str, Any]] = {"command": dict[str, Any], "rule": list[Issue]}

"""Schemas from types (EXT-43): what the manifest says of a function."""

from __future__ import annotations

import datetime  # noqa: TC003 - resolved at run time
import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import jsonschema
import msgspec
import pytest

from web4.ext import Allow, Context, DeclarationError, Extension, Rewrite, ToolCall
from web4.ext.schemas import schema_of, split_docstring
from web4.extensions.manifests.manifest import Hook, Part, Tool


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Hit:
    title: str
    when: datetime.datetime
    tags: list[str] = field(default_factory=list)


class Tree(msgspec.Struct):
    name: str
    children: list[Tree] = []


class Query(TypedDict, total=False):
    text: str
    limit: int


class Looks(msgspec.Struct):
    """Holds what looks like a schema."""

    value: dict[str, Any] = {}
    default: Literal["properties"] = "properties"


def described(function: Any, **options: Any) -> dict[str, Any]:
    ext = Extension("acme.test")
    ext.tool(**options)(function)
    (entry,) = ext.describe()["tools"]
    return entry


def test_ext_43_a_function_becomes_an_entry_of_the_manifest() -> None:
    def search(
        ctx: Context,
        query: str,
        limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10,
        *,
        colour: Colour = Colour.RED,
    ) -> list[Hit]:
        """Search the notes,
        all of them.

        Slowly.

        Args:
            query: What is looked for,
                in any language.
            limit (int): How many at most.

        Returns:
            Hits.
        """
        return []

    entry = described(search, timeout_ms=5_000, idempotent=True, cancellable=False, permissions=["shell"])
    output = entry.pop("output_schema")
    assert entry == {
        "name": "search",
        "description": "Search the notes, all of them.\n\nSlowly.",
        "input_schema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What is looked for, in any language."},
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 100,
                    "default": 10,
                    "description": "How many at most.",
                },
                "colour": {"$ref": "#/$defs/Colour", "default": "red"},
            },
            "required": ["query"],
            "additionalProperties": False,
            "$defs": {"Colour": {"enum": ["blue", "red"]}},
        },
        "timeout_ms": 5_000,
        "idempotent": True,
        "cancellable": False,
        "permissions": ["shell"],
    }
    assert output["items"] == {"$ref": "#/$defs/Hit"}
    assert output["$defs"]["Hit"]["additionalProperties"] is False
    # It is what a manifest takes, and what a validator takes.
    msgspec.convert(entry | {"output_schema": output}, Tool)
    for schema in (entry["input_schema"], output):
        jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(entry["input_schema"])
    assert check.is_valid({"query": "a", "limit": 3, "colour": "blue"})
    for bad in ({}, {"query": 1}, {"query": "a", "limit": 0}, {"query": "a", "limt": 1}):
        assert not check.is_valid(bad), bad


def test_ext_43_types_of_every_sort_have_schemas_that_refuse_what_they_do_not_name() -> None:
    assert schema_of(Any) is None
    assert schema_of(None) == {"type": "null"}
    assert schema_of(dict[str, int]) == {"type": "object", "additionalProperties": {"type": "integer"}}
    query = schema_of(Query)
    assert query is not None
    assert query["additionalProperties"] is False
    assert "required" not in query
    tree = schema_of(Tree)
    assert tree is not None
    jsonschema.validate({"name": "a", "children": [{"name": "b"}]}, tree)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "a", "children": [{"name": "b", "nmae": ""}]}, tree)
    looks = schema_of(Looks)
    assert looks is not None
    jsonschema.validate({"value": {"properties": {"a": 1}, "title": "b"}}, looks)


def test_ext_43_what_has_no_schema_is_refused_by_name() -> None:
    class Odd:
        pass

    def odd(thing: Odd) -> None:
        """Odd."""

    def starred(*things: str) -> None:
        """Starred."""

    def late(ctx: Context, again: Context) -> None:
        """Late."""

    def silent(a: int) -> None: ...

    def unresolved(a: NoSuchType) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Unresolved."""

    odd.__annotations__["thing"] = Odd
    for function, said in (
        (odd, "Odd"),
        (starred, r"\*"),
        (late, "first parameter"),
        (silent, "docstring"),
        (unresolved, "NoSuchType"),
    ):
        with pytest.raises(DeclarationError, match=said):
            described(function)


def test_ext_43_the_context_is_the_first_parameter_by_name_or_by_type_or_not_at_all() -> None:
    def by_name(ctx, a: int) -> None:  # type: ignore[no-untyped-def]
        """Named."""

    def by_type(call: Context, a: int) -> None:
        """Typed."""

    def without(a: int) -> None:
        """Without."""

    for function in (by_name, by_type, without):
        assert list(described(function)["input_schema"]["properties"]) == ["a"]


def test_ext_43_hooks_and_other_parts_fit_the_manifest() -> None:
    ext = Extension("acme.test")

    @ext.hook("tool_call", fail="open", tools=["run_*"], order=3, timeout_ms=100)
    def guard(ctx: Context, call: ToolCall) -> Allow | Rewrite:
        return Allow()

    @ext.hook("run_start")
    def nothing() -> None: ...

    @ext.command(description="Says something.", timeout_ms=10)
    def say() -> dict[str, int]:
        return {}

    @ext.rule(version="2.0.0")
    def judge(commit: Any) -> list[Any]:
        """Judge."""
        return []

    parts = ext.describe()
    assert parts["hooks"] == [
        {
            "point": "tool_call",
            "fail": "open",
            "order": 3,
            "timeout_ms": 100,
            "tools": ["run_*"],
            "rewrites": True,
        },
        {"point": "run_start"},
    ]
    for entry in parts["hooks"]:
        msgspec.convert(entry, Hook)
    for kind in ("commands", "rules"):
        for entry in parts[kind]:
            msgspec.convert(entry, Part)
    assert set(parts) == {"hooks", "commands", "rules"}
    assert parts["rules"] == [{"name": "judge", "description": "Judge.", "version": "2.0.0"}]


def test_ext_5_names_that_are_none_and_names_twice_are_refused() -> None:
    for name in ("", "Acme", "1a", "a" * 65, "a b", "ä"):
        with pytest.raises(DeclarationError):
            Extension(name)
    ext = Extension("acme.test")
    ext.tool(name="same")(schema_of)
    with pytest.raises(DeclarationError, match="already"):
        ext.tool(name="same")(schema_of)
    with pytest.raises(DeclarationError, match="no name"):
        ext.tool(name="no name")(schema_of)
    with pytest.raises(DeclarationError, match="no hook point"):
        ext.hook("before_breakfast")
    ext.hook("input")(schema_of)
    with pytest.raises(DeclarationError, match="already"):
        ext.hook("input")(schema_of)


def test_ext_43_docstrings_of_every_shape() -> None:
    assert split_docstring(None) == ("", {})
    assert split_docstring(
        "One.\n\nArgs:\n    a: First.\n    *rest: All\n        the rest.\n\nReturns:\n    x: no."
    ) == (
        "One.",
        {"a": "First.", "rest": "All the rest."},
    )
    assert split_docstring("Notes: no section.\n\n\n\nTwo.") == ("Notes: no section.\n\nTwo.", {})

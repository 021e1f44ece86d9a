"""Schemas: compiled once, bounded in what they can cost, never fetched (EXT-17)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.extensions.conversing import manifest
from web4.extensions.conversation.terms import Terms
from web4.extensions.conversation.values import MAX_DEPTH
from web4.extensions.errors import ManifestError
from web4.extensions.manifests.schema_cost import deepest
from web4.extensions.manifests.schemas import compile_schema


def _doubling(times: int) -> dict[str, Any]:
    """A schema that applies 2 ** times others to any value."""
    steps: dict[str, Any] = {
        f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(times)
    }
    return {"$defs": steps | {f"d{times}": {"type": "null"}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "other.json#/x"},
        {"properties": {"a": {"items": [{"$dynamicRef": "http://example.org"}]}}},
        {"$ref": "#/$defs/missing"},
        {"pattern": "("},
        {"required": "a"},
        {"minimum": "1"},
        {"properties": []},
        {"$schema": "https://example.org/own-dialect"},
        _doubling(40),
        {"allOf": [{"$id": "https://example.org/x"}]},
        {
            "$defs": {f"d{n}": {} for n in range(3000)},
            "allOf": [{"$ref": f"#/$defs/d{n}"} for n in range(3000)],
        },
        {"pattern": "(a+)+(?=b)" + "(x{1000}){1000}"},
    ],
)
def test_schemas_that_are_none(schema: dict[str, Any]) -> None:
    """Refused where the manifest is read, naming the field; nothing is fetched."""
    with pytest.raises(ManifestError) as caught:
        compile_schema(schema, field="tools.x.output_schema")
    assert caught.value.field == "tools.x.output_schema"


def test_a_schema_refers_within_itself() -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    ready = compile_schema(schema, field="x")
    assert ready.complaint({"a": 1}) is None
    assert ready.complaint({"a": "the secret"}) == "a breaks $defs/n/type"


def test_a_schema_that_doubles_with_every_level_checks_what_it_can() -> None:
    inner = {"$ref": "#/$defs/a"}
    branches = [{"items": inner, "type": "array"}, {"items": inner, "type": "array", "minItems": 1}]
    ready = compile_schema({"$defs": {"a": {"oneOf": [{"type": "null"}, *branches]}}, **inner}, field="x")
    assert ready.complaint(None) is None
    assert ready.complaint([[1]]) is not None
    deep: Any = None
    for _ in range(40):
        deep = [deep]
    assert "deeper" in str(ready.complaint(deep))


def test_recursive_schemas_in_common_use_are_fine() -> None:
    any_value = {
        "$defs": {
            "v": {
                "anyOf": [
                    {"type": ["null", "boolean", "number", "string"]},
                    {"type": "array", "items": {"$ref": "#/$defs/v"}},
                    {"type": "object", "additionalProperties": {"$ref": "#/$defs/v"}},
                ]
            },
            "tree": {"properties": {"left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}}},
        },
        "$ref": "#/$defs/v",
    }
    assert deepest(any_value) == MAX_DEPTH
    assert deepest(any_value | {"$ref": "#/$defs/tree"}) == MAX_DEPTH
    assert deepest({"allOf": [{"$ref": "#"}]}) == MAX_DEPTH


def test_a_schema_looks_at_bytes_and_deep_values() -> None:
    ready = compile_schema({"type": "object"}, field="x")
    assert ready.complaint({"a": b"\xff"}) is None or "checked" in str(ready.complaint({"a": b"\xff"}))
    assert ready.complaint(b"") is not None


def test_a_pattern_cannot_keep_the_node_busy() -> None:
    ready = compile_schema({"pattern": "^(a+)+$"}, field="x")
    assert ready.complaint("a" * 50_000 + "b") is not None


def test_terms_refuse_a_bad_output_schema() -> None:
    with pytest.raises(ManifestError) as caught:
        Terms(manifest(tool={"output_schema": {"type": "nothing"}}))
    assert caught.value.field == "tools.echo.output_schema"

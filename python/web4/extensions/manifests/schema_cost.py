"""What it can cost to check a value against a schema: a few lines of schema can ask for years (EXT-17).

Branches that refer to each other double the work with every reference, or with every level of the value. Nobody can
stop a check that has begun, so it is known before. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from web4.extensions.conversation.values import MAX_DEPTH

BUDGET: Final = 100_000
"""Schemas that may be applied along one path into a value."""
MAX_SCHEMAS: Final = 2_000
"""Schemas within a schema."""

_HERE_ONE: Final = ("not", "if", "then", "else")
_HERE_MANY: Final = ("allOf", "anyOf", "oneOf")
_HERE_NAMED: Final = ("dependentSchemas", "dependencies")
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_ITEMS: Final = ("items", "additionalItems", "contains", "unevaluatedItems")
_MEMBERS: Final = ("additionalProperties", "unevaluatedProperties", "propertyNames")


class TooCostlyError(Exception):
    """No value can be checked within the budget, or what it costs cannot be told. `str()` says why."""


def deepest(schema: dict[str, Any]) -> int:
    """How deeply a value may be nested so that checking it stays within the budget; `MAX_DEPTH` at most.

    Raises:
        TooCostlyError: See there.
    """
    cost = _Cost(schema)
    try:
        for depth in range(MAX_DEPTH + 1):
            if cost.of(schema, depth) > BUDGET:
                if depth == 0:
                    raise TooCostlyError("its branches double its cost over and over")
                return depth - 1
    except RecursionError:
        raise TooCostlyError("its references lead too deep") from None
    return MAX_DEPTH


class _Cost:
    """Counts how many schemas are applied to one path into a value, at worst."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[tuple[int, int, bool], int] = {}
        self._open: set[tuple[int, int, bool]] = set()
        self._schemas: set[int] = set()
        self._anchors = dict(_anchors(root))

    def of(self, schema: Any, depth: int) -> int:
        """Of a schema, for any value that is nested that deep."""
        return max(self._of_kind(schema, depth, array=False), self._of_kind(schema, depth, array=True))

    def _of_kind(self, schema: Any, depth: int, *, array: bool) -> int:
        """Of a schema for an array, or for an object: what it says of the one is not applied to the other."""
        if not isinstance(schema, dict):
            return 1
        key = (id(schema), depth, array)
        if key in self._open:
            return (
                1  # a reference that leads to itself without a step into the value is seen by the validator
            )
        if (known := self._known.get(key)) is not None:
            return known
        self._schemas.add(id(schema))
        if len(self._schemas) > MAX_SCHEMAS:
            raise TooCostlyError(f"it has more than {MAX_SCHEMAS} schemas")
        self._open.add(key)
        cost = 1 + sum(self._of_kind(one, depth, array=array) for one in self._here(schema))
        if depth:
            cost += self._items(schema, depth - 1) if array else self._members(schema, depth - 1)
        self._open.discard(key)
        cost = self._known[key] = min(cost, BUDGET + 1)
        return cost

    def _here(self, schema: dict[str, Any]) -> list[Any]:
        """The schemas that are applied to the same value."""
        found = [schema[word] for word in _HERE_ONE if word in schema]
        for word in _HERE_MANY:
            found += _list(schema.get(word))
        for word in _HERE_NAMED:
            found += _map(schema.get(word)).values()
        found += [self._found(schema[word]) for word in _REFERENCES if isinstance(schema.get(word), str)]
        return found

    def _items(self, schema: dict[str, Any], depth: int) -> int:
        cost = sum(self.of(schema[word], depth) for word in _ITEMS if word in schema)
        placed = [*_list(schema.get("prefixItems")), *_list(schema.get("items"))]
        return cost + max((self.of(one, depth) for one in placed), default=0)

    def _members(self, schema: dict[str, Any], depth: int) -> int:
        cost = sum(self.of(schema[word], depth) for word in _MEMBERS if word in schema)
        cost += sum(self.of(one, depth) for one in _map(schema.get("patternProperties")).values())
        named = _map(schema.get("properties")).values()
        return cost + max((self.of(one, depth) for one in named), default=0)

    def _found(self, target: str) -> Any:
        if target in self._anchors:
            return self._anchors[target]
        one: Any = self._root
        for step in target.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(one, dict) and name in one:
                one = one[name]
            elif isinstance(one, list) and name.isdecimal() and int(name) < len(one):
                one = one[int(name)]
            else:
                raise TooCostlyError(f"{target[:100]} leads nowhere")
        return one


def _anchors(root: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for word in ("$anchor", "$dynamicAnchor"):
                if isinstance(name := one.get(word), str):
                    found.append((f"#{name}", one))
            if one is not root and isinstance(one.get("$id"), str):
                raise TooCostlyError("a schema within it has an $id of its own")
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

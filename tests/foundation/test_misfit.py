"""What does not fit its type is told in words: what it must be, and what it is (UX-4)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from web4.foundation.codec import AgentId, Fingerprint
from web4.foundation.misfit import misfit


class Inner(msgspec.Struct):
    name: AgentId | None = None
    mode: Literal["strict", "relaxed"] = "strict"
    keys: tuple[Fingerprint, ...] = ()
    few: Annotated[tuple[str, ...], msgspec.Meta(max_length=2)] = ()
    pair: tuple[str, int] = ("a", 1)
    pattern: Annotated[str, msgspec.Meta(pattern="^a+$")] = "a"
    table: dict[str, int] = {}


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=2, le=64)]
    rate: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    on: bool = True
    words: Annotated[str, msgspec.Meta(min_length=1)] = "x"
    long: Annotated[str, msgspec.Meta(min_length=1, max_length=4)] = "x"
    inner: list[Inner] = []


def inner(**fields: Any) -> dict[str, Any]:
    return {"count": 2, "inner": [{}, fields]}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "count is required"),
        ({"count": 1}, "count must be a whole number from 2 to 64, and is 1"),
        ({"count": "two"}, "count must be a whole number from 2 to 64, and is 'two'"),
        ({"count": 2, "rate": -1}, "rate must be a number above 0, and is -1"),
        ({"count": 2, "on": "yes"}, "on must be true or false, and is 'yes'"),
        ({"count": 2, "words": ""}, "words must be text that is not empty, and is empty"),
        ({"count": 2, "long": "12345"}, "long must be text of 1 to 4 characters, and is '12345'"),
        ({"count": 2, "more": 1}, "more is no key of it"),
        ({"count": 2, "inner": 7}, "inner must be a list, and is 7"),
        ({"count": 2, "inner": [None]}, "inner[0] must be a table, and is nothing"),
        (inner(name="A b"), "inner[1].name must be up to 64 of a-z, 0-9, `.`, `_` and `-`, and is 'A b'"),
        (
            inner(name="a\x1b"),
            "inner[1].name must be up to 64 of a-z, 0-9, `.`, `_` and `-`, and is 'a\\x1b'",
        ),
        (inner(mode="lax"), "inner[1].mode must be 'relaxed' or 'strict', and is 'lax'"),
        (inner(keys=["5A" * 32]), "64 hex digits, a-f in lowercase, and is '5A5A"),
        (inner(keys=["x" * 99]), "…', of 99 characters"),
        (inner(few=["a"] * 3), "inner[1].few must be a list of 2 items at most, and is a list of 3"),
        (inner(pair=["a", "b"]), "inner[1].pair[1] must be a whole number, and is 'b'"),
        (inner(pattern="b"), "inner[1].pattern is wrong: Expected `str` matching regex '^a+$'"),
        (inner(table={"a": "b"}), "is wrong: Expected `int`, got `str`"),
        (5, "must be a table, and is 5"),
    ],
)
def test_a_misfit_is_told(document: Any, says: str) -> None:
    """UX-4: what was wrong, with the value; a pattern only where nobody gave words for it."""
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(document, Outer)
    told = str(misfit(caught.value, document, Outer))
    assert told.endswith(says) or says in told

"""Canonical JSON through the Python face (SIG-1, SIG-5)."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from tests.foundation.vectors import entries, entry_name
from web4 import _core

MAX_SAFE = 2**53 - 1

numbers = st.integers(-MAX_SAFE, MAX_SAFE) | st.floats(-MAX_SAFE, MAX_SAFE)
texts = st.text(st.characters(codec="utf-8")) | st.text(
    st.sampled_from('\0\n\x1f"\\/\x7f\u2028\ue000\uffff😀a')
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(texts, inner, max_size=6),
    max_leaves=30,
)


@pytest.mark.parametrize("entry", entries("canonical", "accepted"), ids=entry_name)
def test_env_canonical_vectors(entry: dict[str, Any]) -> None:
    """SIG-5: this face gives the bytes of the file; the native face is tested on the same file."""
    expected = bytes.fromhex(entry["canonical"])
    assert _core.canonicalize(bytes.fromhex(entry["input"])) == expected
    assert _core.canonicalize(expected) == expected


@pytest.mark.parametrize("entry", entries("canonical", "refused"), ids=entry_name)
def test_env_canonical_vectors_refused(entry: dict[str, Any]) -> None:
    """SIG-1: what is not strict JSON is refused."""
    with pytest.raises(_core.CoreError) as caught:
        _core.canonicalize(bytes.fromhex(entry["input"]))
    assert (caught.value.code, caught.value.field) == ("syntax", None)


@given(values)
def test_canonical_form_equals_the_oracle(value: Any) -> None:
    """SIG-1: whatever the spelling, the bytes are those of RFC 8785 as `rfc8785` implements it."""
    expected = rfc8785.dumps(value)
    for written in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=2)):
        assert _core.canonicalize(written.encode()) == expected


@given(st.integers(MAX_SAFE - 5, 2**70) | st.floats(MAX_SAFE - 5), st.booleans())
def test_integral_values_end_at_the_safe_ones(number: float, negative: bool) -> None:
    """SIG-1: beyond 2^53 - 1 an integral value is refused, however it is written."""
    text = json.dumps(-number if negative else number)
    if math.isfinite(number) and float(number) <= MAX_SAFE:
        assert float(_core.canonicalize(text.encode())) == float(text)
    else:
        with pytest.raises(_core.CoreError):
            _core.canonicalize(text.encode())


@given(st.binary(max_size=64))
def test_any_bytes_are_accepted_or_refused(data: bytes) -> None:
    """SIG-1: no input does anything else, and what is accepted Python's own reader reads the same."""
    try:
        canonical = _core.canonicalize(data)
    except _core.CoreError as error:
        code = error.code
    else:
        assert json.loads(data) == json.loads(canonical)
        return
    assert code == "syntax"

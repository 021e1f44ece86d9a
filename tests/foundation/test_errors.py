"""The error base and its registry (ERR-1)."""

from __future__ import annotations

import pytest

from web4.foundation.errors import (
    EnvelopeError,
    ErrorCode,
    IdentityError,
    InvalidEnvelopeError,
    SignatureMismatchError,
    Web4Error,
)


def test_an_error_carries_its_fields() -> None:
    error = InvalidEnvelopeError(
        "x", code="field", msg_id="m", peer="p", field="payload.fact", retry_after_ms=5
    )
    assert (error.code, error.msg_id, error.peer, error.field) == ("field", "m", "p", "payload.fact")
    assert error.retry_after_ms == 5
    assert str(error) == "field: x (field payload.fact)"
    assert isinstance(error, EnvelopeError)
    assert isinstance(error, Web4Error)


def test_the_first_code_is_the_default() -> None:
    assert SignatureMismatchError("x").code == "signature"


def test_an_undeclared_code_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="declares"):
        InvalidEnvelopeError("x", code="signature")
    with pytest.raises(ValueError, match="declares"):
        EnvelopeError("an inner node has no codes")


@pytest.mark.parametrize("word", ["", "Upper", "two words", "_x", "x_", "x__y", "é", "1x", "x-y"])
def test_codes_are_lowercase_words(word: str) -> None:
    with pytest.raises(TypeError, match="not a lowercase code word"):
        type("BadWordError", (Web4Error,), {"codes": (ErrorCode(word, "meaning", "effect"),)})
    assert "BadWordError" not in Web4Error.registry


def test_a_code_says_what_it_means_and_does() -> None:
    for code in (ErrorCode("x", "", "effect"), ErrorCode("x", "meaning", "")):
        with pytest.raises(TypeError, match="lacks"):
            type("SilentError", (Web4Error,), {"codes": (code,)})


def test_a_name_is_declared_once() -> None:
    with pytest.raises(TypeError, match="is declared by"):
        type("IdentityError", (Web4Error,), {"codes": ()})
    assert Web4Error.registry["IdentityError"] is IdentityError

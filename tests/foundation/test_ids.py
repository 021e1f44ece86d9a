"""Ids and nonces (WEB-2, HS-9)."""

from __future__ import annotations

import uuid

import msgspec
import pytest

from web4.foundation.codec import Uuid4
from web4.foundation.ids import IdSource, SeededIds, SystemIds


@pytest.mark.parametrize("source", [SystemIds(), SeededIds(1)], ids=["system", "seeded"])
def test_ids_are_what_envelopes_want(source: IdSource) -> None:
    ids = [source.uuid4() for _ in range(100)]
    assert len(set(ids)) == 100
    for text in ids:
        msgspec.convert(text, Uuid4)
        assert uuid.UUID(text).version == 4
    assert [len(source.token(size)) for size in (0, 16, 32)] == [0, 16, 32]
    assert source.token(16) != source.token(16)


def test_equal_seeds_give_equal_ids() -> None:
    def draw(seed: int | str) -> list[object]:
        source = SeededIds(seed)
        return [source.uuid4(), source.token(8), source.uuid4()]

    assert draw("a") == draw("a")
    assert draw("a") != draw("b")
    assert draw(1) != draw(2)

"""The points of EXT-10 are the same for the SDK and for the node."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from web4.ext import hooks
from web4.extensions.manifests.manifest import CLOSED_BY_DEFAULT, HOOK_POINTS


def test_ext_10_the_sdk_and_the_manifest_know_the_same_points() -> None:
    assert set(hooks.QUESTIONS) == set(hooks.ANSWERS) == HOOK_POINTS
    guarded = {
        point for point in HOOK_POINTS if point.startswith("before_") and point != "before_agent_start"
    }
    assert guarded == {point for point in CLOSED_BY_DEFAULT if point.startswith("before_")}


@pytest.mark.parametrize(
    ("point", "good", "bad"),
    [
        ("input", [None, {"action": "text", "text": "a"}], [{"action": "block"}, "a"]),
        (
            "tool_call",
            [{"action": "allow"}, {"action": "block"}, {"action": "rewrite", "arguments": {"a": 1}}],
            [None, {}, True, {"action": "rewrite"}, {"action": "allow", "arguments": {}}],
        ),
        ("tool_result", [None, {"action": "result", "result": None}], [{"action": "result"}]),
        ("session_before_fork", [None, {"action": "cancel"}], [{"action": "cancel", "reason": 1}]),
        ("before_decide", [None, {"action": "veto"}, {"action": "annotate", "annotation": 1}], [False]),
        ("run_end", [None], [{}, {"action": "cancel"}]),
    ],
)
def test_ext_10_each_point_has_its_answers_and_no_others(point: str, good: list[Any], bad: list[Any]) -> None:
    for answer in good:
        said = msgspec.convert(answer, hooks.ANSWERS[point])
        assert msgspec.to_builtins(said) == answer
    for answer in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(answer, hooks.ANSWERS[point])

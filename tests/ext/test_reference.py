"""The reference of the protocol says what the types say."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import msgspec

from web4.ext.conformance.checks import HOOKS
from web4.ext.hooks import ANSWERS, QUESTIONS
from web4.worker import frames

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "worker-protocol.md").read_text()


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose first row begins so."""
    block = TEXT[TEXT.index(f"| {head}") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]


def fields(struct: Any) -> set[str]:
    """Its keys, those that may be left out with a question mark."""
    return {f"{one.encode_name}{'' if one.required else '?'}" for one in msgspec.structs.fields(struct)}


def test_docs_every_frame_and_field_of_the_protocol_is_in_the_table() -> None:
    both = {*typing.get_args(frames.ToWorker), *typing.get_args(frames.ToNode)}
    to_worker, to_node = typing.get_args(frames.ToWorker), typing.get_args(frames.ToNode)
    known = {str(one.__struct_config__.tag): one for one in both}
    table = {row[0].strip("`"): row for row in rows("`t` |")}
    assert set(table) == set(known)
    for name, row in table.items():
        frame = known[name]
        assert set(re.findall(r"`([^`]+)`", row[2])) == fields(frame), name
        goes = (
            "both" if frame in to_worker and frame in to_node else "worker" if frame in to_worker else "node"
        )
        assert row[1] == goes, name
    context = re.search(r"- `context` has (.*?):", TEXT)
    assert context is not None
    assert set(re.findall(r"`([^`]+)`", context[1])) == fields(frames.CallContext)
    for words in (frames.CallKind, frames.LogLevel, frames.UiMethod, frames.UiOutcome):
        for word in typing.get_args(words):
            assert f"`{word}`" in TEXT


def test_docs_every_hook_point_and_answer_is_in_the_table() -> None:
    seen = set()
    for points, given, may_answer in rows("point |"):
        for point in re.findall(r"`([^`]+)`", points):
            seen.add(point)
            keys = {key.rstrip("?") for key in re.findall(r"(\w+\??)", given)}
            assert keys == {one.name for one in msgspec.structs.fields(QUESTIONS[point])}, point
            answers = typing.get_args(ANSWERS[point]) or (ANSWERS[point],)
            due = {"null" if one in (None, type(None)) else one.__struct_config__.tag for one in answers}
            actions = set(re.findall(r'action: "(\w+)"', may_answer)) | set(
                re.findall(r"\bnull\b", may_answer)
            )
            assert actions == due, point
            for one in answers:
                if one not in (None, type(None)):
                    said = re.search(rf'action: "{one.__struct_config__.tag}"(.*?)}}', may_answer)
                    assert said is not None
                    assert set(re.findall(r"(\w+\??)", said[1])) == fields(one), point
    assert seen == set(QUESTIONS) == {point for point, _, _ in HOOKS}


def test_docs_the_frame_that_is_shown_is_one() -> None:
    shown = re.findall(r"`((?:[0-9a-f]{2} ?)+)`", TEXT)
    data = bytes.fromhex(" ".join(shown))
    assert data == frames.encode(frames.Ping(nonce=7))

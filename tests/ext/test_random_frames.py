"""Frames in any order and any pieces, to workers of each sort: every call is answered, every ping too (EXT-14, EXT-15).

A failure prints its seed; `WEB4_SEED` repeats it, `WEB4_ROUNDS` does more.
"""

from __future__ import annotations

import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from tests.ext.driver import Driver
from tests.ext.workers import commands
from tests.seeds import a_seed
from web4.worker.frames import (
    Call,
    Cancel,
    Frame,
    IntentAnswer,
    Ping,
    Pong,
    Progress,
    Result,
    UiAnswer,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "5"))
ASYNC = '''
import trio
from web4.ext import Extension
ext = Extension("examples.async")
@ext.tool
async def echo(ctx, text: str) -> dict:
    """Say it again."""
    if len(text) % 3 == 1:
        await ctx.progress("on the way")
    if len(text) % 3 == 2:
        await trio.sleep(0)
    return {"text": text}
@ext.tool
def count(ctx, count: int) -> int:
    """Count, and look whether it is cancelled."""
    for number in range(count):
        assert not ctx.cancelled
        ctx.progress(data=number)
    return count
'''


@pytest.fixture(scope="module", params=["python", "async", "c"])
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    directory = tmp_path_factory.mktemp("random")
    programs = commands(directory)
    (directory / "mixed.py").write_text(ASYNC)
    programs["async"] = [*programs["python"][:3], "mixed:ext", str(directory)]
    with Driver(programs[request.param], directory, f"examples.{request.param}") as worker:
        worker.ready()
        yield worker


def script(seed: int) -> list[Frame]:
    draw = random.Random(seed)
    frames: list[Frame] = []
    for number in range(draw.randrange(1, 40)):
        kind = draw.choice(["echo", "echo", "count", "ping", "cancel", "ui_answer", "intent_answer"])
        name = f"{seed}-{number}"
        if kind == "echo":
            text = {"text": draw.choice("xé😀") * draw.choice([0, 1, 2, 40, 300, 70_000])}
            frames.append(Call(id=name, kind="tool", name="echo", arguments=text, deadline_ms=60_000))
        elif kind == "count":
            many = {"count": draw.randrange(10)}
            frames.append(Call(id=name, kind="tool", name="count", arguments=many, deadline_ms=60_000))
        elif kind == "ping":
            frames.append(Ping(nonce=number))
        elif kind == "cancel":
            frames.append(Cancel(id=f"unknown {name}", reason="it crossed its answer"))
        elif kind == "ui_answer":
            frames.append(UiAnswer(request_id=name, outcome="answered", value=True))
        else:
            frames.append(IntentAnswer(id=name, intent_id=name, ok=True))
    return frames


def pieces(data: bytes, draw: random.Random) -> Iterator[bytes]:
    while data:
        size = draw.choice([1, 2, 3, 4, 5, 100, 5_000, 100_000])
        yield data[:size]
        data = data[size:]


def send(worker: Driver, data: list[bytes]) -> None:
    for one in data:
        worker.raw(one)


def test_ext_15_random_frames_in_random_pieces_are_all_answered(worker: Driver) -> None:
    first = a_seed()
    for seed in range(first, first + ROUNDS):
        frames = script(seed)
        print(f"seed {seed}: {len(frames)} frames")
        data = b"".join(encode(one) for one in frames)
        draw = random.Random(seed)
        # From a thread: the worker may answer before it reads on, and nobody shall wait for the other.
        sender = threading.Thread(target=send, args=(worker, list(pieces(data, draw))))
        sender.start()
        due = {one.id: one.arguments for one in frames if isinstance(one, Call)}
        pings = [one.nonce for one in frames if isinstance(one, Ping)]
        counted = dict.fromkeys(due, 0)
        while due or pings:
            frame = worker.receive()
            if isinstance(frame, Pong):
                assert frame.nonce == pings.pop(0)
            elif isinstance(frame, Progress):
                assert frame.id in due, "progress behind the result"
                assert frame.data in (None, counted[frame.id])
                counted[frame.id] += frame.data is not None
            else:
                assert isinstance(frame, Result), frame
                arguments = due.pop(frame.id)
                assert frame.value == arguments.get("count", arguments)
                assert counted[frame.id] == arguments.get("count", 0)
        sender.join()

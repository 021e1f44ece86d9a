"""What goes wrong in the block of a journal and its actors comes out as it was."""

from __future__ import annotations

import pytest
import trio

from tests.actors.jobs import LANE, JobLane, Note, opened
from web4.actors import open_lane_actors


class BodyError(Exception):
    pass


async def fail() -> None:
    async with opened() as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        await actors.lane(LANE).ask(Note(1))
        raise BodyError


async def test_an_error_of_the_body_is_not_wrapped() -> None:
    with pytest.raises(BodyError):
        await fail()


async def test_a_cancelled_body_ends_in_order() -> None:
    with trio.move_on_after(0.05) as scope:
        async with opened() as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
            await actors.lane(LANE).ask(Note(1))
            await trio.sleep_forever()
    assert scope.cancelled_caught

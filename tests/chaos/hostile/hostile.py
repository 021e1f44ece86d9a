"""The hostile node: a process that has many identities, and does what the campaign says. `python -m` runs it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from tests.chaos.hostile.attacks import ATTACKS, MALFORMED
from tests.chaos.hostile.honest import serve_all
from tests.chaos.hostile.intruder import Victim
from tests.chaos.hostile.stage import Stage, identity_of
from web4.demo.child import Setup, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NICE = 19
"""The honest run on the same cores: an attacker has a machine of its own, so its share of theirs is the smallest."""


async def attack(asked: dict[str, Any]) -> dict[str, Any]:
    """Carry out an attack to its end, or until the campaign's patience does."""
    planned = {one.name: one for one in (*ATTACKS, MALFORMED)}[asked["name"]]
    victims = [msgspec.convert(one, Victim) for one in asked["victims"]]
    stage = Stage(asked["seed"], victims, asked["insiders"], asked["claims"])
    await planned.attack(stage, asked["count"])
    return {"sent": stage.sent, "deeds": msgspec.to_builtins(stage.deeds)}


async def insiders(asked: dict[str, Any]) -> dict[str, Any]:
    """Who those are whom the honest shall trust."""
    return {"fingerprints": [identity_of(seed).fingerprint for seed in asked["seeds"]]}


async def main(setup: Setup, lines: AsyncIterator[dict[str, Any]]) -> None:
    """Attack as asked until the input ends."""
    os.nice(NICE)
    setup.emit("ready", fingerprint=setup.identity.fingerprint)
    await serve_all(lines, {"attack": attack, "insiders": insiders})


if __name__ == "__main__":
    run(main)

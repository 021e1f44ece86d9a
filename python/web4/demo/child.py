"""What the processes of the demo have in common: events and answers on their output, questions on their input."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import trio

from web4.demo.lines import read_lines, to_line
from web4.foundation.clock import SystemClock
from web4.foundation.errors import Web4Error
from web4.foundation.events import EventSource, encode_event
from web4.foundation.identity import Identity, generate_identity, load_identity, save_identity
from web4.foundation.ids import SeededIds, SystemIds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from web4.foundation.events import Event
    from web4.foundation.ids import IdSource

    Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def say(message: dict[str, Any]) -> None:
    """Write one line to whoever started this process."""
    os.write(1, to_line(message))


class Setup:
    """What a process of the demo is told by its first line."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.name: str = configuration["name"]
        self.url: str = configuration["url"]
        self.sections: dict[str, Any] = configuration.get("sections", {})
        self.directory = Path(configuration["directory"])
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.life = self._next_life()
        seed: str | None = configuration["seed"]
        # A second life with the same ids and nonces would be a replay of the first, and is refused as one.
        self._seed = seed if seed is None or self.life == 1 else f"{seed}/life {self.life}"
        self.identity = self._kept_identity(seed)
        self.ids: IdSource = SystemIds() if self._seed is None else SeededIds(self._seed)
        self.clock = SystemClock()
        # Event ids have a source of their own, so that they do not shift those of a seeded run.
        self.emit = EventSource(self.name, clock=self.clock, ids=SystemIds(), sink=say_event)

    def be_somebody_new(self) -> None:
        """Take another identity than in any life before: nobody knows it, so nobody has blacklisted it."""
        new = Identity.generate() if self._seed is None else Identity.from_seed(_key_seed(self._seed))
        self.identity = new

    def tell(self, about: str, /, *, peer: str | None = None, **payload: Any) -> None:
        """Say something that is no event of the node, but what this process found when it was asked: an answer."""
        told = {"about": about, **{name: value for name, value in payload.items() if value is not None}}
        who = {} if peer is None else {"peer": peer}
        at_ns = self.clock.monotonic_ns()
        say(
            {
                "type": "answer",
                "node": self.name,
                "pid": os.getpid(),
                "mono_ns": at_ns,
                **who,
                "payload": told,
            }
        )

    def _next_life(self) -> int:
        """How often a process was started in this directory, this time included."""
        counter = self.directory / "lives"
        try:
            life = 1 + (int(counter.read_text()) if counter.exists() else 0)
        except ValueError:  # cut off, or no demo's directory at all
            raise OSError(f"{counter} holds no number: this is not a directory that the demo kept") from None
        counter.write_text(f"{life}\n")
        return life

    def _kept_identity(self, seed: str | None) -> Identity:
        if seed is not None:
            return Identity.from_seed(_key_seed(seed))
        path = self.directory / "identity.pem"
        if not path.exists():
            save_identity(generate_identity(), path)
        return load_identity(path)


def say_event(event: Event) -> None:
    """Say an event of this process to whoever started it."""
    say({**msgspec.json.decode(encode_event(event)), "pid": os.getpid()})


def _key_seed(seed: str) -> bytes:
    return SeededIds(f"key of {seed}").token(32)


async def serve(lines: AsyncIterator[dict[str, Any]], answers: Mapping[str, Answer]) -> None:
    """Answer questions until the input ends. A failure is an answer, too."""
    async for question in lines:
        reply: dict[str, Any] = {"type": "reply", "id": question["id"]}
        arguments = {name: value for name, value in question.items() if name not in ("id", "do")}
        try:
            reply |= await answers[question["do"]](arguments)
        except Web4Error as error:
            reply |= {"refused": error.code, "class": type(error).__name__}
        except (OSError, trio.TooSlowError, trio.EndOfChannel) as error:
            reply["error"] = f"{type(error).__name__}: {error}"
        say(reply)


def run(main: Callable[[Setup, AsyncIterator[dict[str, Any]]], Awaitable[None]]) -> None:
    """Run a process of the demo: read the configuration, then live until the input ends."""

    async def lifetime() -> None:
        lines = read_lines(trio.lowlevel.FdStream(os.dup(0)))
        configuration = await anext(lines, None)
        if configuration is not None:  # else whoever started it thought better of it
            await main(Setup(configuration), lines)

    try:
        trio.run(lifetime)
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, Web4Error) as error:
        _give_up(error)
    except BaseExceptionGroup as group:
        expected, others = group.split((OSError, Web4Error))
        if expected is None or others is not None:
            raise
        _give_up(*_leaves(expected))


def _give_up(*errors: BaseException) -> NoReturn:
    """End for a reason that lies in the environment: a word, no traceback."""
    sys.stderr.write("; ".join(map(str, errors)) + "\n")
    sys.exit(3)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for one in group.exceptions
        for leaf in (_leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]

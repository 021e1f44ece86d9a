"""Running a demo: its exit codes, its interruption, its summary (DEMO-3, DEMO-4)."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import trio

from web4.demo.checks import Checks
from web4.demo.timeline import Timeline

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
PASSED, FAILED, USAGE, ENVIRONMENT, TIMEOUT, INTERRUPTED = 0, 1, 2, 3, 4, 130


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What both demos take.

    Args:
        transport: What the bytes travel on.
        json: One object per line, the summary last.
        seed: Repeatable identities and ids (never TLS keys).
        timeout: Seconds after which it is given up.
        keep: The directory to use and to leave; a temporary one when None.
        sabotage: The check whose step is broken: it must fail then.
    """

    transport: Literal["tcp", "unix"] = "tcp"
    json: bool = False
    seed: int | None = None
    timeout: float = 60.0
    keep: Path | None = None
    sabotage: str | None = None


class Tells(Protocol):
    """A story that can be told."""

    async def tell(self) -> str | None:
        """Start the processes and go through the steps; why they could not be started, or None."""
        ...


class MakesStory(Protocol):
    """How a demo makes its story."""

    def __call__(self, timeline: Timeline, checks: Checks, *, directory: Path, options: Any) -> Tells:
        """Make it; nothing runs yet."""
        ...


class Interruption:
    """Notes a signal that comes before the story listens to signals, or after: the end is in order all the same."""

    def __init__(self) -> None:
        self.came = False
        for number in SIGNALS:
            signal.signal(number, self)

    def __call__(self, *_: object) -> None:
        """Be the signal's handler."""
        self.came = True


def run_demo(claims: Mapping[str, str], make: MakesStory, options: DemoOptions) -> int:
    """Run a demo; the exit code says how it went (DEMO-4)."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    interruption = Interruption()
    began = time.monotonic()
    timeline, checks = Timeline(json=options.json), Checks(claims)
    with ExitStack() as stack:
        if options.keep is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="web4-demo-")))
        else:
            directory = options.keep
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            print_error(f"{directory} cannot be used: {error}")
            return ENVIRONMENT
        story = make(timeline, checks, directory=directory, options=options)
        code = trio.run(_tell, story, timeline, checks, options, interruption)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # all is ended; a second Ctrl-C must not change how
    timeline.summary(checks.results, seed=options.seed, seconds=time.monotonic() - began)
    for number, handler in before.items():
        signal.signal(number, handler)
    return code


def print_error(text: str) -> None:
    """Say something on standard error."""
    sys.stderr.write(f"{text}\n")


async def _tell(
    story: Tells, timeline: Timeline, checks: Checks, options: DemoOptions, interruption: Interruption
) -> int:
    failure = None
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                if not interruption.came:
                    await anext(signals)
                interruption.came = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            with trio.move_on_after(options.timeout) as scope:
                failure = await story.tell()
            nursery.cancel_scope.cancel()
    if timeline.lost is not None:
        print_error(f"the output cannot be written: {timeline.lost}")
        # Python writes out what is left at its end, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ENVIRONMENT
    if interruption.came:
        print_error("interrupted")
        return INTERRUPTED
    if failure is not None:
        print_error(f"the demo cannot run here: {failure}")
        return ENVIRONMENT
    if scope.cancelled_caught:
        print_error(f"not finished within {options.timeout:g} s")
        return TIMEOUT
    return PASSED if checks.ok else FAILED


def run_script(
    arguments: list[str] | None,
    *,
    about: str | None,
    claims: Mapping[str, str],
    make: Callable[..., Tells],
    add: Callable[[argparse.ArgumentParser], None] | None = None,
    options_of: Callable[..., DemoOptions] = DemoOptions,
) -> int:
    """Run a demo as a script does, with its own arguments: `add` adds to those that every demo has."""
    from web4.demo.arguments import parser_of  # noqa: PLC0415 - the command line has its own way to parse

    parser = parser_of(about, claims)
    if add is not None:
        add(parser)
    options = parser.parse_args(arguments)
    if options.list:
        for name, claim in claims.items():
            sys.stdout.write(f"{name:<24} {claim}\n")
        return PASSED
    given = {name: value for name, value in vars(options).items() if name != "list"}
    try:
        chosen = options_of(**given)
    except ValueError as error:
        parser.error(str(error))
    return run_demo(claims, make, chosen)

"""Two agents in two processes meet, prove who they are, and trust each other a little. A third one tries to spoil it.

    python scripts/web4_demo.py [--transport tcp|unix] [--json] [--seed N] [--timeout S] [--keep DIR]
                                [--list] [--sabotage CHECK]

Exit codes: 0 all checks passed, 1 a check failed, 2 usage, 3 environment, 4 timeout, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

SIGNALS = (signal.SIGINT, signal.SIGTERM)
if __name__ == "__main__":
    for number in SIGNALS:  # there is nothing to end in order yet, and no traceback out of half an import
        signal.signal(number, lambda *_: os._exit(130))

sys.path.insert(0, str(Path(__file__).parents[1]))

try:
    import trio

    from scripts.demo.checks import CHECKS, Checks
    from scripts.demo.story import Story
    from scripts.demo.timeline import Timeline
except ImportError as error:  # pragma: no cover - needs an environment without web4
    print(f"the demo needs an environment with web4 in it: run `make demo` ({error})", file=sys.stderr)
    sys.exit(3)

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSED, FAILED, USAGE, ENVIRONMENT, TIMEOUT, INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code says how it went (DEMO-4)."""
    options = _parser().parse_args(arguments)
    if options.list:
        for name, claim in CHECKS.items():
            print(f"{name:<24} {claim}")
        return PASSED
    return _run(options)


class Interruption:
    """Notes a signal that comes before the story listens to signals, or after: the end is in order all the same."""

    def __init__(self) -> None:
        self.came = False
        for number in SIGNALS:
            signal.signal(number, self)

    def __call__(self, *_: object) -> None:
        """Be the signal's handler."""
        self.came = True


def _run(options: argparse.Namespace) -> int:
    interruption = Interruption()
    began = time.monotonic()
    timeline, checks = Timeline(json=options.json), Checks()
    with ExitStack() as stack:
        if options.keep is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="web4-demo-")))
        else:
            directory = options.keep
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            print(f"{directory} cannot be used: {error}", file=sys.stderr)
            return ENVIRONMENT
        code = trio.run(_tell, timeline, checks, options, directory, interruption)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # all is ended; a second Ctrl-C must not change how
    timeline.summary(checks.results, seed=options.seed, seconds=time.monotonic() - began)
    return code


async def _tell(
    timeline: Timeline,
    checks: Checks,
    options: argparse.Namespace,
    directory: Path,
    interruption: Interruption,
) -> int:
    story = Story(
        timeline,
        checks,
        transport=options.transport,
        directory=directory,
        seed=options.seed,
        sabotage=options.sabotage,
    )
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
        print(f"the output cannot be written: {timeline.lost}", file=sys.stderr)
        # Python writes out what is left at its end, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ENVIRONMENT
    if interruption.came:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    if failure is not None:
        print(f"the demo cannot run here: {failure}", file=sys.stderr)
        return ENVIRONMENT
    if scope.cancelled_caught:
        print(f"not finished within {options.timeout:g} s", file=sys.stderr)
        return TIMEOUT
    return PASSED if checks.ok else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--transport", choices=["tcp", "unix"], default="tcp", help="what the bytes travel on"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line, the summary last")
    parser.add_argument("--seed", type=int, help="repeatable identities and ids (never TLS keys)")
    parser.add_argument(
        "--timeout", type=_seconds, default=60, metavar="S", help="give up after S seconds (60)"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="use DIR, and leave it there")
    parser.add_argument("--list", action="store_true", help="list the checks and what they claim")
    parser.add_argument(
        "--sabotage", choices=list(CHECKS), metavar="CHECK", help="break that step: its check fails"
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise ValueError
    return seconds


if __name__ == "__main__":
    sys.exit(main())

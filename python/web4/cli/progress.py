"""How far long work is, on standard error (UX-5)."""

from __future__ import annotations

import importlib
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from web4.cli.output import warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.cli.output import Output

_EVERY_S: Final = 10.0
"""How often a line is written where there is no terminal."""


class Step(Protocol):
    """Told how much is done so far."""

    def __call__(self, done: int, total: int | None = None, /) -> None:
        """`done` of all there is; `total` if it is known only now."""
        ...


@contextmanager
def progress(output: Output, what: str, total: int | None) -> Iterator[Step]:
    """Around work on `total` of `what`. On a terminal a bar; else a line every ten seconds; nothing with `--quiet`."""
    if output.quiet:
        yield lambda done, total=None, /: None
    elif sys.stderr.isatty():
        with _bar(what, total) as step:
            yield step
    else:
        yield _Lines(what, total)


class _Lines:
    """A line every ten seconds."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what = what
        self._total = total
        self._begin = self._told = time.monotonic()

    def __call__(self, done: int, total: int | None = None, /) -> None:
        now = time.monotonic()
        self._total = total or self._total
        if now - self._told < _EVERY_S:
            return
        self._told = now
        rate = done / (now - self._begin)
        of = f" of {self._total}" if self._total else ""
        left = f", {max(0, self._total - done) / rate:.0f} s left" if self._total and rate else ""
        warn(f"{done}{of} {self._what}, {rate:.0f} a second{left}")


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Step]:
    rich: Any = importlib.import_module("rich.progress")
    console: Any = importlib.import_module("rich.console").Console(stderr=True)
    begin = time.monotonic()
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[rate]}/s"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(what, total=total, rate="0")
        told = 0.0

        def step(done: int, total: int | None = total, /) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told > 0.1:
                told = now
                bar.update(
                    task,
                    completed=done,
                    total=total,
                    rate=f"{done / max(now - begin, 0.001):.0f}",
                    refresh=True,
                )

        yield step

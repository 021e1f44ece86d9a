"""Running a command line: what it is told, how it is interrupted, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio
from cyclopts import CycloptsError, UnusedCliTokensError

from web4.cli import exits
from web4.cli.app import build_app
from web4.cli.errors import CommandError
from web4.cli.failing import Failure, failure_of
from web4.cli.output import Output, encode, tell_failure, warn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from web4.cli.options import Common


LEAST_COLUMNS: Final = 20
"""Below this help is printed as for a terminal that says nothing."""


class Answer(NamedTuple):
    """What a verb came to.

    Args:
        data: For programs.
        lines: The same for people.
        exit: `exits.DONE`, or `exits.NO` when the answer is no.
    """

    data: dict[str, Any]
    lines: Iterable[str] = ()
    exit: int = exits.DONE


def run(arguments: Sequence[str]) -> int:
    """Parse a command line and do what it says; the exit code."""
    json = "--json" in arguments
    _fill_standard_streams()
    _forget_narrow_columns()
    for one in arguments:
        if any("\ud800" <= character <= "\udfff" for character in one):
            # Neither the store's engine nor JSON can name it.
            return _refuse(failure_of(CommandError(f"{one!a} is not UTF-8")), json=json)
    try:
        try:
            command, bound, _ = build_app(arguments).parse_args(
                list(arguments), print_error=False, exit_on_error=False, end_of_options_delimiter="--"
            )
        except CycloptsError as error:
            return _refuse(failure_of(CommandError(_said_by(error))), json=json)
        result = command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # what prints help ends the program when nobody reads
        _forget_stdout()
        return exits.PIPE_CLOSED
    except Exception as error:
        return _refuse(failure_of(error), json=json)
    return result if isinstance(result, int) else exits.DONE


def perform(
    common: Common,
    body: Callable[[Output], Awaitable[Answer]],
    *,
    could_not: int | None = None,
    streams: bool = False,
    detached: Callable[[], Answer | None] | None = None,
) -> int:
    """Run the body of a verb, and say what came of it.

    Args:
        common: The options that all verbs take.
        body: Writes what is a stream, returns the rest.
        could_not: The exit code of every error, if they have one.
        streams: Whether the answer is many objects, of which the last is a summary (UX-3).
        detached: Of a verb that has something to say when it is interrupted, what that is (UX-6); None if it is
            nothing yet.
    """
    return trio.run(_Performance(common, body, could_not, streams, detached).run)


class _Performance:
    """One verb at work."""

    def __init__(
        self,
        common: Common,
        body: Callable[[Output], Awaitable[Answer]],
        could_not: int | None,
        streams: bool,
        detached: Callable[[], Answer | None] | None,
    ) -> None:
        self._output = Output(json=common.json, quiet=common.quiet)
        self._body = body
        self._could_not = could_not
        self._streams = streams
        self._detached = detached
        self._signal: int | None = None
        self._scope = trio.CancelScope()
        self._exit = exits.DONE

    async def run(self) -> int:
        """Its exit code."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._attend)
            with self._scope:
                await self._work()
            if self._scope.cancelled_caught and self._signal is not None:
                await self._leave(self._signal)
            nursery.cancel_scope.cancel()
        return self._exit

    async def _attend(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Cancel the work at the first signal, and end at once at the second (UX-6)."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if self._signal is not None:
                    os._exit(128 + number)
                self._signal = number
                self._scope.cancel()

    async def _work(self) -> None:
        try:
            answer = await self._body(self._output)
            await self._say(answer)
            self._exit = answer.exit
        except BaseExceptionGroup as group:
            error = _only(group)
            if isinstance(error, trio.Cancelled):
                raise
            await self._fail(error)
        except Exception as error:
            await self._fail(error)

    async def _fail(self, error: BaseException) -> None:
        if isinstance(error, BrokenPipeError):
            self._exit = exits.PIPE_CLOSED
            return
        failure = failure_of(error)
        self._exit = failure.exit
        if self._could_not is not None and failure.exit != exits.INTERNAL:
            self._exit = self._could_not
        await self._say_failure(failure)

    async def _leave(self, number: int) -> None:
        """Say how to come back, if there is a way."""
        self._exit = 128 + number
        with trio.move_on_after(1):
            try:
                answer = None if self._detached is None else self._detached()
                if answer is not None:
                    await self._say(answer)
                else:
                    await self._say_failure(Failure("interrupted", "interrupted", None, {}, self._exit))
            except BrokenPipeError:
                pass

    async def _say(self, answer: Answer) -> None:
        if not self._output.json:
            await self._output.lines(answer.lines)
        elif self._streams:
            await self._output.document({"type": "summary", "ok": True, "data": answer.data})
        else:
            await self._output.document({"ok": True, "data": answer.data})
        await self._output.flush()

    async def _say_failure(self, failure: Failure) -> None:
        error = failure.document()
        if self._output.json:
            begin = {"type": "summary"} if self._streams else {}
            await self._output.document(begin | {"ok": False, "error": error})
            warn(encode({"error": error}))
        else:
            tell_failure(failure.message, failure.hint)
        try:
            await self._output.flush()
        except BrokenPipeError:
            self._exit = exits.PIPE_CLOSED


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a group is about: nurseries wrap whatever they let through."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        else:
            leaves.append(one)
    told = [one for one in leaves if not isinstance(one, trio.Cancelled)]
    return (told or leaves)[0]


def _refuse(failure: Failure, *, json: bool) -> int:
    error = failure.document()
    if json:
        try:
            sys.stdout.write(encode({"ok": False, "error": error}) + "\n")
            sys.stdout.flush()
        except OSError:
            _forget_stdout()
        warn(encode({"error": error}))
    else:
        tell_failure(failure.message, failure.hint)
    return failure.exit


def _said_by(error: CycloptsError) -> str:
    """What the parser says, without its markup."""
    if isinstance(error, UnusedCliTokensError):
        return f"the verb takes no more than was given before {' '.join(error.unused_tokens or ())!r}"
    return " ".join(str(error).split())


def _forget_narrow_columns() -> None:
    """Text for people needs some room: what says that there is none, or is no number, is not believed."""
    columns = os.environ.get("COLUMNS")
    if columns is not None and not (
        columns.isascii() and columns.isdecimal() and int(columns) >= LEAST_COLUMNS
    ):
        del os.environ["COLUMNS"]


def _fill_standard_streams() -> None:
    """Nothing that is opened later may take the place of a standard stream that was closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def _forget_stdout() -> None:
    """Nobody reads it: what is left in its buffer must not be complained about at the end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)

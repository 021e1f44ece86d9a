"""`web4 ext call`."""

import sys
from typing import Annotated, Any, Literal

import msgspec
import trio
from cyclopts import Parameter, validators

from web4.cli.errors import CommandError
from web4.cli.extensions.calling import Caller, open_caller
from web4.cli.extensions.concluded import answer_of
from web4.cli.extensions.places import WHERE, Where, surroundings
from web4.cli.extensions.watching import Watcher
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform


def call(
    name: Annotated[
        str,
        Parameter(name="NAME", help="`EXTENSION.TOOL`, or `TOOL` alone while one enabled extension has it."),
    ],
    arguments: Annotated[
        str, Parameter(name="JSON", help="The arguments, an object; `-` reads it from standard input.")
    ] = "{}",
    /,
    *,
    kind: Annotated[Literal["tool", "command"], Parameter(help="What is called.")] = "tool",
    timeout_ms: Annotated[
        int | None,
        Parameter(
            help="Milliseconds after which it is killed, if that is less than the manifest has.",
            validator=validators.Number(gte=1),
        ),
    ] = None,
    where: Where = WHERE,
    common: Common = COMMON,
) -> int:
    """Call a tool or a command of an extension, and wait for what comes of it.

    The call is made as a node makes it: requested in the journal before a worker sees it, killed at its deadline with
    all its processes, concluded once. So the node must not run meanwhile. What the extension asks, it asks on the
    terminal. Ctrl-C cancels the call and says how it ended.

    Exit code 0: it answered. 1: it failed. 4: it took too long. 5: quarantined or unprotected. 7: it is not what was
    enabled.

    ```
    web4 ext call notes.greet '{"who": "Ada"}'
    web4 ext call markdown_text.to_text - --json < page.json
    ```
    """
    caller: Caller | None = None

    async def body(output: Output) -> Answer:
        nonlocal caller
        given = await _parse(arguments)
        around = surroundings(common, where)
        watcher = Watcher(output)
        try:
            async with open_caller(around, watcher, output) as (caller, lanes):
                outcome = await caller.call(lanes, kind, name, given, timeout_ms)
        finally:
            watcher.clear()
        return answer_of(outcome)

    def interrupted() -> Answer | None:
        return None if caller is None or caller.last is None else answer_of(caller.last)

    return perform(common, body, detached=interrupted)


async def _parse(text: str) -> dict[str, Any]:
    if text == "-":
        data = await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
    else:
        data = text.encode()
    try:
        given = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise CommandError(f"the arguments are no JSON: {error}", code="usage") from None
    if not isinstance(given, dict):
        raise CommandError('the arguments are an object: {"name": value, …}', code="usage")
    return given

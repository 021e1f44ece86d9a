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
        str,
        Parameter(
            name="JSON",
            help="The arguments, an object; `@FILE` reads it from there, `@-` from standard input.",
        ),
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
    web4 ext call markdown_text.to_text @page.json --json
    ```
    """
    caller: Caller | None = None

    async def body(output: Output) -> Answer:
        nonlocal caller
        given = await _parse(arguments)
        around = surroundings(common, where)
        watcher = Watcher(output)
        called = trio.CancelScope()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_on, called)
                with trio.CancelScope() as around_call:
                    async with open_caller(around, watcher, kind, name, given) as caller:
                        # An interrupted call has an end of its own, and the lanes must live to keep it.
                        around_call.shield = True
                        with called:
                            await caller.call(timeout_ms)
                        around_call.shield = False
                await trio.lowlevel.checkpoint_if_cancelled()
                nursery.cancel_scope.cancel()
        finally:
            watcher.clear()
        assert caller is not None
        assert caller.last is not None
        return answer_of(caller.last)

    def interrupted() -> Answer | None:
        return None if caller is None or caller.last is None else answer_of(caller.last)

    return perform(common, body, detached=interrupted)


async def _pass_on(scope: trio.CancelScope) -> None:
    """Cancel another scope with this one."""
    try:
        await trio.sleep_forever()
    finally:
        scope.cancel()


async def _parse(text: str) -> dict[str, Any]:
    data = text.encode()
    if text == "@-":
        data = await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
    elif text.startswith("@"):
        data = await trio.Path(text[1:]).read_bytes()
    try:
        given = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise CommandError(f"the arguments are no JSON: {error}", code="usage") from None
    if not isinstance(given, dict):
        raise CommandError('the arguments are an object: {"name": value, …}', code="usage")
    return given

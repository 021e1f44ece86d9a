"""A worker's life: hello, import, ready, calls, end (EXT-15, EXT-36).

`serve` runs in a process that has entered its sandbox. While all handlers are plain it is a loop of one read, one call
and one write; with an async handler it is a Trio program, which costs an import and some microseconds a call.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

from web4.ext.connection import Connection
from web4.ext.context import Context
from web4.ext.extension import Extension
from web4.ext.failures import DeclarationError, Failure, NodeBrokenError, NodeGoneError, error_frame
from web4.ext.sources import import_from_sources
from web4.worker.frames import PROTOCOL, Call, Error, FrameError, Hello, Ready, Result

if TYPE_CHECKING:
    from web4.ext.operations import Operation
SDK: Final = "web4-python"
NOT_STARTED: Final = 1
"""Exit status of a worker whose extension cannot be loaded."""
BAD_FRAME: Final = 2
"""Exit status of a worker to which the node sent what is no frame of the protocol."""


def serve(descriptor: int, module: str, object: str, directory: str) -> None:  # noqa: A002 - as in the manifest
    """Serve the calls of one worker until the node ends it. The calling thread becomes the worker's main thread.

    Args:
        descriptor: The worker's end of the socket; owned from now on.
        module: Where the `Extension` is.
        object: Its name there, with dots for attributes of attributes.
        directory: The extension's, put first on `sys.path`.

    Raises:
        SystemExit: Status 1 when the extension does not load, with the reason on standard error; status 2 when what
            the node sent is no frame of the protocol. It returns when it was drained and when the socket has ended.
    """
    _keep_lines()
    connection = Connection(descriptor)
    try:
        converse(connection, module, object, directory)
    except NodeBrokenError as error:
        print(f"web4: the node broke the protocol: {error}", file=sys.stderr)  # noqa: T201 - the worker's log
        raise SystemExit(BAD_FRAME) from None
    except NodeGoneError:
        return
    finally:
        connection.close()


def converse(connection: Connection, module: str, name: str, directory: str) -> None:
    """Hello, import, ready, calls, until the connection is drained.

    Raises:
        NodeBrokenError: The node did not keep to the protocol.
        NodeGoneError: The socket has ended.
        SystemExit: The extension does not load.
    """
    hello = connection.receive()
    if not isinstance(hello, Hello):
        raise NodeBrokenError("the first frame is no hello")
    connection.hello = hello
    try:
        operations = load(hello, module, name, directory)
    except BaseException as error:
        _explain(error)
        raise SystemExit(NOT_STARTED) from None
    connection.send(
        Ready(
            protocol=PROTOCOL,
            sdk=SDK,
            tools=[one for kind, one in operations if kind == "tool"],
            commands=[one for kind, one in operations if kind == "command"],
            hooks=[one for kind, one in operations if kind == "hook"],
        )
    )
    if any(one.is_async for one in operations.values()):
        importlib.import_module("web4.ext.serving_async").run(connection, operations)
    else:
        serve_plain(connection, operations)


def load(hello: Hello, module: str, name: str, directory: str) -> dict[tuple[str, str], Operation]:
    """Import the extension and make it ready to be called.

    Raises:
        DeclarationError: It is not what the node takes it for.
        Exception: Whatever its import raises.
    """
    if hello.protocol != PROTOCOL:
        raise DeclarationError(f"the node speaks protocol {hello.protocol}, this SDK {PROTOCOL}")
    import_from_sources(directory)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    found: Any = importlib.import_module(module)
    for attribute in name.split("."):
        found = getattr(found, attribute)
    if not isinstance(found, Extension):
        raise DeclarationError(f"{module}:{name} is no Extension but of type {type(found).__name__}")
    if found.name != hello.extension:
        raise DeclarationError(f"{module}:{name} is called {found.name}, the manifest says {hello.extension}")
    for operation in found.operations():
        operation.prepare()
    return {(one.kind, one.name): one for one in found.operations()}


def serve_plain(connection: Connection, operations: dict[tuple[str, str], Operation]) -> None:
    """Serve calls one after another, until the connection is drained.

    Raises:
        NodeGoneError: The socket has ended, or the node broke the protocol.
    """
    while not connection.draining or connection.calls:
        frame = connection.next()
        if type(frame) is Call:
            send_answer(connection, answer_plain(connection, operations, frame))
        elif frame is not None:
            connection.take(frame)


def answer_plain(
    connection: Connection, operations: dict[tuple[str, str], Operation], call: Call
) -> Result | Error:
    """Run a plain handler to its end. Whatever leaves it becomes an answer."""
    context = Context(connection, call, is_plain=True)
    connection.opened(call.id, None)
    try:
        operation = begin(connection, operations, call)
        return conclude(operation, context, call, operation.bind(context, call.arguments))
    except NodeGoneError:
        raise
    except BaseException as error:
        if connection.forked:
            raise
        return error_frame(call.id, error, said_of(context))
    finally:
        finish(connection, call)


def begin(connection: Connection, operations: dict[tuple[str, str], Operation], call: Call) -> Operation:
    """The operation that a call is for.

    Raises:
        Failure: There is none, or the call was cancelled before it began.
    """
    operation = operations.get((call.kind, call.name))
    if operation is None:
        raise Failure("unknown_operation", f"there is no {call.kind} {call.name!r}", side_effects=False)
    if call.id in connection.cancelled:
        raise Failure("cancelled", "it was cancelled before it began", side_effects=False)
    return operation


def conclude(operation: Operation, context: Context, call: Call, returned: Any) -> Result | Error:
    """The answer to a call whose handler has returned.

    Raises:
        Failure: What it returned is no answer.
    """
    return Result(id=call.id, value=operation.value(returned), side_effects=said_of(context))


def send_answer(connection: Connection, answer: Result | Error) -> None:
    """Send what a call came to. What cannot be sent becomes an error that can.

    Raises:
        NodeGoneError: The socket has ended.
    """
    try:
        connection.send(answer)
    except FrameError as error:
        code, message = "result", f"its answer cannot be sent: {error}"
    except MemoryError:
        code, message = "memory", "the memory did not suffice for the answer"
    else:
        return
    connection.send(Error(id=answer.id, code=code, message=message, side_effects=answer.side_effects))


def said_of(context: Context) -> bool | None:
    """What the handler said of side effects, whatever it put there."""
    said = context.side_effects
    return said if said is None else bool(said)


def finish(connection: Connection, call: Call) -> None:
    """Forget a call. What its handler printed goes before its answer."""
    connection.closed(call.id)
    try:  # noqa: SIM105 - a context manager costs as much as the rest of this function
        sys.stdout.flush()
    except Exception:  # noqa: S110 - the extension may have closed or replaced it, and it is only the log
        pass


def _keep_lines() -> None:
    """Let `print` write whole lines at once, and never fail for a character."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is None:
            continue
        try:
            reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
        except OSError:  # a fork's stream remembers that its template's could seek; this one is a pipe
            stream = open(  # noqa: SIM115 - it lasts as long as the process
                descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
            )
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _explain(error: BaseException) -> None:
    """Say on standard error why the extension does not start; the node attaches it (EXT-28)."""
    frame = error_frame("start", error)
    if isinstance(error, DeclarationError):
        lines = [frame.message.removeprefix("DeclarationError: ")]
    else:
        lines = [*(frame.data or {}).get("traceback", ()), frame.message]
    print("web4: the extension does not load", *lines, sep="\n  ", file=sys.stderr)  # noqa: T201
    sys.stderr.flush()

"""Doing in the template what every worker will do first, so that it is learned once (EXT-35).

Python rewrites the code it runs often, and fills caches as it goes. What a template has rewritten is shared by all its
workers; what a worker rewrites, it has to copy first.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from typing import Final

from web4.ext.connection import Connection
from web4.ext.serving import converse
from web4.worker.frames import PROTOCOL, Call, Drain, Hello, encode

ROUNDS: Final = 12
"""Python 3.11 to 3.13 have seen enough by then."""
_MODULE: Final = "stand_in"
_EXTENSION: Final = "web4.stand_in"
_DIRECTORY: Final = f"{os.path.dirname(os.path.abspath(__file__))}/stand_in"  # noqa: PTH100, PTH120 - no pathlib here
_ANSWERS: Final = 256 * 1024


def rehearse() -> None:
    """Import an extension that does nothing, serve it calls, and forget it, several times.

    It leaves neither a descriptor nor an entry in `sys.modules`, `sys.path` or its hooks.

    Raises:
        OSError: There is no socket, or no descriptor for one.
    """
    path, hooks, finders = [*sys.path], [*sys.path_hooks], {*sys.path_importer_cache}
    try:
        for _ in range(ROUNDS):
            _once()
            sys.path[:], sys.path_hooks[:] = path, hooks
    finally:
        sys.path[:], sys.path_hooks[:] = path, hooks
        sys.modules.pop(_MODULE, None)
        for place in {*sys.path_importer_cache} - finders:
            del sys.path_importer_cache[place]
        importlib.invalidate_caches()


def _once() -> None:
    node, worker = socket.socketpair()
    with node:
        connection = Connection(worker.detach())
        try:
            # All that the node says fits into the socket, and all that the worker answers: nobody waits.
            for frame in _said():
                node.sendall(encode(frame))
            sys.modules.pop(_MODULE, None)
            converse(connection, _MODULE, "extension", _DIRECTORY)
            node.recv(_ANSWERS)
        finally:
            connection.close()


def _said() -> tuple[Hello | Call | Drain, ...]:
    limits = {"memory_mb": 256, "processes": 1}
    hello = Hello(
        protocol=PROTOCOL,
        extension=_EXTENSION,
        version="1.0.0",
        worker_id="0",
        generation=1,
        config={},
        limits=limits,
        tmp="/",
    )
    calls = [
        Call(id=str(number), kind="tool", name=name, arguments=arguments, deadline_ms=1_000)
        for number, (name, arguments) in enumerate(
            (("say", {"data": "x"}), ("add", {"first": 1, "second": 2}), ("say", {"data": "x" * 1024}))
        )
    ]
    return (hello, *calls, Drain())

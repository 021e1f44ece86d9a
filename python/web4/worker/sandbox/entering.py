"""Entering the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from web4.worker.request import Protections, WorkerRequest


def prepare(request: WorkerRequest) -> None:
    """In the template, before the fork: work out what can be worked out once. Cheap when it was done before.

    It opens no descriptor, starts no thread and changes nothing of the process.
    """


def enter(request: WorkerRequest) -> Protections:
    """In the worker, after groups, session and descriptors: give up all that the request does not grant, for good.

    Returns what is in force, as measured. The process is of no use for anything but the extension afterwards, nor
    after an error.

    Raises:
        Unprotected: A protection is missing, or a grant reaches what is hidden (EXT-31, EXT-32).
        OSError: A granted path cannot be opened.
    """
    raise NotImplementedError

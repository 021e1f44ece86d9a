"""Errors of services: of whoever calls one, and of whoever offers one."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error
from web4.mesh.errors import MeshError


class ServiceError(MeshError):
    """A call of a service did not end well.

    Args:
        reason: The code word that the other node gave, if it gave one: a word of its own.
    """

    codes = (
        ErrorCode("refused", "The other node does not do this for us.", "The handler did not run."),
        ErrorCode(
            "failed", "The handler failed, or gave what its schema does not allow.", "It may have run."
        ),
        ErrorCode("timeout", "There was no result in time.", "It may have run, or may still."),
        ErrorCode("busy", "As many calls are waiting as the limit allows.", "Nothing was sent, or run."),
    )

    def __init__(
        self, message: str, *, code: str, peer: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message, code=code, peer=peer)
        self.reason = reason


class ServiceDefinitionError(Web4Error):
    """A service cannot be offered as it was declared."""

    codes = (
        ErrorCode("service_name", "Its name or version does not fit.", "It is not offered."),
        ErrorCode("service_schema", "A schema of it cannot be used.", "It is not offered."),
        ErrorCode(
            "service_known", "A service of this name and major version is offered.", "It is not offered."
        ),
        ErrorCode("too_many_services", "As many are offered as the limit allows.", "It is not offered."),
    )


class ServiceRefusal(Exception):  # noqa: N818 - a handler says no; nobody erred
    """Raised by a handler that does not do what it is asked: the caller gets `refused` with this code word.

    Args:
        code: A lowercase word of up to 64 characters; told to the caller.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

"""What a worker's answer to a call comes to (EXT-13, EXT-17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from web4.extensions.conversation.concluding import Ending
from web4.extensions.conversation.evidence import is_memory_error
from web4.extensions.conversation.values import UnfitValueError, decode_value

if TYPE_CHECKING:
    from web4.extensions.conversation import arriving
    from web4.extensions.conversation.call import Call
    from web4.extensions.conversation.conversation import Conversation
    from web4.extensions.conversation.terms import Terms

MAX_MESSAGE: Final = 4096
"""Characters of what an extension says of its own error."""


def of_result(frame: arriving.Result, call: Call, terms: Terms) -> Ending:
    """A value, if it is one and fits its schema."""
    effects = frame.side_effects
    try:
        value = decode_value(frame.value)
    except UnfitValueError as error:
        return Ending(
            "error", "extension_invalid_result", f"the value is none: {error}", side_effects=effects
        )
    schema = terms.output(call.kind, call.name)
    if schema is not None and (complaint := schema.complaint(value)) is not None:
        reason = f"the value does not fit its schema: {complaint}"
        return Ending("error", "extension_invalid_result", reason, side_effects=effects)
    return Ending("ok", value=value, side_effects=effects)


def of_error(frame: arriving.Error, conversation: Conversation) -> Ending:
    """The extension's own error, redacted and bounded.

    Raises:
        UnfitValueError: Its data is no value.
    """
    memory = is_memory_error(frame.code, conversation.process.protections.memory)
    return Ending(
        "error",
        "extension_memory_exceeded" if memory else "extension_error",
        conversation.terms.redaction(f"{frame.code[:64]}: {frame.message[:MAX_MESSAGE]}"),
        data=_data(frame, conversation.terms),
        side_effects=frame.side_effects,
        retryable=frame.retryable,
        unclean=memory,
    )


def _data(frame: arriving.Error, terms: Terms) -> Any:
    """What came along with an error, for whoever mends it. Left out if a secret stands in it."""
    if terms.redaction.knows(frame.data):
        return None
    return decode_value(frame.data)

"""What of an event may be seen (OBS-5): by default no contents and no person's state; keys have no field at all."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from web4.foundation.codec import ENCODER
from web4.foundation.digest import blake3_hex
from web4.observe.catalogue import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.foundation.events import Event

_NONE: Mapping[str, Any] = MappingProxyType({})


class Redaction:
    """Takes out of events what may not be seen. What is not declared is not shown, whoever said it.

    Args:
        show_contents: Show contents as they are and not as digests. For a developer's own machine.
        show_human_state: Show how people are. It is theirs: ask them.
    """

    def __init__(self, *, show_contents: bool = False, show_human_state: bool = False) -> None:
        self._show_contents = show_contents
        self._show_human_state = show_human_state
        self.withheld: Counter[str] = Counter()
        """How often a field was withheld because it is not declared, by `type.field`: a mistake in the program."""

    def __call__(self, event: Event) -> Event:
        """The event as it may be seen: the same object if all of it may."""
        kind = KINDS.get(event.type)
        fields = _NONE if kind is None else kind.fields
        payload: dict[str, Any] = {}
        changed = False
        for name, value in event.payload.items():
            known = fields.get(name)
            if known is None:
                self.withheld[f"{event.type}.{name}"] += 1
                changed = True
            elif known == "content" and not self._show_contents and value is not None:
                payload[name] = _digest(value)
                changed = True
            elif known == "human" and not self._show_human_state:
                changed = True
            else:
                payload[name] = value
        if not changed:
            return event
        return msgspec.structs.replace(event, payload=MappingProxyType(payload))


def _digest(value: Any) -> Mapping[str, Any]:
    """What stands for a content: that it is the same as another one can be seen, and how long it is."""
    text = value if isinstance(value, str) else ENCODER.encode(value).decode()
    return MappingProxyType(
        {"blake3": blake3_hex(text.encode("utf-8", "surrogatepass")), "length": len(text)}
    )

"""Text that came from the web or from a peer: data with an origin, never an instruction (LIP-7)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from web4 import _core


class Origin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a text came from.

    Args:
        kind: `web` or `peer`.
        source: The URI it was fetched from in the end, or the fingerprint of the peer.
        digest: BLAKE3-256 of what it was read from, hex: the body, or the envelope.
        at_ms: When it came, Unix milliseconds.
    """

    kind: Literal["web", "peer"]
    source: str
    digest: str
    at_ms: int


class UntrustedText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text and its origin. It is no `str` on purpose: whoever wants the words has to say `text`, and so knows.

    Args:
        text: The words. Whatever they ask for, nothing of this node does it because of them.
        origin: Where they came from.
    """

    text: str
    origin: Origin

    def __repr__(self) -> str:
        return f"<{len(self.text)} characters from {self.origin.kind} {self.origin.source}>"

    __str__ = __repr__

    def json(self) -> Any:
        """What the text says as JSON: the objects of a message come as their JSON text.

        Raises:
            ValueError: It is no JSON (msgspec's errors are among them).
        """
        return msgspec.json.decode(self.text)

    def quoted(self) -> str:
        """The text between marks that it cannot hold itself, with its origin: how a prompt shows it to a model.

        The marks contain a hash of the text, so no text can close its own quotation.
        """
        mark = _core.blake3(self.text.encode("utf-8", "surrogatepass")).hex()[:32]
        about = f"origin={self.origin.kind} digest={self.origin.digest}"
        return f"<<untrusted {mark} {about}>>\n{self.text}\n<<end of untrusted {mark}>>"

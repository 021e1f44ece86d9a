"""Finding secrets that the node knows in what it is about to store or to hand out (JRN-18f).

A secret is searched for in the forms in which programs pass texts on: as it is, escaped for JSON (up to JSON within
JSON within JSON), in hex, in base64 wherever in a longer text it began, and percent-encoded. Compression, encryption
and pieces apart from each other are beyond it.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from web4.foundation.digest import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST: Final = 6
"""Bytes of the shortest secret that is searched for: a shorter one would be found where it is not."""

_NAME: Final = re.compile(r"[a-z0-9_.-]{1,64}", re.ASCII)
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]")
_NESTED: Final = 2
"""How deep JSON within the strings of JSON is looked into."""


class _Needle(NamedTuple):
    """One form of a secret. `before` and `after`: characters next to it that hold some bits of it."""

    data: bytes
    name: str
    before: int = 0
    after: int = 0


class SecretSearch:
    """The secrets a node knows at the moment."""

    def __init__(self) -> None:
        self._secrets: dict[str, list[_Needle]] = {}
        self._texts: tuple[_Needle, ...] = ()
        self._payloads: tuple[bytes, ...] = ()
        self._blobs: tuple[_Needle, ...] = ()
        self.replaced: dict[str, int] = {}
        """How often each was found and replaced, by name."""

    def __len__(self) -> int:
        return len(self._secrets)

    def learn(self, name: str, value: str | bytes) -> None:
        """Search for one more; a name that is known gets another value.

        Raises:
            ValueError: The name is not 1 to 64 characters of `[a-z0-9_.-]`, or the value is shorter than `SHORTEST`.
        """
        data = value.encode() if isinstance(value, str) else bytes(value)
        if not _NAME.fullmatch(name):
            raise ValueError("a secret's name is 1 to 64 characters of [a-z0-9_.-]")
        if len(data) < SHORTEST:
            raise ValueError(f"the secret {name} has fewer than {SHORTEST} bytes: it cannot be searched for")
        self._secrets[name] = list(_forms(name, data))
        self._arrange()

    def forget(self, name: str) -> None:
        """Search for it no more: it is no secret any longer."""
        self._secrets.pop(name, None)
        self._arrange()

    def _arrange(self) -> None:
        """Longest first: of a secret within another, and of a form within a longer one, nothing is left over."""
        needles = {needle.data: needle for forms in self._secrets.values() for needle in forms}
        texts = {data: needle for data, needle in needles.items() if _is_text(data)}
        escaped = {_escape(data): needle._replace(data=_escape(data)) for data, needle in texts.items()}
        self._texts = _longest_first(texts)
        self._payloads = tuple(needle.data for needle in _longest_first(escaped))
        self._blobs = _longest_first(escaped | needles)

    def found(self, data: bytes) -> list[str]:
        """The names of the secrets that stand in `data`."""
        return sorted({needle.name for needle in self._blobs if needle.data in data})

    def scrub(self, data: bytes) -> bytes:
        """Replace every secret in `data`; the same object if there is none."""
        return self._replace(data, self._blobs)

    def scrub_payload(self, payload: bytes) -> bytes:
        """Replace every secret in the keys and values of a canonical JSON document; the same object if there is none.

        Bytes are looked through first, which is cheap; only what may hold a secret is taken apart, because a match in
        the text of a document can begin in the middle of an escape.
        """
        for needle in self._payloads:
            if needle in payload:
                return self._scrub_document(payload)
        return payload

    def _scrub_document(self, payload: bytes) -> bytes:
        document = msgspec.json.decode(payload)
        scrubbed = self._scrub_value(document)
        return payload if scrubbed == document else canonical(scrubbed)

    def _scrub_value(self, value: Any) -> Any:
        if isinstance(value, str):
            data = value.encode()
            scrubbed = self._replace(data, self._texts)
            return value if scrubbed is data else scrubbed.decode()
        if isinstance(value, dict):
            scrubbed_items: dict[str, Any] = {}
            for key, item in value.items():
                name = self._scrub_value(key)
                while name in scrubbed_items or (name != key and name in value):
                    name += "'"  # two keys that held the same secret are still two
                scrubbed_items[name] = self._scrub_value(item)
            return scrubbed_items
        if isinstance(value, list):
            return [self._scrub_value(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = canonical(value)
            scrubbed = self._replace(text, self._texts)
            return value if scrubbed is text else scrubbed.decode()
        return value

    def _replace(self, data: bytes, needles: tuple[_Needle, ...]) -> bytes:
        for needle in needles:
            if needle.data in data:
                data = self._replace_one(data, needle)
        return data

    def _replace_one(self, data: bytes, needle: _Needle) -> bytes:
        mark = b"[redacted:" + needle.name.encode() + b"]"
        pieces = []
        begin = count = 0
        while (at := data.find(needle.data, begin)) >= 0:
            end = at + len(needle.data)
            if needle.before and at > begin and _BASE64.match(data, at - 1):
                at -= 1
            if needle.after and _BASE64.match(data, end):
                end += 1
            pieces += [data[begin:at], mark]
            begin = end
            count += 1
        self.replaced[needle.name] = self.replaced.get(needle.name, 0) + count
        return b"".join([*pieces, data[begin:]])


def _longest_first(needles: dict[bytes, _Needle]) -> tuple[_Needle, ...]:
    return tuple(sorted(needles.values(), key=lambda needle: (-len(needle.data), needle.data)))


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _escape(data: bytes) -> bytes:
    """A text as it stands within a string of canonical JSON."""
    return json.dumps(data.decode(), ensure_ascii=False)[1:-1].encode()


def _forms(name: str, secret: bytes) -> Iterator[_Needle]:
    """Every form of a secret. The same bytes may come more than once."""
    yield _Needle(secret, name)
    yield _Needle(secret.hex().encode(), name)
    yield _Needle(secret.hex().upper().encode(), name)
    yield from _base64_forms(name, secret)
    if _is_text(secret):
        yield _Needle(quote(secret, safe="").encode(), name)
        for escaped in _escaped_forms(secret.decode()):
            yield _Needle(escaped.encode(), name)
            yield from _base64_forms(name, escaped.encode())


def _escaped_forms(text: str) -> Iterator[str]:
    """A text as writers of JSON escape it, and as JSON within JSON has it."""
    for ascii_only in (False, True):
        for slashes in (False, True):
            escaped = text
            for _ in range(_NESTED):
                escaped = json.dumps(escaped, ensure_ascii=ascii_only)[1:-1]
                if slashes:
                    escaped = escaped.replace("/", "\\/")
                yield escaped


def _base64_forms(name: str, secret: bytes) -> Iterator[_Needle]:
    """The characters that a secret alone decides, for each of the three places where it can begin in a group."""
    for skipped in range(3):
        encoded = base64.b64encode(bytes(skipped) + secret)
        first = -(-skipped * 8 // 6)
        last = (skipped + len(secret)) * 8 // 6
        partial = (skipped + len(secret)) % 3 != 0
        standard = encoded[first:last]
        url_safe = standard.translate(bytes.maketrans(b"+/", b"-_"))
        slashed = standard.replace(b"/", b"\\/")
        for data in {standard, url_safe, slashed}:
            yield _Needle(data, name, before=int(skipped > 0), after=int(partial))

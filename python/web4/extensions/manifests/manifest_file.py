"""The file of a manifest: found, read within bounds, and parsed to plain values (EXT-5)."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
import unicodedata
from typing import TYPE_CHECKING, Any, Final

from web4.extensions.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

TOML_NAME: Final = "web4-extension.toml"
JSON_NAME: Final = "web4-extension.json"
MAX_BYTES: Final = 128 * 1024
"""Of the file (`=`)."""
MAX_DEPTH: Final = 48
_KEY_PART: Final = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_DEEP_KEY: Final = re.compile(f"(?<![A-Za-z0-9_-])(?:{_KEY_PART}){{{MAX_DEPTH}}}")
"""A dotted key of too many parts: the parser's work grows with the square of them."""
_JOINERS: Final = frozenset("\u200c\u200d")
"""Invisible, and part of how some languages and emoji are written."""
_HIDING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that reorder or hide text: a human, or a model, would be shown something else (EXT-7)."""


def manifest_path(directory: Path) -> Path:
    """The manifest of an extension's directory.

    Raises:
        ManifestError: There is none, or there are two.
    """
    found = [directory / name for name in (TOML_NAME, JSON_NAME) if os.path.lexists(directory / name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ManifestError(f"{directory} holds both {TOML_NAME} and {JSON_NAME}; keep one")
    if not directory.is_dir():
        raise ManifestError(f"{directory} is no directory")
    raise ManifestError(f"{directory} holds neither {TOML_NAME} nor {JSON_NAME}")


def read_bytes(path: Path) -> bytes:
    """Read a manifest's file.

    Raises:
        ManifestError: It cannot be read, is no regular file, or is too large.
    """
    # Neither a link nor a pipe: what is read is what the digest covers, and reading it ends.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ManifestError(f"{path} is no regular file")
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ManifestError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{path} is longer than {MAX_BYTES:,} bytes")
    return data


def parse_document(data: bytes, path: Path) -> dict[str, Any]:
    """Parse a manifest's file; what it holds are JSON values, and text that shows what it says.

    Args:
        data: The file's bytes.
        path: Where they are from: TOML or JSON by its name.

    Raises:
        ManifestError: It is no TOML or JSON, or too deep.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ManifestError(f"{path} is not UTF-8 text") from None
    try:
        document = _toml(text) if path.name.endswith(".toml") else _json(text)
    except (ValueError, OverflowError) as error:
        raise ManifestError(f"{path}: {shown_text(str(error))}") from None
    except RecursionError:
        raise ManifestError(f"{path}: more than {MAX_DEPTH} levels deep") from None
    if not isinstance(document, dict):
        raise ManifestError(f"{path} is no object")
    _check_values(document, path, "", 0)
    return document


def read_document(path: Path) -> dict[str, Any]:
    """Read and parse a manifest's file.

    Raises:
        ManifestError: See `read_bytes` and `parse_document`.
    """
    return parse_document(read_bytes(path), path)


def _toml(text: str) -> Any:
    if _DEEP_KEY.search(text):
        raise RecursionError
    return tomllib.loads(text)


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key, value in pairs:
        if key in read:
            raise ValueError(f"the key {key[:100]!r} stands there twice")
        read[key] = value
    return read


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _check_values(value: Any, path: Path, field: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ManifestError(f"{path}: more than {MAX_DEPTH} levels deep", field=field[:200])
    match value:
        case str():
            _check_text(value, path, field)
        case dict():
            for key, inner in value.items():
                _check_text(key, path, field)
                _check_values(inner, path, f"{field}.{key}" if field else key, depth + 1)
        case list():
            for index, inner in enumerate(value):
                _check_values(inner, path, f"{field}[{index}]", depth + 1)
        case bool() | None:
            pass
        case int() if abs(value) < 2**53:
            pass
        case float() if value - value == 0:
            pass
        case _:
            raise ManifestError(
                f"{path}: neither text, a number of JSON, true, false, an array nor a table", field=field
            )


def _check_text(text: str, path: Path, field: str) -> None:
    if text.isascii() and text.isprintable():
        return
    for character in text:
        if character in "\n\t" or character in _JOINERS:
            continue
        if unicodedata.category(character) in _HIDING or 0xE0100 <= ord(character) <= 0xE01EF:
            raise ManifestError(
                f"{path}: the character U+{ord(character):04X} hides or reorders what is shown",
                field=shown_text(field),
            )


def shown_text(text: str) -> str:
    """Text from outside in a message: printable, and not long."""
    return "".join(one if one.isprintable() else "?" for one in text[:200])

"""The table `[extensions]` of `web4.toml` (EXT-6, EXT-20, EXT-24, EXT-33, UX-36). Other tables are other rooms'."""

from __future__ import annotations

import os
import pwd
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from web4.extensions.errors import ExtensionsConfigurationError
from web4.extensions.manifests.ceilings import Ceilings
from web4.extensions.manifests.manifest import MAX_LISTED, ExtensionName, PathText
from web4.extensions.manifests.unknown_keys import field_of, first_unknown_key

_MAX_BYTES: Final = 1024 * 1024
_TABLE: Final = "extensions"


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    paths: Annotated[tuple[PathText, ...], msgspec.Meta(max_length=MAX_LISTED)] = ()
    development: Annotated[tuple[ExtensionName, ...], msgspec.Meta(max_length=MAX_LISTED)] = ()
    worker_user: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    ceilings: Ceilings = Ceilings()


class ExtensionsConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator says of extensions.

    Args:
        paths: Searched first (EXT-6): extensions, or directories that hold some. Absolute.
        development: Names of extensions whose changes need no human (EXT-7, EXT-39).
        worker_user: Uid and gid that workers change to (EXT-33); None leaves them the node's.
        ceilings: See there.
        file: Where it was read from, if it was.
    """

    paths: tuple[str, ...] = ()
    development: tuple[str, ...] = ()
    worker_user: tuple[int, int] | None = None
    ceilings: Ceilings = Ceilings()
    file: str | None = None


def read_configuration(path: Path | None) -> ExtensionsConfiguration:
    """Read the extensions' table of a `web4.toml`. Blocks.

    Relative paths begin at the file's directory; a leading `~` is the operator's home.

    Args:
        path: The file; None, or one that is not there, leaves all defaults.

    Raises:
        ExtensionsConfigurationError: It cannot be read, or the table does not fit. Names the key, and the
            line if it is found.
    """
    if path is None:
        return ExtensionsConfiguration()
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return ExtensionsConfiguration()
    except OSError as error:
        raise ExtensionsConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise ExtensionsConfigurationError(f"{path} is longer than {_MAX_BYTES:,} bytes")
    try:
        text = data.decode()
        table = tomllib.loads(text).get(_TABLE, {})
    except (ValueError, OverflowError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ExtensionsConfigurationError(f"{path}: {reason}") from None
    return _typed(table, text, path)


def _typed(table: Any, text: str, path: Path) -> ExtensionsConfiguration:
    unknown = first_unknown_key(table, _Document)
    if unknown is not None:
        raise _refused(str(unknown), unknown.field, text, path)
    try:
        typed = msgspec.convert(table, _Document)
    except msgspec.ValidationError as error:
        message, field = field_of(error)
        raise _refused(message, field or "", text, path) from None
    base = Path(os.path.abspath(path)).parent  # noqa: PTH100 - `resolve` would follow a link to the file
    try:
        paths = tuple(str(base / Path(one).expanduser()) for one in typed.paths)
        user = None if typed.worker_user is None else _user(typed.worker_user)
    except (ValueError, RuntimeError) as error:
        field = "worker_user" if typed.worker_user else "paths"
        raise _refused(str(error), field, text, path) from None
    return ExtensionsConfiguration(
        paths=paths,
        development=typed.development,
        worker_user=user,
        ceilings=typed.ceilings,
        file=str(path),
    )


def _user(word: str) -> tuple[int, int]:
    """Uid and gid of a user by name, or of `uid:gid`.

    Raises:
        ValueError: There is no such user, or it is root: that would isolate nothing.
    """
    if re.fullmatch(r"[0-9]{1,10}:[0-9]{1,10}", word, re.ASCII):
        uid, gid = (int(one) for one in word.split(":"))
    else:
        try:
            entry = pwd.getpwnam(word)
        except KeyError:
            raise ValueError("there is no user of this name; name one, or say `uid:gid`") from None
        uid, gid = entry.pw_uid, entry.pw_gid
    if uid == 0 or gid == 0:
        raise ValueError("workers of root are not isolated; name another user")
    if max(uid, gid) >= 2**32 - 1:
        raise ValueError("no user has this number")
    return uid, gid


def _refused(message: str, field: str, text: str, path: Path) -> ExtensionsConfigurationError:
    dotted = f"{_TABLE}.{field}" if field else _TABLE
    line = _line_of(dotted, text)
    return ExtensionsConfigurationError(f"{path}{f', line {line}' if line else ''}: {message}", field=dotted)


def _line_of(dotted: str, text: str) -> int | None:
    """Where a key stands, if it is written in the usual way: below its table's header, or dotted."""
    wanted = re.sub(r"\[\d+\].*", "", dotted)
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]", line)
        if header:
            table = header[1]
            if table == wanted:
                return number
            continue
        key = re.match(r"""\s*["']?([A-Za-z0-9_.-]+)["']?\s*=""", line)
        if key and (f"{table}.{key[1]}" if table else key[1]) == wanted:
            return number
    return None

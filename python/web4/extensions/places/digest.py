"""The digest of an extension's directory: what was enabled is what runs (EXT-7).

Every file counts, and every link by the text of its target. Left aside are the compiled caches of Python alone:
`*.pyc` inside `__pycache__`. A worker must not read those (`sys.pycache_prefix` leads it elsewhere), for they are
pinned by nothing; a `*.pyc` in any other place is code like any other and counts.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Final, Literal

import msgspec

from web4 import _core
from web4.extensions.errors import TreeError
from web4.extensions.manifests.reading import inside

FORMAT: Final = b"web4-extension-tree-1\n"
_CACHES: Final = "__pycache__"
_CHUNK: Final = 1024 * 1024
_TRIES: Final = 3
_YOUNG_NS: Final = 2_000_000_000
"""Coarsest time stamps of a file system in use. What changed later than that may change again unnoticed."""

FileKind = Literal["file", "program", "link"]


class TreeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a directory may hold (`=`). Reaching one refuses it; nothing is left out silently."""

    files: int = 10_000
    bytes: int = 256 * 1024 * 1024
    depth: int = 32
    entries: int = 50_000


class FileDigest(msgspec.Struct, frozen=True, array_like=True):
    """One file: what it is, and the BLAKE3 of its bytes or of its link's target, in hex."""

    kind: FileKind
    digest: str


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """What the file system says of an entry: changing its contents changes one of these."""

    path: str
    device: int
    inode: int
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class TreeDigest(msgspec.Struct, frozen=True, kw_only=True):
    """A directory as it was read.

    Args:
        digest: Over `files`, in hex.
        files: Every file by its path in the directory, `/` between names, sorted.
        stamps: Of all entries, directories included.
        settled: Whether equal stamps mean equal files: no entry changed so shortly before it was read that its
            stamps could stay the same when it changes again.
    """

    digest: str
    files: dict[str, FileDigest]
    stamps: tuple[Stamp, ...]
    settled: bool


class TreeChange(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two readings, by paths."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        parts = [
            f"{what}: {', '.join(paths[:5])}{f' and {len(paths) - 5:,} more' if len(paths) > 5 else ''}"
            for what, paths in (("changed", self.changed), ("added", self.added), ("removed", self.removed))
            if paths
        ]
        return "; ".join(parts) or "nothing differs"


def tree_digest(directory: str | os.PathLike[str], limits: TreeLimits | None = None) -> TreeDigest:
    """Read all of a directory. Blocks; a directory that changes meanwhile is read again.

    Args:
        directory: The extension's.
        limits: See `TreeLimits`.

    Raises:
        TreeError: It cannot be pinned; the message names the entry.
    """
    root = os.path.realpath(directory)
    limits = limits or TreeLimits()
    for _ in range(_TRIES):
        began_ns = time.time_ns()  # what the file system stamps with; nothing is decided by it
        walk = _Walk(root, limits)
        before = walk.stamps()
        files = walk.files(before)
        if _Walk(root, limits).stamps() == before:
            young = any(max(one.ctime_ns, one.mtime_ns) > began_ns - _YOUNG_NS for one in before)
            return TreeDigest(digest=_digest_of(files), files=files, stamps=before, settled=not young)
    raise TreeError(
        f"{root} changes while it is read; try again when nobody writes there", code="tree_restless"
    )


def unchanged(directory: str | os.PathLike[str], known: TreeDigest, limits: TreeLimits | None = None) -> bool:
    """Whether a directory is certainly what it was: a look at its entries, without reading any. Blocks.

    False says nothing: only `tree_digest` tells. That is also the answer when something cannot be looked at.
    """
    if not known.settled:
        return False
    try:
        return _Walk(os.path.realpath(directory), limits or TreeLimits()).stamps() == known.stamps
    except TreeError:
        return False


def difference(before: dict[str, FileDigest], after: dict[str, FileDigest]) -> TreeChange:
    """What differs between the files of two readings."""
    return TreeChange(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(path for path in before.keys() & after.keys() if before[path] != after[path])),
    )


def encode_files(files: dict[str, FileDigest]) -> bytes:
    """Write files as the blob that an enabling keeps of them."""
    return msgspec.json.encode(files, order="sorted")


def decode_files(data: bytes) -> dict[str, FileDigest]:
    """Read what `encode_files` wrote.

    Raises:
        ValueError: It is none (msgspec's errors are among them).
    """
    return msgspec.json.decode(data, type=dict[str, FileDigest])


def _digest_of(files: dict[str, FileDigest]) -> str:
    """One digest over all. Paths have lengths before them, so that no two trees write the same bytes."""
    hasher = _core.Blake3()
    hasher.update(FORMAT)
    for path, one in files.items():
        name = path.encode()
        hasher.update(one.kind[0].encode() + len(name).to_bytes(4, "big") + name + bytes.fromhex(one.digest))
    return hasher.digest().hex()


class _Walk:
    """One pass over a directory. Follows no link, and opens nothing but regular files."""

    def __init__(self, root: str, limits: TreeLimits) -> None:
        self._root = root
        self._limits = limits
        self._bytes = 0

    def stamps(self) -> tuple[Stamp, ...]:
        """What the file system says of every entry that counts, and of every directory, sorted by path."""
        found: list[Stamp] = []
        files = 0
        waiting = [("", 0)]
        while waiting:
            relative, depth = waiting.pop()
            found.append(self._stamp(relative))
            if depth > self._limits.depth:
                raise self._too_large(f"{relative} is more than {self._limits.depth} levels deep")
            for name in self._names(relative):
                path = f"{relative}/{name}" if relative else name
                one = self._stamp(path)
                if stat.S_ISDIR(one.mode):
                    waiting.append((path, depth + 1))
                elif not _is_cache(path):
                    found.append(one)
                    files += 1
                if files > self._limits.files or len(found) + len(waiting) > self._limits.entries:
                    raise self._too_large(f"it holds more than {self._limits.files:,} files")
        # A directory of caches changes whenever Python runs; what else is in it is listed by itself.
        return tuple(sorted((one for one in found if not _is_cache_directory(one)), key=lambda one: one.path))

    def files(self, stamps: tuple[Stamp, ...]) -> dict[str, FileDigest]:
        """The digests of all files among `stamps`."""
        self._bytes = 0
        if sum(one.size for one in stamps if stat.S_ISREG(one.mode)) > self._limits.bytes:
            raise self._too_large(f"it holds more than {self._limits.bytes:,} bytes")
        return {one.path: self._file(one) for one in stamps if not stat.S_ISDIR(one.mode)}

    def _at(self, relative: str) -> str:
        return f"{self._root}/{relative}" if relative else self._root

    def _names(self, relative: str) -> list[str]:
        try:
            with os.scandir(self._at(relative)) as entries:
                names = []
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > self._limits.entries:
                        raise self._too_large(
                            f"{relative or 'it'} holds more than {self._limits.entries:,} entries"
                        )
        except OSError as error:
            raise self._unreadable(relative, error) from None
        for name in names:
            if not name.isprintable():
                raise TreeError(
                    f"{self._root}: a name in {relative or 'it'} is no plain text", code="tree_name"
                )
        return sorted(names)

    def _stamp(self, relative: str) -> Stamp:
        try:
            found = os.lstat(self._at(relative))
        except OSError as error:
            raise self._unreadable(relative, error) from None
        mode = found.st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            raise TreeError(f"{self._root}: {relative} is a pipe, a socket or a device", code="tree_special")
        if not relative and not stat.S_ISDIR(mode):
            raise TreeError(f"{self._root} is no directory")
        return Stamp(
            relative, found.st_dev, found.st_ino, mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )

    def _file(self, one: Stamp) -> FileDigest:
        path = self._at(one.path)
        try:
            if stat.S_ISLNK(one.mode):
                return self._link(path, one.path)
            return FileDigest("program" if one.mode & 0o111 else "file", self._contents(path, one))
        except OSError as error:
            raise self._unreadable(one.path, error) from None

    def _link(self, path: str, relative: str) -> FileDigest:
        target = os.path.realpath(path)
        if not inside(target, self._root):
            raise TreeError(f"{self._root}: the link {relative} leads out of it", code="tree_escape")
        if target != self._root and _is_cache(target[len(self._root.rstrip("/")) + 1 :]):
            raise TreeError(
                f"{self._root}: the link {relative} leads to a compiled cache", code="tree_escape"
            )
        text = os.readlink(path)  # noqa: PTH115 - a `Path` would tidy the text up
        return FileDigest("link", _core.blake3(os.fsencode(text)).hex())

    def _contents(self, path: str, one: Stamp) -> str:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(
                found.st_mode
            ):  # another file by now is told by the second look at the stamps
                raise TreeError(f"{self._root}: {one.path} was replaced", code="tree_restless")
            hasher = _core.Blake3()
            while piece := file.read(_CHUNK):
                self._bytes += len(piece)
                if self._bytes > self._limits.bytes:
                    raise self._too_large(f"it holds more than {self._limits.bytes:,} bytes")
                hasher.update(piece)
        return hasher.digest().hex()

    def _too_large(self, reason: str) -> TreeError:
        return TreeError(f"{self._root}: {reason}", code="tree_too_large")

    def _unreadable(self, relative: str, error: OSError) -> TreeError:
        return TreeError(f"{self._root}: {relative or 'it'} cannot be read: {error.strerror}")


def _is_cache(path: str) -> bool:
    """Whether a file is left aside: it is a compiled cache of Python's, where Python keeps them."""
    directory, _, name = path.rpartition("/")
    return name.endswith(".pyc") and directory.rpartition("/")[2] == _CACHES


def _is_cache_directory(one: Stamp) -> bool:
    return stat.S_ISDIR(one.mode) and one.path.rpartition("/")[2] == _CACHES

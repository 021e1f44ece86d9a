"""`peers.toml`, the peers that the operator named: read strictly, written so that comments stay (MESH-8, TRUST-5)."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
import tomllib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import msgspec
import tomlkit
from tomlkit.items import AoT

from web4.extensions.manifests.unknown_keys import first_unknown_key
from web4.foundation.codec import AgentId, Fingerprint, HumanId
from web4.foundation.misfit import misfit
from web4.mesh.registry.addresses import MAX_ADDRESS, MAX_ADDRESSES, check_address
from web4.mesh.registry.errors import AddressError, PeersFileError
from web4.mesh.registry.toml_lines import line_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS_FILE: Final = "peers.toml"
MAX_PEERS: Final = 1_024
MAX_BYTES: Final = 1024 * 1024
PATIENCE_SECONDS: Final = 5
"""How long another writer is waited for."""
_KEY: Final = "peer"


class NamedPeer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[peer]]` of the file.

    Args:
        name: What the operator calls it here; verbs take it for the fingerprint.
        fingerprint: Who it is (ID-1).
        addresses: Where to dial it, the first that answers; none for a peer that only dials.
        anchor: Whether it is trusted from the start (`anchored`, TRUST-5).
        human: The human behind it, as the operator calls them.
    """

    name: AgentId
    fingerprint: Fingerprint
    addresses: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ADDRESS)], ...],
        msgspec.Meta(max_length=MAX_ADDRESSES),
    ] = ()
    anchor: bool = False
    human: HumanId | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    peer: tuple[NamedPeer, ...] = ()


class PeersFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says.

    Args:
        peers: In the file's order.
    """

    peers: tuple[NamedPeer, ...] = ()

    def __iter__(self) -> Iterator[NamedPeer]:
        return iter(self.peers)

    def __len__(self) -> int:
        return len(self.peers)

    def find(self, word: str) -> NamedPeer | None:
        """The peer of this name or fingerprint."""
        return next((one for one in self.peers if word in {one.name, one.fingerprint}), None)

    @property
    def anchors(self) -> tuple[str, ...]:
        """The fingerprints that are trusted from the start (TRUST-5)."""
        return tuple(one.fingerprint for one in self.peers if one.anchor)


def read_peers(path: Path) -> PeersFile:
    """Read a peers file; a missing one has no peers. Blocks.

    Raises:
        PeersFileError: It cannot be read, or does not fit. Names the file, the line and the key.
    """
    return peers_of(_text(path), path)


def peers_of(text: str, path: Path) -> PeersFile:
    """What the text of a peers file says. `path` is named in errors.

    Raises:
        PeersFileError: It does not fit.
    """
    document = _parsed(text, path)
    unknown = first_unknown_key(document, _File)
    if unknown is not None:
        _refuse("unknown_key", str(unknown), unknown.field, text, path)
    try:
        typed = msgspec.convert(document, _File)
    except msgspec.ValidationError as error:
        wrong = misfit(error, document, _File)
        _refuse("value", str(wrong), wrong.field or _KEY, text, path)
    if len(typed.peer) > MAX_PEERS:
        _refuse("too_many", f"more than {MAX_PEERS:,} peers", f"{_KEY}[{MAX_PEERS}]", text, path)
    _check(typed.peer, text, path)
    return PeersFile(peers=typed.peer)


def add_peer(path: Path, peer: NamedPeer) -> PeersFile:
    """Add a peer at the end of the file, which is made if there is none; what is in it stays as it is written. Blocks.

    The file is replaced whole or not at all, and is the operator's alone (0600).

    Raises:
        PeersFileError: The peer does not fit, or is there already; or the file cannot be read or written.
    """
    _check_addresses(peer)
    with _alone(path):
        return _add(path, peer)


def _add(path: Path, peer: NamedPeer) -> PeersFile:
    text = _text(path)
    known = peers_of(text, path)
    for other in known:
        if peer.fingerprint == other.fingerprint or peer.name == other.name:
            what = "fingerprint" if peer.fingerprint == other.fingerprint else "name"
            field = f"{_KEY}[{known.peers.index(other)}].{what}"
            _refuse("duplicate", f"{other.name} has this {what} already", field, text, path)
    document = tomlkit.parse(text)
    table = tomlkit.table()
    for key, value in msgspec.to_builtins(peer).items():
        if value not in (None, False) and value != ():
            table.add(key, list(value) if isinstance(value, tuple) else value)
    peers = document.get(_KEY)
    if isinstance(peers, AoT):
        peers.append(table)
    elif peers is None:
        if text.strip():
            document.add(tomlkit.nl())
        peers = tomlkit.aot()
        peers.append(table)
        document.add(_KEY, peers)
    else:
        _refuse("value", "write each peer as a [[peer]] table of its own", _KEY, text, path)
    return _write(path, tomlkit.dumps(document))


def remove_peer(path: Path, word: str) -> PeersFile:
    """Remove the peer of this name or fingerprint; all else stays as it is written. Blocks.

    Raises:
        PeersFileError: `unknown_peer`, or what `add_peer` raises.
    """
    with _alone(path):
        return _remove(path, word)


def _remove(path: Path, word: str) -> PeersFile:
    text = _text(path)
    known = peers_of(text, path)
    peer = known.find(word)
    if peer is None:
        raise PeersFileError(f"{path} has no peer {word[:64]!r}", code="unknown_peer")
    document = tomlkit.parse(text)
    peers = document[_KEY]
    if not isinstance(peers, AoT):
        _refuse("value", "write each peer as a [[peer]] table of its own", _KEY, text, path)
    del peers[known.peers.index(peer)]
    if not peers:  # an array of no tables would be written as a value, to which no [[peer]] can be added
        del document[_KEY]
    return _write(path, tomlkit.dumps(document))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise PeersFileError(f"{path} cannot be read: {error.strerror}", code="unreadable") from None
    if len(data) > MAX_BYTES:
        raise PeersFileError(f"{path} is longer than {MAX_BYTES:,} bytes", code="too_many")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PeersFileError(f"{path}, line {line}: not UTF-8", code="syntax", line=line) from None


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, OverflowError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        found = reason.rpartition("(at line ")[2].partition(",")[0]
        line = int(found) if found.isdecimal() else None
        if reason.endswith("(at end of document)"):
            line = text.rstrip("\n").count("\n") + 1
        where = f", line {line}" if line else ""
        raise PeersFileError(f"{path}{where}: {reason}", code="syntax", line=line) from None


def _check(peers: tuple[NamedPeer, ...], text: str, path: Path) -> None:
    """What must hold beyond the types: names and fingerprints once, addresses of a known kind."""
    seen: dict[str, str] = {}
    for index, peer in enumerate(peers):
        for what in ("name", "fingerprint"):
            value = getattr(peer, what)
            if value in seen:
                field = f"{_KEY}[{index}].{what}"
                _refuse("duplicate", f"{seen[value]} has this {what} already", field, text, path)
            seen[value] = peer.name
        try:
            _check_addresses(peer)
        except PeersFileError as error:
            _refuse("address", error.args[0], f"{_KEY}[{index}].{error.field}", text, path)


def _check_addresses(peer: NamedPeer) -> None:
    """Raises `address`, without file and line: those of whoever has them."""
    for number, address in enumerate(peer.addresses):
        try:
            check_address(address, peer=peer.fingerprint)
        except AddressError as error:
            raise PeersFileError(
                f"{address[:80]!r}: {error.args[0]}", code="address", field=f"addresses[{number}]"
            ) from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Read and replace the file while nobody else does: of two that add at once, neither is lost."""
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PeersFileError(f"{path} cannot be written: {error.strerror}", code="unwritable") from None
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise PeersFileError(
                        f"{path}: another process has been writing it for {PATIENCE_SECONDS} s",
                        code="unwritable",
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(directory)


def _refuse(code: str, message: str, field: str, text: str, path: Path) -> NoReturn:
    line = line_of(field, text)
    where = f", line {line}" if line else ""
    raise PeersFileError(f"{path}{where}: {message}", code=code, field=field, line=line)


def _write(path: Path, text: str) -> PeersFile:
    """Replace the file by one that says `text`: whole, durable, and readable by nobody else."""
    said = peers_of(text, path)
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(descriptor)
            Path(draft).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(draft).unlink()
            raise
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise PeersFileError(f"{path} cannot be written: {error.strerror}", code="unwritable") from None
    return said

"""A node's data directory: what lies where, and who may look (ID-2, UX-36, UX-37)."""

from __future__ import annotations

import json
import re
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from web4.foundation.identity import generate_identity, load_identity, save_identity, write_new
from web4.mesh.registry.peers_file import PEERS_FILE
from web4.node.config import CONFIG_FILE, config_of
from web4.node.errors import DirectoryError

if TYPE_CHECKING:
    from pathlib import Path

    from web4.foundation.identity import Identity

_STARTER: Final = """\
# What a node is told. Every key may be left out; a wrong one keeps the node from starting, and is named.

[node]
name = {name}

[rtt]
# Where other agents may dial: an address of this machine, and a port; 0 lets the system choose.
listen = [{listen}]
"""
LISTEN: Final = "tcp://127.0.0.1:7440"
"""Where a new node listens, if nothing else is said."""
_NOT_A_NAME: Final = re.compile(r"[^a-z0-9._-]+")


class Places(NamedTuple):
    """Where things lie in a data directory."""

    data: Path

    @property
    def config(self) -> Path:
        """`web4.toml`."""
        return self.data / CONFIG_FILE

    @property
    def peers(self) -> Path:
        """`peers.toml`."""
        return self.data / PEERS_FILE

    @property
    def key(self) -> Path:
        """The node's key, 0600 in a directory of 0700."""
        return self.data / "identity" / "node.pem"

    @property
    def next_key(self) -> Path:
        """The key that a rotation has made and not yet put in its place (ID-4)."""
        return self.key.with_name("node.pem.next")

    @property
    def retired(self) -> Path:
        """Identities that were rotated away, each with its journal."""
        return self.data / "retired"

    @property
    def journal(self) -> Path:
        """The journal's directory."""
        return self.data / "journal"

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.data / "run" / "node.sock"

    @property
    def logs(self) -> Path:
        """Events as lines of JSON."""
        return self.data / "logs"

    @property
    def runtime(self) -> Path:
        """What workers need while they run."""
        return self.data / "run"

    @property
    def name(self) -> str:
        """A name for a node that was given none: the directory's, as far as it can be one (ID-3)."""
        return _NOT_A_NAME.sub("-", self.data.absolute().name.lower())[:64].strip("-.") or "node"


class Made(NamedTuple):
    """What `make_directory` made, and found."""

    identity: Identity
    made: tuple[str, ...]


def make_directory(places: Places, *, name: str | None = None, listen: str = LISTEN) -> Made:
    """Make a data directory, an identity and a configuration file, each only if it is missing. Blocks.

    Args:
        places: Where.
        name: What the agent calls itself; left out, after the directory.
        listen: Where it listens, for the configuration file.

    Raises:
        ConfigurationError: Name or address cannot stand in a configuration. Nothing was made.
        DirectoryError: `directory_permissions`, `not_a_directory`, `rotation_unfinished`.
        IdentityError: There is a key that cannot be used.
        OSError: Something cannot be made.
    """
    called = places.name if name is None else name
    config_of({"node": {"name": called}, "rtt": {"listen": [listen]}})
    starter = _STARTER.format(name=json.dumps(called), listen=json.dumps(listen))
    made = []
    if not places.data.exists():
        places.data.mkdir(mode=0o700, parents=True)
        made.append(str(places.data))
    check_directory(places)
    if places.key.exists():
        identity = load_identity(places.key)
    else:
        refuse_unfinished(places)
        identity = generate_identity()
        save_identity(identity, places.key)
        made.append(str(places.key))
    if not places.config.exists():
        try:
            write_new(places.config, starter.encode())
        except OSError as error:  # writing names no file
            raise OSError(error.errno, error.strerror, str(places.config)) from None
        made.append(str(places.config))
    return Made(identity, tuple(made))


def open_directory(places: Places) -> Identity:
    """The identity of an existing data directory. Blocks.

    Raises:
        DirectoryError: `no_node`, `directory_permissions`, `rotation_unfinished`.
        IdentityError: The key cannot be used: wider modes than 0600 in 0700 refuse the start (ID-2).
    """
    if not places.key.exists():
        refuse_unfinished(places)
        raise DirectoryError(f"there is no node in {places.data}", code="no_node")
    check_directory(places)
    return load_identity(places.key)


def refuse_unfinished(places: Places) -> None:
    """Where a rotation has set the old key aside and not come further, no other key may take up the journal.

    Raises:
        DirectoryError: `rotation_unfinished`.
    """
    if places.next_key.exists() and not places.key.exists():
        raise DirectoryError(
            f"a rotation of the key in {places.data} was interrupted",
            code="rotation_unfinished",
        )


def check_directory(places: Places) -> None:
    """Refuse a data directory to which others may write, and what is no directory.

    Raises:
        DirectoryError: `directory_permissions`, `not_a_directory`.
    """
    if not places.data.is_dir():
        raise DirectoryError(f"{places.data} is no directory", code="not_a_directory")
    mode = places.data.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DirectoryError(
            f"others may write to {places.data}: `chmod go-w {places.data}`", code="directory_permissions"
        )

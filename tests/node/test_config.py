"""`web4.toml` and the data directory (UX-36, UX-37, ID-2)."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

import pytest

from web4.foundation.errors import IdentityError
from web4.node.config import NodeConfig, read_config
from web4.node.directory import Places, make_directory, open_directory
from web4.node.errors import ConfigurationError, DirectoryError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_missing_file_says_nothing(tmp_path: Path) -> None:
    assert read_config(tmp_path / "web4.toml") == NodeConfig()


def test_what_init_writes_can_be_read(tmp_path: Path) -> None:
    """UX-8: each is made only if it is missing; twice is as once."""
    places = Places(tmp_path / "My Node!")
    first = make_directory(places)
    assert [one.rsplit("/", 1)[-1] for one in first.made] == ["My Node!", "node.pem", "web4.toml"]
    assert stat.S_IMODE(places.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.key.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(places.data.stat().st_mode) == 0o700
    again = make_directory(places)
    assert again.made == ()
    assert again.identity.fingerprint == first.identity.fingerprint == open_directory(places).fingerprint
    config = read_config(places.config)
    assert config.node.name == "my-node"
    assert config.rtt.listen == ("tcp://127.0.0.1:7440",)


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("[rtt", "configuration", "no TOML"),
        ("[rrt]\n", "configuration_key", "did you mean 'rtt'"),
        (
            '[node]\nnmae = "x"\n',
            "configuration_key",
            "line 2: there is no key 'node.nmae'; did you mean 'name'",
        ),
        ('[node]\nname = "X"\n', "configuration_value", "line 2: node.name must be "),
        ("\n[rtt]\nlisten = 5\n", "configuration_value", "line 3: rtt.listen must be "),
        (
            '[knowledge]\nmode = "lax"\n',
            "configuration_value",
            "line 2: knowledge.mode must be 'relaxed' or 'strict', and is 'lax'",
        ),
        ("[limits]\nmessages_per_second = 0\n", "configuration_value", "line 2: limits.messages_per_second"),
        ("[doors.ndjson]\nenable = true\n", "configuration_key", "did you mean 'enabled'"),
        ("\udcff", "configuration", "UTF-8"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, code: str, says: str) -> None:
    """UX-36: an error with line and nearest valid name."""
    path = tmp_path / "web4.toml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigurationError) as caught:
        read_config(path)
    assert caught.value.code == code
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_key_permissions(tmp_path: Path) -> None:
    """ID-2: wide key modes refuse the start."""
    places = Places(tmp_path / "node")
    make_directory(places)
    places.key.chmod(0o640)
    with pytest.raises(IdentityError) as caught:
        open_directory(places)
    assert caught.value.code == "key_permissions"
    places.key.chmod(0o600)
    places.key.parent.chmod(0o755)
    with pytest.raises(IdentityError):
        open_directory(places)
    places.key.parent.chmod(0o700)
    places.data.chmod(0o777)
    with pytest.raises(DirectoryError) as wide:
        open_directory(places)
    assert wide.value.code == "directory_permissions"


def test_no_node(tmp_path: Path) -> None:
    with pytest.raises(DirectoryError) as caught:
        open_directory(Places(tmp_path))
    assert caught.value.code == "no_node"


def test_init_beside_a_configuration_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UX-8: what is there is left alone; and what cannot be written is named, and not half there."""
    places = Places(tmp_path / "node")
    make_directory(places)

    def full(*_: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("web4.node.directory.write_new", full)
    assert make_directory(places).made == ()
    places.config.unlink()
    with pytest.raises(OSError, match="No space left") as caught:
        make_directory(places)
    assert caught.value.filename == str(places.config)
    assert not places.config.exists()

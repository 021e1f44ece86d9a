"""The peers file: read strictly, errors that name the line, written without losing a comment (MESH-8, TRUST-5)."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from web4.mesh.registry.errors import PeersFileError
from web4.mesh.registry.peers_file import (
    MAX_PEERS,
    NamedPeer,
    add_peer,
    peers_of,
    read_peers,
    remove_peer,
)

if TYPE_CHECKING:
    from pathlib import Path

A, B, C = "a" * 64, "b" * 64, "c" * 64
TEXT = f"""\
# who we know
[[peer]]
name = "bela"  # a colleague
fingerprint = "{A}"
addresses = ["tcp://10.0.0.7:7440", "unix:///run/bela.sock"]
anchor = true
human = "bea"

[[peer]]
name = "carl"
fingerprint = "{B}"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "peers.toml"


def test_read(path: Path) -> None:
    assert len(read_peers(path)) == 0
    path.write_text(TEXT)
    peers = read_peers(path)
    assert [one.name for one in peers] == ["bela", "carl"]
    assert peers.anchors == (A,)
    bela = peers.find("bela")
    assert bela is not None
    assert bela.human == "bea"
    assert peers.find(B) == NamedPeer(name="carl", fingerprint=B)
    assert peers.find("bea") is None


# What is wrong, where it stands, and what it is called.
ERRORS = {
    "syntax": ('name = "x', 1, "syntax", None),
    "second header broken": (TEXT + "[[peer]\n", 12, "syntax", None),
    "unknown key, with what was meant": (TEXT + 'adresses = ["x"]\n', 12, "unknown_key", "peer[1].adresses"),
    "unknown table": (TEXT + "[peers]\nx = 1\n", 12, "unknown_key", "peers"),
    "no name": (TEXT + f'[[peer]]\nfingerprint = "{C}"\n', 12, "value", "peer[2].name"),
    "bad name": (TEXT.replace('"carl"', '"Carl"'), 10, "value", "peer[1].name"),
    "bad fingerprint": (TEXT.replace(B, "B" * 64), 11, "value", "peer[1].fingerprint"),
    "anchor is no text": (TEXT.replace("true", '"yes"'), 6, "value", "peer[0].anchor"),
    "no table": ("peer = 3\n", 1, "value", "peer"),
    "no address": (TEXT.replace("tcp://10.0.0.7:7440", "10.0.0.7"), 5, "address", "peer[0].addresses[0]"),
    "no port": (TEXT.replace(":7440", ""), 5, "address", "peer[0].addresses[0]"),
    "port 0": (TEXT.replace(":7440", ":0"), 5, "address", "peer[0].addresses[0]"),
    "relative": (TEXT.replace("unix:///run", "unix://run"), 5, "address", "peer[0].addresses[1]"),
    "scheme": (TEXT.replace("unix:", "http:"), 5, "address", "peer[0].addresses[1]"),
    "another's": (
        TEXT + f'addresses = [\n  "mesh://{A}",\n]\n',
        12,
        "address",
        "peer[1].addresses[0]",
    ),
    "name twice": (TEXT.replace('"carl"', '"bela"'), 10, "duplicate", "peer[1].name"),
    "fingerprint twice": (TEXT.replace(B, A), 11, "duplicate", "peer[1].fingerprint"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_line(path: Path, name: str) -> None:
    text, line, code, field = ERRORS[name]
    path.write_text(text)
    with pytest.raises(PeersFileError) as caught:
        read_peers(path)
    error = caught.value
    assert (error.line, error.code, error.field) == (line, code, field)
    assert f"{path}, line {line}: " in str(error)


def test_more_errors(path: Path) -> None:
    path.write_bytes(b"# fine\n\xff\n")
    with pytest.raises(PeersFileError) as caught:
        read_peers(path)
    assert (caught.value.code, caught.value.line) == ("syntax", 2)
    with pytest.raises(PeersFileError, match="did you mean 'addresses'"):
        peers_of(TEXT + 'adresses = ["x"]\n', path)
    with pytest.raises(PeersFileError) as caught:
        read_peers(path.parent)
    assert caught.value.code == "unreadable"
    many = "".join(f'[[peer]]\nname = "p{n}"\nfingerprint = "{n:064x}"\n' for n in range(MAX_PEERS + 1))
    with pytest.raises(PeersFileError) as caught:
        peers_of(many, path)
    assert (caught.value.code, caught.value.line) == ("too_many", 3 * MAX_PEERS + 1)
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(PeersFileError) as caught:
        read_peers(path)
    assert caught.value.code == "too_many"


def test_adding_and_removing_keep_what_is_written(path: Path) -> None:
    """Comments, order and spacing are the operator's; the file is theirs alone."""
    path.write_text(TEXT)
    dora = NamedPeer(name="dora", fingerprint=C, addresses=("tcp://dora.example:7440",), anchor=True)
    assert add_peer(path, dora).find("dora") == dora
    text = path.read_text()
    assert text.startswith(TEXT)
    assert "human" not in text[len(TEXT) :]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_peers(path).peers[2] == dora
    for double in (NamedPeer(name="dora", fingerprint="d" * 64), NamedPeer(name="x", fingerprint=A)):
        with pytest.raises(PeersFileError) as caught:
            add_peer(path, double)
        assert caught.value.code == "duplicate"
    with pytest.raises(PeersFileError) as caught:
        add_peer(path, NamedPeer(name="x", fingerprint="d" * 64, addresses=("nonsense",)))
    assert caught.value.code == "address"
    assert path.read_text() == text, "refused, it is as it was"
    assert remove_peer(path, "carl").find(B) is None
    assert "# a colleague" in path.read_text()
    with pytest.raises(PeersFileError) as caught:
        remove_peer(path, "carl")
    assert caught.value.code == "unknown_peer"
    assert [one.name for one in read_peers(path)] == ["bela", "dora"]


def test_a_file_is_made(path: Path) -> None:
    add_peer(path, NamedPeer(name="bela", fingerprint=A))
    assert path.read_text() == f'[[peer]]\nname = "bela"\nfingerprint = "{A}"\n'
    assert [one.name for one in path.parent.iterdir()] == ["peers.toml"]
    path.write_text("# nobody yet\n")
    add_peer(path, NamedPeer(name="bela", fingerprint=A))
    assert path.read_text().startswith("# nobody yet\n")
    path.write_text("peer = []\n")
    with pytest.raises(PeersFileError) as caught:
        add_peer(path, NamedPeer(name="bela", fingerprint=A))
    assert (caught.value.code, caught.value.line) == ("value", 1)
    with pytest.raises(PeersFileError) as caught:
        add_peer(path.parent / "missing" / "peers.toml", NamedPeer(name="bela", fingerprint=A))
    assert caught.value.code == "unwritable"

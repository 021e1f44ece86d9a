"""`[extensions]` of `web4.toml`, ceilings and grants (EXT-20, EXT-24, EXT-31, EXT-33, UX-36)."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extensions.making import SEARCH, document, make_extension
from web4.extensions.errors import ExtensionsConfigurationError, ManifestError
from web4.extensions.manifests.ceilings import Ceilings, check_ceilings
from web4.extensions.manifests.configuration import ExtensionsConfiguration, read_configuration
from web4.extensions.manifests.grants import NodePaths, check_grants
from web4.extensions.manifests.manifest import Resources, Timeouts
from web4.extensions.manifests.reading import manifest_of, read_manifest

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "100"))


def configured(base: Path, text: str) -> ExtensionsConfiguration:
    (base / "web4.toml").write_text(text)
    return read_configuration(base / "web4.toml")


def test_configuration_of_extensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UX-36: only this table is read; paths begin at the file."""
    monkeypatch.setenv("HOME", "/home/ada")
    read = configured(
        tmp_path,
        """
        [rtt]
        anything = "of another room"

        [extensions]
        paths = ["mine", "/opt/extensions", "~/more"]
        development = ["acme.notes"]
        worker_user = "12345:23456"

        [extensions.ceilings]
        memory_mb = 512
        tool_ms = 90_000
        """,
    )
    assert read.paths == (str(tmp_path / "mine"), "/opt/extensions", "/home/ada/more")
    assert read.development == ("acme.notes",)
    assert read.worker_user == (12345, 23456)
    assert read.ceilings == Ceilings(memory_mb=512, tool_ms=90_000)
    assert read.file == str(tmp_path / "web4.toml")


def test_configuration_that_is_not_there_is_the_default(tmp_path: Path) -> None:
    assert read_configuration(None) == ExtensionsConfiguration()
    assert read_configuration(tmp_path / "web4.toml") == ExtensionsConfiguration()
    assert configured(tmp_path, "[node]\nname = 'a'\n").ceilings == Ceilings()


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        (
            "[extensions]\npath = []",
            "extensions.path",
            "line 2: there is no key 'path'; did you mean 'paths'?",
        ),
        ("[extensions]\npaths = 'a'", "extensions.paths", "line 2"),
        ("[extensions.ceilings]\n\nmemory_mb = 0", "extensions.ceilings.memory_mb", "line 3"),
        ("extensions.ceilings.tool_ms = -1", "extensions.ceilings.tool_ms", "line 1"),
        ("[extensions.ceilings]\nmemory = 1", "extensions.ceilings.memory", "'memory_mb'"),
        ("[extensions]\nworker_user = 'no-such-user-here'", "extensions.worker_user", "no user"),
        ("[extensions]\nworker_user = '0:0'", "extensions.worker_user", "root"),
        ("[extensions]\nworker_user = 'root'", "extensions.worker_user", "root"),
        ("[extensions]\nworker_user = '4294967295:1'", "extensions.worker_user", "number"),
        ("[extensions]\ndevelopment = ['../x']", "extensions.development[0]", ""),
        ("extensions = 3", "extensions", "line 1"),
        ("[extensions", None, "end of"),
        ("a = " + "[" * 100_000, None, ""),
    ],
)
def test_configuration_that_does_not_fit_names_key_and_line(
    tmp_path: Path, text: str, field: str | None, hint: str
) -> None:
    """UX-36: key, line and the nearest valid name; EXT-20: no ceiling is zero."""
    with pytest.raises(ExtensionsConfigurationError) as caught:
        configured(tmp_path, text)
    assert caught.value.field == field
    assert hint in str(caught.value)


def test_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "web4.toml").mkdir()
    with pytest.raises(ExtensionsConfigurationError):
        read_configuration(tmp_path / "web4.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ExtensionsConfigurationError, match="longer"):
        read_configuration(tmp_path / "big.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff")
    with pytest.raises(ExtensionsConfigurationError):
        read_configuration(tmp_path / "odd.toml")


def test_worker_user_by_name(tmp_path: Path) -> None:
    """EXT-33."""
    entry = next((one for one in pwd.getpwall() if one.pw_uid and one.pw_gid), None)
    assert entry is not None
    read = configured(tmp_path, f"[extensions]\nworker_user = {entry.pw_name!r}\n")
    assert read.worker_user == (entry.pw_uid, entry.pw_gid)


@settings(max_examples=ROUNDS, deadline=None, print_blob=True)
@given(
    text=st.text(max_size=60),
    table=st.sampled_from(["", "[extensions]\n", "[extensions.ceilings]\nmemory_mb = "]),
)
def test_any_configuration_reads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str, table: str
) -> None:
    base = tmp_path_factory.mktemp("any")
    (base / "web4.toml").write_bytes((table + text).encode())
    with suppress(ExtensionsConfigurationError):
        read_configuration(base / "web4.toml")


# --- ceilings ------------------------------------------------------------------------------------------------


def test_every_limit_has_a_ceiling_and_every_default_fits() -> None:
    """EXT-20, EXT-24: nothing that can be asked for is without one, and the defaults are allowed."""
    asked = {*Resources.__struct_fields__, *Timeouts.__struct_fields__} - {"concurrency"}
    assert asked == {*Ceilings.__struct_fields__} - {"level"}
    check_ceilings(manifest_of(document(), Path("/ext")), Ceilings())


@pytest.mark.parametrize(
    ("keys", "ceilings", "field"),
    [
        ({"resources": {"memory_mb": 257}}, {"memory_mb": 256}, "resources.memory_mb"),
        ({"resources": {"workers": 17}}, {}, "resources.workers"),
        ({"timeouts": {"silence_ms": 11}}, {"silence_ms": 10}, "timeouts.silence_ms"),
        ({}, {"tool_ms": 59_999}, "timeouts.tool_ms"),
        ({"tools": [SEARCH | {"timeout_ms": 60_001}]}, {"tool_ms": 60_000}, "tools[0].timeout_ms"),
        ({"hooks": [{"point": "input", "timeout_ms": 30_001}]}, {}, "hooks[0].timeout_ms"),
        ({"sandbox": {"level": "none"}}, {"level": "standard"}, "sandbox.level"),
        ({}, {"level": "strict"}, "sandbox.level"),
    ],
)
def test_asking_for_more_is_refused(keys: dict[str, Any], ceilings: dict[str, Any], field: str) -> None:
    """EXT-24."""
    with pytest.raises(ManifestError) as caught:
        check_ceilings(manifest_of(document(**keys), Path("/ext")), Ceilings(**ceilings))
    assert (caught.value.code, caught.value.field) == ("ceiling", field)


# --- grants --------------------------------------------------------------------------------------------------


class Node:
    """A node's directories, an extension in them, and places around."""

    def __init__(self, base: Path) -> None:
        self.base = base.resolve()
        self.data = self.base / "data"
        self.extension = make_extension(self.data / "extensions" / "notes")
        for name in ("identity", "journal", "run"):
            (self.data / name).mkdir()
        self.config = self.base / "conf" / "web4.toml"
        self.config.parent.mkdir()
        self.config.touch()
        (self.base / "free").mkdir()
        self.paths = NodePaths(data=str(self.data), more=(str(self.config),))

    def check(self, level: str = "standard", **grants: list[str]) -> None:
        make_extension(self.extension, sandbox={"level": level, **grants})
        check_grants(read_manifest(self.extension), str(self.extension), self.paths)

    def refused(self, level: str = "standard", **grants: list[str]) -> ManifestError:
        with pytest.raises(ManifestError) as caught:
            self.check(level, **grants)
        assert caught.value.code == "grant"
        return caught.value


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("access", ["read", "write"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "data",
        "data/identity",
        "data/journal/x",
        "data/run",
        "data/extensions",
        "conf",
        "conf/web4.toml",
    ],
)
def test_a_grant_that_covers_the_nodes_own_is_refused(node: Node, access: str, path: str) -> None:
    """EXT-31: above it, at it, inside it."""
    grants: dict[str, Any] = {
        access: [str(node.base / "free"), str(node.base / path) if path != "/" else "/"]
    }
    error = node.refused(**grants)
    assert error.field == f"sandbox.{access}[1]"


def test_a_grant_is_seen_through_links(node: Node) -> None:
    """EXT-31: neither a link in the extension nor one outside leads around it."""
    (node.extension / "inner").symlink_to("../../identity")
    assert "identity" in str(node.refused(read=["inner"]))
    (node.base / "free" / "link").symlink_to(node.data)
    node.refused(read=[str(node.base / "free" / "link" / "journal")])
    node.refused(read=["../../identity"])
    other = node.base / "alias"
    other.symlink_to(node.data)
    node.paths = NodePaths(data=str(other))
    node.refused(read=[str(node.data / "journal")])


def test_a_link_that_is_turned_after_reading_is_seen(node: Node) -> None:
    """EXT-31: what counts is where a path leads when it is checked, not when it was read."""
    target = node.base / "free" / "dir"
    target.mkdir()
    make_extension(node.extension, sandbox={"read": [str(target)]})
    manifest = read_manifest(node.extension)
    check_grants(manifest, str(node.extension), node.paths)
    target.rmdir()
    target.symlink_to(node.data / "identity")
    with pytest.raises(ManifestError):
        check_grants(manifest, str(node.extension), node.paths)


def test_what_may_be_granted(node: Node) -> None:
    node.check(read=["data", "/usr/share"], write=[str(node.base / "free")])
    node.check("none", read=[str(node.base / "free")])


@pytest.mark.parametrize("path", ["", "data", "data/identity/x", "data/extensions", "conf"])
def test_an_extension_that_holds_the_nodes_own_is_refused(node: Node, path: str) -> None:
    """EXT-31: a worker reads all of its directory, so none of the node's may be in there."""
    directory = make_extension(node.base / path)
    with pytest.raises(ManifestError, match="cannot be an extension's") as caught:
        check_grants(read_manifest(directory), str(directory), node.paths)
    assert caught.value.code == "grant"


@pytest.mark.parametrize("path", [".", "data", "..", "../.."])
def test_its_own_directory_is_not_written(node: Node, path: str) -> None:
    """EXT-7: what is pinned would change under its digest."""
    node.refused(write=[path])


@pytest.mark.parametrize("path", ["/proc", "/proc/1/environ"])
def test_processes_are_not_granted(node: Node, path: str) -> None:
    """EXT-31: the node's environment and descriptors are there."""
    node.refused(read=[path])


def test_strict_has_no_home(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 8, strict: no home, at any level of it; standard may."""
    home = node.base / "people" / "ada"
    (home / "notes").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for path in (home, home / "notes", home.parent):
        node.check("standard", read=[str(path)])
        assert "strict" in str(node.refused("strict", read=[str(path)]))
    node.refused("strict", read=["/root/x"])
    node.check("strict", read=["/usr/share"])


def test_hidden_paths_are_resolved(tmp_path: Path) -> None:
    """What goes into `Sandbox.hidden`."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    paths = NodePaths(data=str(tmp_path / "link"), more=(str(tmp_path / "real"), "/etc/key"))
    assert paths.hidden == (str((tmp_path / "real").resolve()), os.path.realpath("/etc/key"))
    assert msgspec.json.decode(msgspec.json.encode(paths), type=NodePaths) == paths

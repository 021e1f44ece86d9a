"""The digest of an extension's directory (EXT-7): what counts, what is refused, when it need not be read again."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extensions.making import make_extension
from web4 import _core
from web4.extensions.errors import ManifestError, TreeError
from web4.extensions.places.digest import (
    TreeDigest,
    TreeLimits,
    decode_files,
    difference,
    encode_files,
    tree_digest,
    unchanged,
)
from web4.extensions.places.pinning import read_pinned

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "60"))


def refused(directory: Path, code: str, limits: TreeLimits | None = None) -> str:
    with pytest.raises(TreeError) as caught:
        tree_digest(directory, limits)
    assert caught.value.code == code
    return str(caught.value)


def test_digest_names_what_changed(tmp_path: Path) -> None:
    """EXT-7: one byte is another digest, and the file is named."""
    make_extension(tmp_path)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.py").write_text("1")
    before = tree_digest(tmp_path)
    assert list(before.files) == ["lib/a.py", "notes.py", "web4-extension.json"]
    assert tree_digest(tmp_path).digest == before.digest
    (tmp_path / "lib" / "a.py").write_text("2")
    (tmp_path / "new.txt").write_text("")
    (tmp_path / "notes.py").unlink()
    after = tree_digest(tmp_path)
    change = difference(before.files, after.files)
    assert after.digest != before.digest
    assert (change.added, change.removed, change.changed) == (("new.txt",), ("notes.py",), ("lib/a.py",))
    assert str(change) == "changed: lib/a.py; added: new.txt; removed: notes.py"
    assert not difference(after.files, after.files)
    assert decode_files(encode_files(after.files)) == after.files


def test_digest_is_pinned_to_its_format(tmp_path: Path) -> None:
    """Another version of the node must find the same digest: the bytes are those of the format, by hand."""
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "b").chmod(0o755)
    (tmp_path / "c").symlink_to("a")
    entries = b"".join(
        kind + len(name).to_bytes(4, "big") + name + _core.blake3(data)
        for kind, name, data in ((b"f", b"a", b"x"), (b"p", b"b", b""), (b"l", b"c", b"a"))
    )
    assert tree_digest(tmp_path).digest == _core.blake3(b"web4-extension-tree-1\n" + entries).hex()


def test_only_compiled_caches_are_left_aside(tmp_path: Path) -> None:
    """EXT-7: `__pycache__/*.pyc` may change; code in any other place counts, a `.pyc` too: Python would import it."""
    make_extension(tmp_path)
    before = tree_digest(tmp_path).digest
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "notes.cpython-311.pyc").write_bytes(b"cache")
    assert tree_digest(tmp_path).digest == before
    (tmp_path / "__pycache__" / "evil.py").write_text("import os")
    hidden = tree_digest(tmp_path)
    assert "__pycache__/evil.py" in hidden.files
    (tmp_path / "__pycache__" / "evil.py").unlink()
    (tmp_path / "notes.pyc").write_bytes(b"sourceless")
    assert "notes.pyc" in tree_digest(tmp_path).files
    (tmp_path / "notes.pyc").unlink()
    (tmp_path / "x__pycache__").mkdir()
    (tmp_path / "x__pycache__" / "a.pyc").write_bytes(b"")
    assert "x__pycache__/a.pyc" in tree_digest(tmp_path).files


def test_mode_counts_as_far_as_it_makes_a_program(tmp_path: Path) -> None:
    make_extension(tmp_path)
    before = tree_digest(tmp_path).digest
    (tmp_path / "notes.py").chmod(0o600)
    assert tree_digest(tmp_path).digest == before
    (tmp_path / "notes.py").chmod(0o700)
    assert tree_digest(tmp_path).digest != before


def test_links_count_by_their_text_and_stay_inside(tmp_path: Path) -> None:
    """EXT-7: a link out of the directory would run what nobody pinned; so would one to a compiled cache."""
    root = make_extension(tmp_path / "ext")
    (root / "link").symlink_to("notes.py")
    before = tree_digest(root)
    assert before.files["link"].kind == "link"
    (root / "link").unlink()
    (root / "link").symlink_to("./notes.py")
    assert tree_digest(root).digest != before.digest
    (root / "up").symlink_to("../ext/notes.py")  # inside, in the end
    tree_digest(root)
    for target in ("/etc/passwd", "..", "../other", "link/../../x"):
        (root / "out").symlink_to(target)
        assert "out leads out" in refused(root, "tree_escape")
        (root / "out").unlink()
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("/etc")
    refused(root, "tree_escape")
    (root / "one").unlink()
    (root / "two").unlink()
    (root / "__pycache__").mkdir()
    (root / "evil.py").symlink_to("__pycache__/x.pyc")
    assert "compiled cache" in refused(root, "tree_escape")
    (root / "evil.py").unlink()
    (root / "loop").symlink_to("loop")
    (root / "self").symlink_to(".")
    tree_digest(root)


def test_a_directory_reached_by_a_link_is_the_same(tmp_path: Path) -> None:
    make_extension(tmp_path / "ext")
    (tmp_path / "alias").symlink_to("ext")
    assert tree_digest(tmp_path / "alias").digest == tree_digest(tmp_path / "ext").digest


def test_special_files_and_odd_names_are_refused(tmp_path: Path) -> None:
    """Reading a pipe would hang, and a name that is no text cannot be shown."""
    os.mkfifo(tmp_path / "pipe")
    assert "pipe" in refused(tmp_path, "tree_special")
    (tmp_path / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket is short
        try:
            one.bind("socket")
        finally:
            os.chdir(here)
        refused(tmp_path, "tree_special")
    (tmp_path / "socket").unlink()
    for name in (b"a\nb", b"\xff", "\u202etxt".encode()):
        path = os.fsencode(tmp_path) + b"/" + name
        Path(os.fsdecode(path)).touch()
        refused(tmp_path, "tree_name")
        Path(os.fsdecode(path)).unlink()
    with pytest.raises(TreeError):
        tree_digest(tmp_path / "nowhere")


def test_bounds_refuse_and_leave_nothing_out(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}").write_bytes(b"x" * 10)
    tree_digest(tmp_path, TreeLimits(files=4, bytes=40))
    assert "3 files" in refused(tmp_path, "tree_too_large", TreeLimits(files=3))
    assert "39 bytes" in refused(tmp_path, "tree_too_large", TreeLimits(bytes=39))
    refused(tmp_path, "tree_too_large", TreeLimits(entries=3))
    deep = tmp_path.joinpath(*"abcdef")
    deep.mkdir(parents=True)
    tree_digest(tmp_path, TreeLimits(depth=6))
    assert "levels deep" in refused(tmp_path, "tree_too_large", TreeLimits(depth=5))


def test_unreadable_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_extension(tmp_path)

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert "notes.py cannot be read" in refused(tmp_path, "tree_unreadable")


def test_restless_directory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that changes while it is read is read again, and refused when it never rests."""
    make_extension(tmp_path)
    real, count = os.open, 0

    def writing(path: object, *arguments: object, **more: object) -> int:
        nonlocal count
        count += 1
        if count <= limit:
            os.close(real(tmp_path / f"more{count}", os.O_CREAT | os.O_WRONLY))
        return real(path, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", writing)
    limit = 2
    assert len(tree_digest(tmp_path).files) == 4
    count, limit = 0, 10_000
    refused(tmp_path, "tree_restless")


def test_unchanged_is_certain_or_silent(tmp_path: Path) -> None:
    """EXT-7: the cheap look before a start says yes only when no byte can have changed."""
    make_extension(tmp_path)
    young = tree_digest(tmp_path)
    assert not young.settled
    assert not unchanged(tmp_path, young)  # it was written just now: stamps may be too coarse to tell
    known = settled(tmp_path)
    assert unchanged(tmp_path, known)
    path = tmp_path / "notes.py"
    text = path.read_text()
    before = path.stat()
    path.write_text(text.replace("nobody", "nobodz"))  # the same size,
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # and time set back
    assert not unchanged(tmp_path, known)
    path.unlink()
    assert not unchanged(tmp_path, known)
    assert not unchanged(tmp_path / "nowhere", known)


def settled(directory: Path) -> TreeDigest:
    """As `tree_digest` would find it later: the time of its stamps cannot be set back by a test."""
    import msgspec

    return msgspec.structs.replace(tree_digest(directory), settled=True)


@pytest.mark.parametrize("act", ["add", "add_empty_directory", "swap", "chmod", "link", "touch_cache"])
def test_unchanged_notices(tmp_path: Path, act: str) -> None:
    make_extension(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    known = settled(tmp_path)
    match act:
        case "add":
            (tmp_path / "new").touch()
        case "add_empty_directory":
            (tmp_path / "empty").mkdir()
        case "swap":
            (tmp_path / "other").write_bytes((tmp_path / "notes.py").read_bytes())
            (tmp_path / "other").rename(tmp_path / "notes.py")
        case "chmod":
            (tmp_path / "notes.py").chmod(0o755)
        case "link":
            (tmp_path / "notes.py").unlink()
            (tmp_path / "notes.py").symlink_to("web4-extension.json")
        case "touch_cache":
            (tmp_path / "__pycache__" / "a.pyc").touch()
    assert unchanged(tmp_path, known) is (act == "touch_cache")


def test_manifest_and_digest_are_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EXT-7: a manifest exchanged between the two readings would be shown, and another one pinned."""
    from web4.extensions.places import pinning

    make_extension(tmp_path)
    assert read_pinned(tmp_path).manifest.name == "acme.notes"

    def exchanged(directory: Path, limits: TreeLimits | None) -> TreeDigest:
        found = tree_digest(directory, limits)
        make_extension(tmp_path, description="another")
        return found

    monkeypatch.setattr(pinning, "tree_digest", exchanged)
    with pytest.raises(TreeError, match="changed while it was read"):
        read_pinned(tmp_path)
    with pytest.raises(ManifestError):
        read_pinned(tmp_path / "nowhere")


_NAMES = st.sampled_from(["a", "b", "ab", "c.py", "__pycache__", "é", "d e"])
_TREES = st.recursive(
    st.binary(max_size=3),
    lambda inner: st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


def _write(path: Path, tree: object) -> None:
    if isinstance(tree, dict):
        path.mkdir(parents=True)
        for name, inner in tree.items():
            _write(path / name, inner)
    else:
        assert isinstance(tree, bytes)
        path.write_bytes(tree)


def _files(tree: object, at: str = "") -> dict[str, bytes]:
    if isinstance(tree, bytes):
        return {at: tree}
    assert isinstance(tree, dict)
    return {
        path: data
        for name, inner in tree.items()
        for path, data in _files(inner, f"{at}/{name}" if at else name).items()
    }


@settings(max_examples=ROUNDS, deadline=None, print_blob=True)
@given(one=_TREES, other=_TREES)
def test_equal_digests_mean_equal_files(
    tmp_path_factory: pytest.TempPathFactory, one: object, other: object
) -> None:
    """Two trees have one digest exactly when they have the same files; a name is no part of contents."""
    base = tmp_path_factory.mktemp("trees")
    _write(base / "one", one)
    _write(base / "other", other)
    first, second = tree_digest(base / "one"), tree_digest(base / "other")
    assert (first.digest == second.digest) is (_files(one) == _files(other))
    change = difference(first.files, second.files)
    assert bool(change) is (first.digest != second.digest)

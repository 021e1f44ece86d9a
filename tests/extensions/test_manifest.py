"""Manifests: what is read, and what is refused with the key's name (EXT-5, EXT-20, EXT-30)."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.extensions.making import SEARCH, document, make_extension
from web4.extensions.errors import ManifestError
from web4.extensions.manifests.document import manifest_schema
from web4.extensions.manifests.manifest import HOOK_POINTS, Manifest
from web4.extensions.manifests.manifest_file import MAX_BYTES, parse_document
from web4.extensions.manifests.reading import manifest_of, read_manifest
from web4.worker.request import CommandEntry, PythonEntry

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "150"))

TOML = """\
schema = 1
protocol = 1
name = "acme.notes"
version = "1.2.3-rc.1+build.5"
description = "Keeps notes.\\nAnd finds them: naïve 東京."
environment = ["LANG"]
reuse = "session"
ui = true
entry.python = "acme.notes:ext"

[[tools]]
name = "search"
description = "Search the notes."
timeout_ms = 5_000
idempotent = true
input_schema = { type = "object", properties = { query = { type = "string" } }, required = ["query"] }

[[commands]]
name = "reindex"
description = "Build the index again."

[[hooks]]
point = "tool_call"
tools = ["run_*"]
rewrites = true

[timeouts]
tool_ms = 10_000

[resources]
memory_mb = 128

[sandbox]
read = ["data", "/usr/share/dict"]
required = ["seccomp"]
"""


def refused(code: str = "manifest", /, **keys: Any) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        manifest_of(document(**keys), Path("/ext"))
    assert caught.value.code == code
    return caught.value


def accepted(**keys: Any) -> Manifest:
    return manifest_of(document(**keys), Path("/ext"))


def test_manifest_in_toml(tmp_path: Path) -> None:
    """EXT-5: every kind of key arrives, typed, with paths resolved against the directory."""
    (tmp_path / "web4-extension.toml").write_text(TOML)
    manifest = read_manifest(tmp_path)
    assert (manifest.name, manifest.version) == ("acme.notes", "1.2.3-rc.1+build.5")
    assert manifest.entry == PythonEntry("acme.notes", "ext")
    assert manifest.timeout_ms("tool", "search") == 5_000
    assert manifest.timeout_ms("command", "reindex") == 10_000
    assert manifest.resources.memory_mb == 128
    assert manifest.resources.workers == 4
    assert manifest.sandbox.read == (str(tmp_path.resolve() / "data"), "/usr/share/dict")
    assert manifest.hooks[0].fails_closed
    assert (manifest.ui, manifest.reuse, manifest.environment) == (True, "session", ("LANG",))


def test_manifest_in_json_is_the_same(tmp_path: Path) -> None:
    """EXT-5: same keys in both formats."""
    import tomllib

    (tmp_path / "web4-extension.json").write_text(json.dumps(tomllib.loads(TOML)))
    from_json = read_manifest(tmp_path)
    (tmp_path / "web4-extension.json").unlink()
    (tmp_path / "web4-extension.toml").write_text(TOML)
    assert read_manifest(tmp_path) == from_json


def test_manifest_missing_or_twice(tmp_path: Path) -> None:
    """EXT-5: neither is an error, both are one."""
    with pytest.raises(ManifestError, match="holds neither"):
        read_manifest(tmp_path)
    with pytest.raises(ManifestError, match="is no directory"):
        read_manifest(tmp_path / "nowhere")
    make_extension(tmp_path)
    (tmp_path / "web4-extension.toml").write_text(TOML)
    with pytest.raises(ManifestError, match="holds both"):
        read_manifest(tmp_path)
    # A dangling link is a manifest too many as well.
    (tmp_path / "web4-extension.toml").unlink()
    (tmp_path / "web4-extension.toml").symlink_to("nowhere")
    with pytest.raises(ManifestError, match="holds both"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("keys", "field", "hint"),
    [
        ({"tols": []}, "tols", "'tools'"),
        ({"timeouts": {"tools_ms": 5}}, "timeouts.tools_ms", "'tool_ms'"),
        ({"resources": {"memory": 5}}, "resources.memory", "'memory_mb'"),
        ({"tools": [SEARCH, SEARCH | {"idempotant": True}]}, "tools[1].idempotant", "'idempotent'"),
        ({"entry": {"pyhton": "a:b"}}, "entry.pyhton", "'python'"),
        ({"hooks": [{"point": "input", "when": 1}]}, "hooks[0].when", "no key 'hooks[0].when'"),
    ],
)
def test_unknown_key_is_named_with_the_nearest(keys: dict[str, Any], field: str, hint: str) -> None:
    """EXT-5: unknown keys are refused."""
    error = refused(**keys)
    assert error.field == field
    assert hint in str(error)


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"schema": 2}, "schema"),
        ({"schema": True}, "schema"),
        ({"protocol": ...}, None),
        ({"name": "Acme"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "acme\n"}, "name"),
        ({"name": "../x"}, "name"),
        ({"version": "1.0"}, "version"),
        ({"version": "01.0.0"}, "version"),
        ({"version": "1.0.0-"}, "version"),
        ({"description": ""}, "description"),
        ({"entry": {}}, "entry"),
        ({"entry": {"python": "a:b", "command": ["/bin/sh"]}}, "entry"),
        ({"entry": {"python": "a"}}, "entry.python"),
        ({"entry": {"python": "a..b:c"}}, "entry.python"),
        ({"entry": {"command": []}}, "entry.command"),
        ({"entry": {"command": ["../bin/x"]}}, "entry.command[0]"),
        ({"entry": {"command": ["nothing"]}}, "entry.command[0]"),
        ({"tools": [SEARCH | {"name": "a.b"}]}, "tools[0].name"),
        ({"tools": [SEARCH, SEARCH]}, "tools[1].name"),
        ({"tools": [SEARCH | {"timeout_ms": 0}]}, "tools[0].timeout_ms"),
        ({"tools": [SEARCH] * 257}, "tools"),
        ({"tools": [{"name": "a", "description": "b"}]}, "tools[0]"),
        ({"commands": [{"name": "a.b", "description": "c"}]}, "commands[0].name"),
        ({"hooks": [{"point": "tool_cal"}]}, "hooks[0].point"),
        ({"hooks": [{"point": "input"}, {"point": "input"}]}, "hooks[1].point"),
        ({"hooks": [{"point": "input", "tools": ["*"]}]}, "hooks[0].tools"),
        ({"hooks": [{"point": "tool_call", "tools": ["a b"]}]}, "hooks[0].tools[0]"),
        ({"hooks": [{"point": "tool_result", "rewrites": True}]}, "hooks[0].rewrites"),
        ({"hooks": [{"point": "input", "fail": "maybe"}]}, "hooks[0].fail"),
        ({"resources": {"concurrency": 2}}, "resources.concurrency"),
        ({"resources": {"workers": 0}}, "resources.workers"),
        ({"resources": {"workers": 1, "spares": 2}}, "resources.spares"),
        ({"resources": {"memory_mb": 256.0}}, "resources.memory_mb"),
        ({"resources": {"processes": True}}, "resources.processes"),
        ({"sandbox": {"network": ["example.org:443"]}}, "sandbox.network"),
        ({"sandbox": {"network": "allow"}}, "sandbox.network"),
        ({"sandbox": {"level": "strict", "network": "allow"}}, "sandbox.network"),
        ({"sandbox": {"level": "lax"}}, "sandbox.level"),
        ({"sandbox": {"required": ["secomp"]}}, "sandbox.required[0]"),
        ({"sandbox": {"read": ["~/notes"]}}, "sandbox.read[0]"),
        ({"sandbox": {"read": [""]}}, "sandbox.read[0]"),
        ({"sandbox": {"read": ["/a\n  network: deny"]}}, "sandbox.read[0]"),
        ({"entry": {"command": ["/bin/sh", "x\ny"]}}, "entry.command[1]"),
        ({"tools": [SEARCH | {"permissions": ["a\tb"]}]}, "tools[0].permissions[0]"),
        ({"environment": ["A", "A"]}, "environment"),
        ({"environment": ["WEB4_HOME"]}, "environment[0]"),
        ({"environment": ["A=B"]}, "environment[0]"),
        ({"reuse": "never"}, "reuse"),
    ],
)
def test_what_does_not_fit_names_its_key(keys: dict[str, Any], field: str | None) -> None:
    """EXT-5, EXT-11, EXT-30: types, bounds, duplicates, hook points, the entry, the sandbox."""
    assert refused(**keys).field == field


@pytest.mark.parametrize("value", [0, -1, -(2**40), 24 * 3_600_000 + 1, 1.5, "5", None])
@pytest.mark.parametrize(
    "key",
    [
        "startup_ms",
        "hook_ms",
        "tool_ms",
        "silence_ms",
        "idle_ms",
        "queue_ms",
        "cancel_ms",
        "drain_ms",
        "ui_ms",
    ],
)
def test_no_time_is_unlimited(key: str, value: object) -> None:
    """EXT-20: zero, negative or absurd is refused and never means unlimited; only `silence_ms` can be off."""
    if key == "silence_ms" and value is None:
        assert accepted(timeouts={key: value}).timeouts.silence_ms is None
    else:
        assert refused(timeouts={key: value}).field == f"timeouts.{key}"


def test_text_of_any_language_is_text() -> None:
    """Joiners are part of Persian and of emoji; they stay."""
    for text in ("می\u200cخواهم", "👩\u200d👧", "naïve", "東京\n\t- ok"):  # noqa: RUF001 - that is the point
        made = json.dumps({"a": text}).encode()
        assert parse_document(made, Path("web4-extension.json")) == {"a": text}


def test_errors_stay_short() -> None:
    """A manifest cannot make the node say much."""
    error = refused("manifest", **{"x" * 100_000: 1})
    assert len(str(error)) < 1_000
    error = refused(tools=[SEARCH | {"input_schema": {"type": "object", "y" * 50_000: {"$ref": "z"}}}])
    assert len(str(error)) < 1_000


def test_network_list_says_why() -> None:
    """EXT-30: the broker is not there; a list is refused by that name, not as a typing mistake."""
    assert "LIP" in str(refused(sandbox={"network": ["example.org:443"]}))


def test_network_is_allowed_in_level_none_alone() -> None:
    """EXT-30."""
    assert accepted(sandbox={"level": "none", "network": "allow"}).sandbox.network == "allow"


def test_hook_points_are_all_known() -> None:
    """EXT-10: a hook at every point is accepted."""
    manifest = accepted(hooks=[{"point": point} for point in sorted(HOOK_POINTS)])
    assert {one.point for one in manifest.hooks} == HOOK_POINTS


def test_command_entry_lies_inside(tmp_path: Path) -> None:
    """EXT-5: argv's first word is relative to the directory and stays in it, or is absolute."""
    make_extension(tmp_path, entry={"command": ["bin/run", "--fast"]})
    with pytest.raises(ManifestError, match="is no file"):
        read_manifest(tmp_path)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "run"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(ManifestError, match="may not be executed"):
        read_manifest(tmp_path)
    program.chmod(0o755)
    assert read_manifest(tmp_path).entry == CommandEntry(("bin/run", "--fast"))
    program.unlink()
    program.symlink_to("/bin/sh")
    with pytest.raises(ManifestError, match="leads out"):
        read_manifest(tmp_path)
    make_extension(tmp_path, entry={"command": ["/bin/sh", "-c", "true"]})
    assert read_manifest(tmp_path).entry == CommandEntry(("/bin/sh", "-c", "true"))
    make_extension(tmp_path, entry={"command": ["sh"]})
    with pytest.raises(ManifestError, match="absolute path"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "object", "properties": {"a": {"type": "objec"}}}, "no usable JSON Schema"),
        ({"type": "array"}, "must be `object`"),
        (
            {"type": "object", "properties": {"a": {"$ref": "https://example.org/a.json"}}},
            "outside the schema",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "outside the schema"),
        ({"type": "object", "$id": "https://example.org/", "$ref": "#/$defs/a"}, "no usable JSON Schema"),
        ({"type": "object", "$ref": "#/$defs/a"}, "no usable JSON Schema"),
        ({"type": "object", "$dynamicRef": "other#x"}, "outside the schema"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "no usable JSON Schema"),
        ({"type": "object", "properties": {"a": {"pattern": "(?=a)(a+)+$"}}}, "no usable JSON Schema"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "dialect"),
        ({"type": "object", "$schema": 7}, "dialect"),
        ({"type": "object", "title": "x" * 70_000}, "longer than"),
    ],
)
def test_schemas_are_whole_in_themselves(schema: dict[str, Any], why: str) -> None:
    """EXT-5: JSON Schema 2020-12, nothing fetched, nothing else read."""
    error = refused(tools=[SEARCH | {"input_schema": schema}])
    assert why in str(error)
    assert (error.field or "").startswith("tools[0].input_schema")


def test_schema_may_refer_to_itself() -> None:
    schema = {
        "type": "object",
        "$defs": {"a": {"type": "string"}},
        "properties": {"x": {"$ref": "#/$defs/a"}},
    }
    manifest = accepted(tools=[SEARCH | {"input_schema": schema, "output_schema": {"type": "array"}}])
    assert manifest.tools[0].output_schema == {"type": "array"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "line 1"),
        ("[]", "no object"),
        ('{"schema": 1, "schema": 1}', "twice"),
        ('{"a": NaN}', "no JSON"),
        ('{"a": 1e999}', "neither text"),
        ('{"a": ' + "9" * 5_000 + "}", "integer string conversion"),
        ('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", "levels deep"),
        ('{"a": "\\ud800"}', "U+D800"),
        ('{"description": "safe \\u202e evil"}', "U+202E"),
        ('{"description": "\\u001b[2J"}', "U+001B"),
        ('{"\\u0000": 1}', "U+0000"),
        ('{"description": "tool\\udb40\\udc41"}', "U+E0041"),  # tags: unseen by people, read by models
        ('{"description": "tool\\udb40\\udd00"}', "U+E0100"),
        ('{"description": "pass\\u00adword"}', "U+00AD"),
        ("{" + "".join(f'"{n}":0,' for n in range(10_000)) + '"0":0}', "'0' stands there twice"),
    ],
)
def test_file_is_json_and_shows_what_it_says(tmp_path: Path, text: str, why: str) -> None:
    """EXT-5, EXT-7: what a human is shown can hide nothing."""
    (tmp_path / "web4-extension.json").write_text(text)
    with pytest.raises(ManifestError, match=why.replace("+", r"\+")):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "a = ",
        "a = 1\na = 2",
        "a = 1979-05-27",
        "a = nan",
        "a = " + "[" * 50_000,
        "a = " + "9" * 20,
        "\ud7ffx = 1",
    ],
)
def test_file_is_toml_of_json_values(tmp_path: Path, text: str) -> None:
    """EXT-5: dates, infinities and numbers beyond JSON's are none of a manifest's values."""
    (tmp_path / "web4-extension.toml").write_text(text)
    with pytest.raises(ManifestError):
        read_manifest(tmp_path)


def test_file_is_regular_and_bounded(tmp_path: Path) -> None:
    """Reading ends: no pipe, no link, no giant."""
    path = tmp_path / "web4-extension.toml"
    os.mkfifo(path)
    with pytest.raises(ManifestError, match="no regular file"):
        read_manifest(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path)
    path.unlink()
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ManifestError, match="longer than"):
        read_manifest(tmp_path)
    path.write_bytes(b"\xff")
    with pytest.raises(ManifestError, match="UTF-8"):
        read_manifest(tmp_path)
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest("a\0b")


# --- never anything but ManifestError ------------------------------------------------------------------------

_TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", ".", "a", "a:b", "standard", "tool_call", "~", "/", "1.0.0", "#", "deny", "open"]),
)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXTS, inner, max_size=4)),
    max_leaves=12,
)
_SCHEMA = manifest_schema()
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA)
_KEYS = st.sampled_from(sorted(_SCHEMA["$defs"]["ManifestDocument"]["properties"]))


def _inner_keys(kind: str) -> list[str]:
    return sorted(_SCHEMA["$defs"][kind]["properties"])


def _table(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(_inner_keys(kind)), _VALUES, max_size=5)


_PIECES = st.one_of(
    _VALUES,
    _table("Resources"),
    _table("Timeouts"),
    _table("SandboxWish"),
    _table("EntryDocument"),
    st.lists(st.one_of(_table("Tool"), _table("Part"), _table("Hook"), st.just(SEARCH)), max_size=3),
)


@settings(
    max_examples=ROUNDS // 2, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.dictionaries(_KEYS, _PIECES, max_size=6))
def test_any_document_is_a_manifest_or_a_manifest_error(keys: dict[str, Any]) -> None:
    """Whatever a document holds: a manifest that fits the exported schema's types, or `ManifestError`."""
    made = document(**keys)
    try:
        manifest = manifest_of(made, Path("/ext"))
    except ManifestError:
        return
    assert _VALIDATOR.is_valid(made)
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest


@settings(max_examples=ROUNDS, deadline=None, print_blob=True)
@given(data=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)), toml=st.booleans())
def test_any_file_is_a_document_or_a_manifest_error(data: bytes, toml: bool) -> None:
    path = Path("web4-extension.toml" if toml else "web4-extension.json")
    try:
        parsed = parse_document(data, path)
    except ManifestError:
        return
    msgspec.json.encode(parsed)


@settings(max_examples=ROUNDS, deadline=None, print_blob=True)
@given(place=st.integers(0, len(TOML.encode()) - 1), byte=st.integers(0, 255))
def test_one_byte_of_a_good_manifest_changes(place: int, byte: int) -> None:
    data = bytearray(TOML.encode())
    data[place] = byte
    with suppress(ManifestError):
        manifest_of(parse_document(bytes(data), Path("web4-extension.toml")), Path("/ext"))

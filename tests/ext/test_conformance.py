"""The conformance checks (EXT-44): the examples pass them all, and what is wrong does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.ext.workers import EXAMPLES, build, commands, source
from web4.ext.conformance.__main__ import main, outcome
from web4.ext.conformance.checks import Check, all_checks
from web4.extensions.manifests.manifest import HOOK_POINTS, Hook, Part, Tool
from web4.extensions.manifests.reading import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 30.0
ALL = "WEB4_ROUNDS" in os.environ
"""Whether there is time: each process of Python costs a tenth of a second, each frame of the shell a hundredth."""
QUICK = {
    "_unknown_keys",
    "_pieces",
    "_errors",
    "_cancel",
    "_ping",
    "_drain_open",
    "_hang_up_at_work",
    "_oversize",
    "_garbage",
}
PRINT_PARTS = "import everything as e, msgspec; print(msgspec.json.encode(e.ext.describe()).decode())"
PARTS = ("command", "service", "workload", "rule")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return commands(tmp_path_factory.mktemp("c"))


@pytest.mark.parametrize(
    ("language", "check"),
    [
        pytest.param(language, check, id=f"{language}-{check.run.__name__.strip('_')}")
        for language in ("python", "c", "shell")
        for check in all_checks()
        if ALL or language == "c" or check.run.__name__ in QUICK
    ],
)
def test_ext_44_the_examples_conform(programs: dict[str, list[str]], language: str, check: Check) -> None:
    assert outcome(check, programs[language], f"examples.{language}", PATIENCE) is None


@pytest.mark.parametrize("language", ["python", "c", "shell"])
def test_ext_43_the_manifests_of_the_examples_are_what_the_code_says(
    language: str, programs: dict[str, list[str]], tmp_path: Path
) -> None:
    """`web4 ext check --write` would change nothing."""
    shutil.copytree(EXAMPLES / language, tmp_path, dirs_exist_ok=True)
    if language == "c":
        shutil.copy(programs["c"][0], tmp_path)
    described = subprocess.run(
        [
            sys.executable,
            "-c",
            "import everything as e, msgspec; print(msgspec.json.encode(e.ext.describe()).decode())",
        ],
        cwd=EXAMPLES / "python",
        capture_output=True,
        check=True,
        timeout=60,
    )
    parts = msgspec.json.decode(described.stdout)
    manifest = read_manifest(tmp_path)
    assert manifest.name == f"examples.{language}"
    for kind, one in (("tools", Tool), ("hooks", Hook), *((f"{kind}s", Part) for kind in PARTS)):
        assert getattr(manifest, kind) == tuple(msgspec.convert(entry, one) for entry in parts[kind]), kind
    assert {hook.point for hook in manifest.hooks} == HOOK_POINTS


# What is wrong, in the source of the worker in C; and a check that has to see it.
MUTANTS = [
    (
        "says nothing",
        "    say_ready();\n    while",
        "    while",
        "calls",
    ),
    (
        "speaks another protocol",
        'put_integer(1);\n    put_key("sdk"',
        'put_integer(2);\n    put_key("sdk"',
        "calls",
    ),
    (
        "knows short texts only",
        "case 0xd9: case 0xda: case 0xdb:",
        "case 0xd9: case 0xda:",
        "calls",
    ),
    (
        "dies of unknown keys",
        "        skip(&map, 0);\n",
        '        if (head(&map).kind == FLOAT) die("?");\n',
        "unknown_keys",
    ),
    (
        "reads short maps only",
        "case 0xde: case 0xdf:",
        "case 0xde:",
        "widths",
    ),
    (
        "takes a piece for a frame",
        "        into += count;\n        size -= (size_t)count;",
        "        break;",
        "pieces",
    ),
    (
        "counts backwards",
        "put_integer(i);\n        send_frame",
        "put_integer(count - i);\n        send_frame",
        "progress",
    ),
    (
        "answers errors with a value",
        'return answer_error(id, "broken", "it is broken", 1);',
        "return tool_count(id, arguments);",
        "errors",
    ),
    (
        "is deaf to cancel",
        '        return id != NULL && is(find(frame, "id"), id);',
        "        return 0;",
        "cancel",
    ),
    (
        "takes any cancel for its own",
        'is(find(frame, "id"), id);\n',
        "1;\n",
        "cancel",
    ),
    (
        "takes any answer",
        "is(find(*answer, key), asked))",
        "asked != NULL)",
        "questions",
    ),
    (
        "does not wait for its intent",
        'is_true(find(answer, "ok"))',
        "1",
        "workload",
    ),
    (
        "answers a command with a text",
        '    begin_result(id);\n    put_map(1);\n    put_key("language", "c");',
        '    begin_result(id);\n    put_text("c");',
        "others",
    ),
    (
        "allows all",
        'act("block", "reason", "nothing is removed here")',
        'act("allow", NULL, NULL)',
        "hooks",
    ),
    (
        "says nothing to a guard's question",
        '} else act("allow", NULL, NULL);',
        "} else put_nil();",
        "hooks",
    ),
    (
        "answers pings with its own number",
        'put_view(find(frame, "nonce"));',
        "put_integer(1);",
        "ping",
    ),
    (
        "is deaf to drain",
        "        draining = 1;",
        "        ;",
        "drain",
    ),
    (
        "drains at once",
        "        draining = 1;",
        "        exit(0);",
        "drain_open",
    ),
    (
        "survives its node",
        "if (count <= 0) exit(0); /* the node has gone */",
        "if (count <= 0) continue;",
        "hang_up",
    ),
    (
        "waits for any length",
        "length == 0 || length > FRAME_LIMIT",
        "0",
        "oversize",
    ),
    (
        "takes anything for a frame",
        "head(&look).kind != MAP",
        "0",
        "no_map",
    ),
    (
        "takes any byte for a value",
        'default: die("an extension type, which the protocol refuses");',
        "default: break;",
        "garbage",
    ),
]


@pytest.mark.parametrize(
    ("wrong", "old", "new", "seen_by"),
    MUTANTS if ALL else MUTANTS[::3],
    ids=[one[0] for one in (MUTANTS if ALL else MUTANTS[::3])],
)
def test_ext_44_what_is_wrong_is_seen(tmp_path: Path, wrong: str, old: str, new: str, seen_by: str) -> None:
    text = source()
    assert text.count(old) == 1, f"{wrong}: {text.count(old)} places"
    program = build(text.replace(old, new), tmp_path)
    (check,) = [one for one in all_checks() if one.run.__name__ == f"_{seen_by}"]
    said = outcome(check, [str(program)], "examples.c", 0.25)
    assert said is not None


def test_ext_44_the_script_says_line_by_line_what_it_found(
    programs: dict[str, list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--name", "examples.c", "--", *programs["c"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(all_checks()) + 1
    assert all(line.startswith("ok   EXT-") for line in lines[:-1])
    assert main(["--patience", "5", "--", "/bin/false"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("FAIL EXT-14")
    assert "(status 1)" in lines[1]  # whether it was seen when writing or when reading
    assert lines[-1] == f"0 of {len(all_checks())} checks passed"
    assert main(["--", str(tmp_path / "no such program")]) == 1

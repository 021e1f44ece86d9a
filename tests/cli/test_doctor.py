"""`web4 doctor`: what protects from extensions, level by level, and what to do where something is missing (EXT-32)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.cli.command import here
from web4.cli import exits
from web4.cli.doctor import answer_of
from web4.cli.doctor_protections import FEATURES, REMEDIES
from web4.cli.extensions.measuring import Sound
from web4.extensions.processes import KernelReport
from web4.worker.request import PROTECTIONS, Level, Protections

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]

WHOLE = Protections(
    level="standard",
    no_new_privs=True,
    capabilities=True,
    landlock=7,
    seccomp="deny_list",
    network="denied",
    signals="landlock",
    cgroup="v2",
    tree_kill="single_process",
    memory="cgroup",
    processes="seccomp",
    parent_death=True,
    user="1000",
)
KERNEL = KernelReport(
    template=True,
    pid_namespace="off",
    cgroup="v2",
    cgroup_kill=True,
    memory_by="cgroup",
    processes_by="cgroup",
    tree_kill_single="single_process",
    tree_kill_many="cgroup",
    user="1000",
)


def found(**changes: Any) -> dict[Level, Sound]:
    """Every level whole, but for what is changed in each."""
    levels: tuple[Level, ...] = ("none", "standard", "strict")
    return {one: Sound(msgspec.structs.replace(WHOLE, level=one, **changes)) for one in levels}


def test_every_protection_is_shown_and_has_a_remedy() -> None:
    assert set(FEATURES) - {"user"} == set(PROTECTIONS)
    assert set(REMEDIES) == set(PROTECTIONS)
    assert set(FEATURES) < set(Protections.__struct_fields__)


def test_whole() -> None:
    answer = answer_of(found(), WHOLE, KERNEL)
    assert answer.exit == exits.DONE
    assert answer.data["notes"] == []
    text = "\n".join(answer.lines)
    assert "ABI 7" in text
    assert "deny list" in text


@pytest.mark.parametrize("name", PROTECTIONS)
def test_missing(name: str) -> None:
    """Whatever is missing is named with its levels and with what to do; the exit code is that of degraded (UX-2)."""
    answer = answer_of(found(missing=(name,)), WHOLE, KERNEL)
    assert answer.exit == exits.DEGRADED
    [note] = answer.data["notes"]
    assert (note["what"], note["weak"]) == (name, False)
    assert note["levels"] == ["none", "standard", "strict"]
    assert note["remedy"] == REMEDIES[name]
    assert REMEDIES[name] in " ".join("\n".join(answer.lines).split())


def test_strict_refuses() -> None:
    """EXT-32: in strict a missing protection refuses the start; the doctor says so, and why."""
    levels = found()
    levels["strict"] = Sound(None, ("extension_unprotected", "landlock is missing"))
    answer = answer_of(levels, WHOLE, KERNEL)
    assert answer.exit == exits.DEGRADED
    assert answer.data["levels"]["strict"]["error"]["code"] == "extension_unprotected"
    assert "landlock is missing" in "\n".join(answer.lines)


def test_nothing_starts() -> None:
    levels: dict[Level, Sound] = {
        one: Sound(None, ("extension_start_failed", "this is no Linux")) for one in found()
    }
    answer = answer_of(levels, None, msgspec.structs.replace(KERNEL, refusal="this is no Linux"))
    assert answer.exit == exits.NO
    assert answer.data["notes"][0]["what"] == "machine"
    assert "this is no Linux" in "\n".join(answer.lines)


def test_weaknesses() -> None:
    """What is there, but weaker than it could be, is told and is no reason for another exit code."""
    several = msgspec.structs.replace(WHOLE, tree_kill="best_effort")
    answer = answer_of(found(user="root", memory="rlimit"), several, KERNEL)
    assert answer.exit == exits.DONE
    assert {one["what"] for one in answer.data["notes"]} == {"user", "memory", "tree_kill"}
    assert all(one["weak"] for one in answer.data["notes"])


def test_template() -> None:
    kernel = msgspec.structs.replace(KERNEL, template=False, template_failed=("trio: no such module",))
    answer = answer_of(found(), WHOLE, kernel)
    assert answer.exit == exits.DONE
    assert [one["what"] for one in answer.data["notes"]] == ["template", "template"]


def test_measured_here(capfd: Capture, tmp_path: Path) -> None:
    """Real workers, one of each level: what they report is what is told, and none of them is left."""
    done = here(capfd, "doctor", "--data", tmp_path, "--json")
    data = done.data
    assert set(data["levels"]) == {"none", "standard", "strict"}
    for level, one in data["levels"].items():
        if one["starts"]:
            assert one["protections"]["level"] == level
            assert not one["protections"]["missing"] or done.exit == exits.DEGRADED
        else:
            assert one["error"]["code"] in {"extension_unprotected", "extension_start_failed"}
    assert done.exit in {exits.DONE, exits.DEGRADED, exits.NO}
    assert not list(tmp_path.iterdir())
    text = here(capfd, "doctor", "--data", tmp_path).out
    for words in FEATURES.values():
        assert words in text


def test_configuration_that_does_not_fit(capfd: Capture, tmp_path: Path) -> None:
    (tmp_path / "web4.toml").write_text('[extensions]\nworker_user = "nobody-of-this-name"\n')
    done = here(capfd, "doctor", "--config", tmp_path / "web4.toml", "--json")
    assert (done.code, done.exit) == ("configuration", 2)


def test_words_that_are_none(capfd: Capture) -> None:
    assert here(capfd, "doctor", "everything", "--json").code == "usage"

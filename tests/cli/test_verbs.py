"""What each verb answers, for programs and for people (JRN-20 to JRN-23, UX-2, UX-3)."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
import trio

from tests.cli import journals
from tests.cli.command import files, here, process
from tests.cli.journals import NODE, NOTED, PEER, STRANGE, TEXT, Asked
from web4.cli.app import JOURNAL
from web4.foundation.identity import generate_identity, save_identity
from web4.journal import NewEvent

Capture = pytest.CaptureFixture[str]
VECTORS = Path(__file__).parents[1] / "vectors" / "journal"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's data directory with a journal at rest. Nobody changes it."""
    data = tmp_path_factory.mktemp("node")
    journals.make(data / "journal", snapshot=True)
    return data


@pytest.fixture
def copy(journal: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    shutil.copytree(journal, tmp_path / "copy")
    return tmp_path / "copy"


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def change(directory: Path, statement: str, *values: Any) -> None:
    """Change the store behind everybody's back."""
    connection = apsw.Connection(str(directory / "journal" / "journal.db"))
    try:
        connection.execute(statement, values)
        assert connection.changes() > 0
        connection.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()


def damage(directory: Path, lane: str, seq: int) -> None:
    """Put zeros in the place of a record's payload hash."""
    change(
        directory,
        "UPDATE record SET payload_hash = zeroblob(32) WHERE seq = ? AND lane = "
        "(SELECT id FROM lane WHERE kind = ?)",
        seq,
        lane,
    )


# --- help ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", JOURNAL)
def test_help(verb: str, capfd: Capture) -> None:
    """UX-2: every verb has help with an example, and the list says of it what its own help begins with."""
    done = here(capfd, "journal", verb, "--help")
    assert done.exit == 0
    text = " ".join(done.out.split())
    assert f"web4 journal {verb} ./" in text
    assert text.partition("[ARGS] ")[2].startswith(JOURNAL[verb].replace("`", ""))
    assert {"--json", "--quiet", "--data"} <= set(re.findall(r"--\w+", text))
    assert verb in here(capfd, "journal", "--help").out


# --- stats --------------------------------------------------------------------------------------------------


def test_stats(journal: Path, capfd: Capture) -> None:
    """Profile, lanes, records, bytes, open work, boots."""
    data = here(capfd, "journal", "stats", journal, "--lanes", "--json").data
    assert {
        "directory",
        "journal_id",
        "backend",
        "profile",
        "schema",
        "boots",
        "last_writer",
        "kinds",
        "records",
        "bytes",
        "blobs",
        "open_work",
        "engine",
        "lanes",
    } == set(data)
    assert (data["profile"], data["boots"], data["records"], data["schema"]) == ("strict", 1, 18, 2)
    assert data["open_work"] == {"count": 0, "items": [], "truncated": False}
    assert data["kinds"]["peer"] == {"lanes": 1, "records": 12, "compacted": 0}
    assert data["bytes"]["database"] > 0
    assert [(one["lane"], one["head"]) for one in data["lanes"]] == [
        (str(PEER), 12),
        ("server", 1),
        (str(STRANGE), 5),
    ]
    shown = here(capfd, "journal", "stats", journal).out
    assert re.search(r"^profile +strict$", shown, flags=re.MULTILINE)


def test_stats_of_open_work_and_of_a_relaxed_journal(tmp_path: Path, capfd: Capture) -> None:
    """JRN-5c: the profile is shown, also when nobody runs."""

    async def write() -> None:
        async with journals.writing(tmp_path / "journal", "relaxed") as journal:
            asked = [NewEvent(Asked(command=f"c{number}"), 1) for number in range(101)]
            await journal.append(STRANGE, asked, expected_seq=0)

    trio.run(write)
    data = here(capfd, "journal", "stats", "--data", tmp_path, "--json").data
    assert data["profile"] == "relaxed"
    assert (data["open_work"]["count"], data["open_work"]["truncated"]) == (101, True)
    assert data["open_work"]["items"][0] == {
        "lane": str(STRANGE),
        "seq": 1,
        "kind": "command",
        "subject": "c0",
        "started": False,
        "command": None,
        "idempotent": False,
    }


def test_the_data_directory(journal: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal, the data directory, `--data`, and what the environment says are all the same journal."""
    told = here(capfd, "journal", "stats", journal, "--json").data["journal_id"]
    ways: list[tuple[list[object], dict[str, str]]] = [
        ([journal / "journal"], {}),
        (["--data", journal], {}),
        ([], {"WEB4_HOME": str(journal)}),
        ([], {"XDG_DATA_HOME": str(journal.parent)}),
    ]
    (journal.parent / "web4").symlink_to(journal)
    for words, environment in ways:
        with monkeypatch.context() as patch:
            patch.delenv("WEB4_HOME", raising=False)
            for name, value in environment.items():
                patch.setenv(name, value)
            assert here(capfd, "journal", "stats", *words, "--json").data["journal_id"] == told


# --- tail ---------------------------------------------------------------------------------------------------


def test_tail(journal: Path, capfd: Capture) -> None:
    """The last records in their order; then, from the cursor, nothing."""
    done = here(capfd, "journal", "tail", journal, "-n", 3, "--json")
    *records, summary = lines(done.out)
    assert [(one["record"]["lane"], one["record"]["seq"]) for one in records] == [
        (str(STRANGE), 4),
        (str(STRANGE), 5),
        ("server", 1),
    ]
    assert set(records[0]["record"]) == {
        "lane",
        "seq",
        "type",
        "v",
        "at",
        "cause",
        "principal",
        "refs",
        "hash",
        "commit",
        "position",
        "erased",
    }
    assert summary["ok"] is True
    assert summary["data"]["records"] == 3
    again = here(capfd, "journal", "tail", journal, "--after", summary["data"]["cursor"], "--json")
    assert [one["type"] for one in lines(again.out)] == ["summary"]
    whole = lines(here(capfd, "journal", "tail", journal, "--after", 0, "--json").out)
    assert len(whole) == 19
    assert lines(here(capfd, "journal", "tail", journal, "-n", 0, "--json").out)[-1]["data"]["records"] == 0


def test_tail_of_a_lane(journal: Path, capfd: Capture) -> None:
    done = here(capfd, "journal", "tail", journal, "--lane", PEER, "--after", 9, "--json")
    assert [one["record"]["seq"] for one in lines(done.out)[:-1]] == [10, 11, 12]


def test_payloads_are_shown_after_redaction_only(journal: Path, capfd: Capture) -> None:
    """Those of known types with `--payload`; those of others never, and no other verb shows any."""
    done = here(capfd, "journal", "tail", journal, "--payload", "--json", "--after", 0)
    told = {one["record"]["lane"]: one["record"] for one in lines(done.out)[:-1]}
    assert told[str(PEER)]["payload"]["skew_ms"] == 60_000
    assert told[str(PEER)]["redactions"] == []
    assert told[str(STRANGE)]["payload"] is None
    assert told[str(STRANGE)]["redactions"] == [["payload", "unregistered"]]
    assert "attention" not in done.out
    for verb in ("tail", "history", "stats", "verify", "replay", "repair"):
        for option in ("--json", "--quiet"):
            assert "skew_ms" not in here(capfd, "journal", verb, journal, option).out


def test_text_from_others_is_made_visible(journal: Path, capfd: Capture) -> None:
    """UX-7: no control character that somebody wrote reaches a terminal, in JSON neither."""
    for options in ((), ("--json",)):
        for verb in ("tail", "history"):
            out = here(capfd, "journal", verb, journal, *options).out
            assert "ann" in out
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", out)
            assert out.isascii()


def test_colours_only_on_a_terminal(copy: Path, capfd: Capture) -> None:
    damage(copy, "session", 3)
    assert "\x1b" not in here(capfd, "journal", "verify", copy).out


# --- history ------------------------------------------------------------------------------------------------


def test_history(journal: Path, capfd: Capture) -> None:
    """JRN-20a, b: filters, order, pages that give each record once."""
    seen: list[int] = []
    cursor: list[str] = []
    while True:
        words = ("--lane", STRANGE, "--desc", "--limit", 2, *cursor)
        data = here(capfd, "journal", "history", journal, *words, "--json").data
        assert set(data) == {"entries", "cursor", "truncated", "scanned", "malformed"}
        seen += [one["seq"] for one in data["entries"]]
        if data["cursor"] is None:
            break
        cursor = ["--cursor", data["cursor"]]
    assert seen == [5, 4, 3, 2, 1]
    found = here(capfd, "journal", "history", journal, "--principal", "ann\x1b[2J", "--json").data["entries"]
    assert len(found) == 5
    assert {"phase", "success"} <= set(found[0])
    words = ("--since", "2023-11-14T22:13:20.003Z", "--until", journals.BEGIN + 4, "--type", NOTED.name)
    assert len(here(capfd, "journal", "history", journal, *words, "--json").data["entries"]) == 2
    assert (
        here(capfd, "journal", "history", journal, "--session", "strange", "--since", "1h", "--json").data[
            "entries"
        ]
        == []
    )


# --- verify -------------------------------------------------------------------------------------------------


def test_verify(journal: Path, copy: Path, capfd: Capture) -> None:
    """JRN-23a: 0 and what was looked at; 1 with lane and number of what is damaged."""
    done = here(capfd, "journal", "verify", journal, "--node", NODE.fingerprint, "--json")
    assert done.exit == 0
    assert done.data | {"journal_id": ""} == {
        "clean": True,
        "journal_id": "",
        "lanes": 3,
        "records": 18,
        "erased": 0,
        "snapshots": 1,
        "blobs": 0,
        "anchors": 1,
        "signers": [NODE.fingerprint],
        "found": 0,
        "findings": [],
        "noticed": 0,
        "notices": [],
        "schemas_unknown": ["session"],
    }
    damage(copy, "session", 3)
    done = here(capfd, "journal", "verify", copy, "--json")
    assert done.exit == 1
    assert {
        "kind": "chain",
        "lane": str(STRANGE),
        "seq": 3,
        "detail": "not what was written, or not in its place",
    } in (done.data["findings"])
    assert here(capfd, "journal", "verify", copy, "--lane", PEER).exit == 0
    assert here(capfd, "journal", "verify", copy, "--node", "0" * 64).exit == 1
    done = here(capfd, "journal", "verify", copy)
    assert "finding: chain at session:strange 3" in done.out


# --- replay -------------------------------------------------------------------------------------------------


def test_replay(journal: Path, copy: Path, capfd: Capture) -> None:
    """JRN-22b: states of lanes that are known; of the others the chain, and that it was not replayed."""
    done = here(capfd, "journal", "replay", journal, "--json")
    assert done.exit == 0
    lane, server = done.data["lanes"]
    assert (server["lane"], server["seq"], server["stopped"]) == ("server", 1, None)
    assert (lane["lane"], lane["seq"], lane["applied"], lane["stopped"]) == (str(PEER), 12, 12, None)
    assert [(one["lane"], one["reason"], one["chain"]) for one in done.data["not_replayable"]] == [
        (str(STRANGE), "logic_unknown", "verified"),
    ]
    assert "not replayable: session:strange" in here(capfd, "journal", "replay", journal).out
    part = here(capfd, "journal", "replay", journal, "--lane", PEER, "--until", 4, "--json").data
    assert part["lanes"][0]["seq"] == 4
    assert part["lanes"][0]["digest"] != lane["digest"]
    damage(copy, "session", 3)
    done = here(capfd, "journal", "replay", copy, "--json")
    assert done.exit == 1
    assert done.data["not_replayable"][0]["chain"] == "broken"
    damage(copy, "peer", 5)
    done = here(capfd, "journal", "replay", copy, "--json")
    assert done.data["lanes"][0]["digest"] is None
    assert "5" in done.data["lanes"][0]["stopped"]


def test_replay_twice(journal: Path, tmp_path: Path, capfd: Capture) -> None:
    """JRN-22c, section 9.25: in this process, by the tool in another, and of a bundle: the same digests."""
    once = here(capfd, "journal", "replay", journal, "--json").data
    assert process("journal", "replay", journal, "--json").data == once
    assert here(capfd, "journal", "export", journal, tmp_path / "bundle").exit == 0
    assert here(capfd, "journal", "replay", tmp_path / "bundle", "--json").data["digest"] == once["digest"]


# --- export and backup --------------------------------------------------------------------------------------


def test_export(journal: Path, tmp_path: Path, capfd: Capture) -> None:
    """JRN-21: a bundle that verifies by itself, signed if there is a key, with what was withheld."""
    key = tmp_path / "keys" / "node.pem"
    node = generate_identity()
    save_identity(node, key)
    data = here(capfd, "journal", "export", journal, tmp_path / "bundle", "--key", key, "--json").data
    assert data["signed_by"] == node.fingerprint
    assert data["redactions"] == [
        {"type": NOTED.name, "field": "payload", "rule": "unregistered", "count": 5}
    ]
    assert data["records"] == 18
    for words, exit_ in (((), 0), (("--node", node.fingerprint), 0), (("--node", NODE.fingerprint), 1)):
        assert here(capfd, "journal", "verify", tmp_path / "bundle", *words).exit == exit_
    assert TEXT.encode() not in b"".join(files(tmp_path / "bundle").values())
    records = tmp_path / "bundle" / "records.ndjson"
    records.write_bytes(records.read_bytes().replace(b"1700000000003", b"1700000000004"))
    done = here(capfd, "journal", "verify", tmp_path / "bundle", "--json")
    assert (done.exit, done.data["clean"]) == (1, False)
    done = here(capfd, "journal", "replay", tmp_path / "bundle", "--json")
    assert (done.exit, done.code) == (2, "bundle")


def test_export_of_a_lane(journal: Path, tmp_path: Path, capfd: Capture) -> None:
    words = ("--lane", PEER, "--until", journals.BEGIN + 4)
    data = here(capfd, "journal", "export", "--data", journal, tmp_path / "bundle", *words, "--json").data
    assert data["lanes"] == [{"lane": str(PEER), "first_seq": 1, "last_seq": 5, "head_seq": 12}]


def test_backup(journal: Path, tmp_path: Path, capfd: Capture) -> None:
    """A copy that is a journal, closed to others, with the key; and nothing else beside it."""
    data = here(capfd, "journal", "backup", journal, tmp_path / "copy", "--json").data
    assert data["verified"]["clean"] is True
    assert data["verified"]["records"] == 18
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert set(files(tmp_path / "copy")) == {"hash.key", "journal.db"}
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "copy").iterdir()} == {"0o600"}
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
    once = here(capfd, "journal", "replay", journal, "--json").data
    assert here(capfd, "journal", "replay", tmp_path / "copy", "--json").data == once

    async def go_on() -> None:
        async with journals.writing(tmp_path / "copy") as restored:
            await restored.append(PEER, [journals.heard(12)], expected_seq=12)

    trio.run(go_on)
    assert here(capfd, "journal", "verify", tmp_path / "copy").exit == 0


def test_backup_of_a_damaged_journal(copy: Path, tmp_path: Path, capfd: Capture) -> None:
    """It is the best there is, so it is kept; and the exit code says what it is."""
    damage(copy, "session", 3)
    done = here(capfd, "journal", "backup", copy, tmp_path / "backup", "--json")
    assert done.exit == 1
    assert done.data["verified"]["clean"] is False
    assert (tmp_path / "backup" / "journal.db").exists()


# --- compact ------------------------------------------------------------------------------------------------


def test_compact(copy: Path, tmp_path: Path, capfd: Capture) -> None:
    """JRN-17: states are the same, the chain verifies, and what cannot go says why."""
    before = here(capfd, "journal", "replay", copy, "--json").data["lanes"][0]
    data = here(capfd, "journal", "compact", copy, "--lane", PEER, "--to", 7, "--json").data
    assert data == {"removed": 7, "lanes": [{"lane": str(PEER), "base": 7, "removed": 7, "kept": None}]}
    after = here(capfd, "journal", "replay", copy, "--json").data["lanes"][0]
    assert (after["digest"], after["seq"], after["begun_at"]) == (before["digest"], 12, 7)
    data = here(capfd, "journal", "compact", copy, "--json").data
    kept = {one["lane"]: one["kept"] for one in data["lanes"]}
    assert kept[str(PEER)] is None
    assert "no snapshot" in kept[str(STRANGE)]
    assert data["removed"] == 5
    assert here(capfd, "journal", "verify", copy).exit == 0
    done = here(capfd, "journal", "tail", copy, "--lane", PEER, "--after", 3, "--json")
    assert (done.code, done.exit) == ("compacted", 7)
    assert lines(done.out)[-1]["error"]["context"]["base_seq"] == 12
    done = here(capfd, "journal", "compact", copy, "--lane", STRANGE, "--to", 2, "--json")
    assert (done.code, done.exit) == ("no_snapshot", 5)
    done = here(capfd, "journal", "compact", copy, "--lane", PEER, "--to", 99, "--json")
    assert (done.code, done.exit) == ("cursor_ahead", 2)


def test_cursor_after_compaction(copy: Path, capfd: Capture) -> None:
    """A reader of all lanes is told that records between two it got are gone."""
    cursor = lines(here(capfd, "journal", "tail", copy, "-n", 0, "--json").out)[-1]["data"]["cursor"]
    place = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=="))
    early = base64.urlsafe_b64encode(msgspec.json.encode([place[0], None, 2])).decode().rstrip("=")
    here(capfd, "journal", "compact", copy, "--lane", PEER)
    told = lines(here(capfd, "journal", "tail", copy, "--after", early, "--json").out)
    assert told[0] == {"type": "gap", "after": 2, "before": 13}


# --- repair and migrate -------------------------------------------------------------------------------------


def test_repair_keeps_evidence(copy: Path, capfd: Capture) -> None:
    """JRN-23b, section 9.26: without `--apply` nothing changes; with it, quarantine holds what was cut."""
    damage(copy, "peer", 10)
    before = files(copy)
    done = here(capfd, "journal", "repair", copy, "--json")
    assert done.exit == 1
    assert done.data["applied"] is False
    [plan] = done.data["lanes"]
    assert (plan["lane"], plan["keep"], plan["head"], plan["quarantine"]) == (str(PEER), 9, 12, None)
    assert files(copy) == before
    done = here(capfd, "journal", "repair", copy, "--apply", "--json")
    assert done.exit == 0
    [cut] = done.data["lanes"]
    assert cut["removed"] == 3
    kept = (copy / "journal" / "quarantine" / cut["quarantine"]).read_text().splitlines()
    assert sum('"header"' in line for line in kept) == 3
    assert here(capfd, "journal", "verify", copy).exit == 0
    assert "journal.repaired" in here(capfd, "journal", "tail", copy, "--lane", "server").out
    assert here(capfd, "journal", "repair", copy, "--json").exit == 0


def test_repair_of_lanes_that_are_not_known_is_refused(copy: Path, capfd: Capture) -> None:
    """What a cut leaves unfinished is told by the events alone: nothing is cut blindly."""
    damage(copy, "session", 3)
    assert here(capfd, "journal", "repair", copy).exit == 1
    before = files(copy / "journal")["journal.db"]
    done = here(capfd, "journal", "repair", copy, "--apply", "--json")
    assert (done.code, done.exit) == ("kind_unknown", 5)
    assert here(capfd, "journal", "repair", copy).exit == 1
    assert not (copy / "journal" / "quarantine").exists()
    assert len(files(copy / "journal")["journal.db"]) == len(before)


def test_migrate(journal: Path, tmp_path: Path, capfd: Capture) -> None:
    """JRN-10b: reading an older store says what to do; then it is done, once."""
    shutil.copytree(VECTORS / "schema1", tmp_path / "old")
    (tmp_path / "old").chmod(0o700)
    (tmp_path / "old" / "hash.key").chmod(0o600)
    done = here(capfd, "journal", "verify", tmp_path / "old", "--json")
    assert (done.code, done.exit) == ("schema_older", 2)
    assert "web4 journal migrate" in json.loads(done.out)["error"]["message"]
    data = here(capfd, "journal", "migrate", tmp_path / "old", "--json").data
    assert (data["from"], data["to"], data["migrated"]) == (1, 2, True)
    assert (tmp_path / "old" / "journal.db.schema1").exists()
    assert data["copy"] == str(tmp_path / "old" / "journal.db.schema1")
    assert here(capfd, "journal", "migrate", tmp_path / "old", "--json").data["migrated"] is False
    data = here(capfd, "journal", "stats", tmp_path / "old", "--lanes", "--json").data
    expected = json.loads((VECTORS / "schema1" / "expected.json").read_text())
    heads = {one["lane"]: (one["head"], one["hash"]) for one in data["lanes"]}
    assert heads == {lane: (one["head"], one["hash"]) for lane, one in expected["lanes"].items()}


def test_quiet(copy: Path, capfd: Capture) -> None:
    assert here(capfd, "journal", "tail", copy, "--quiet").err == ""

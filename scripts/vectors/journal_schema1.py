"""A journal's store of edition 1, written by other people's code: `python -m scripts.vectors.journal_schema1`.

Makes `tests/vectors/journal/schema1/`: the store, and in `expected.json` what must be found in it once it is migrated:
heads, states and outcomes of every lane, unfinished work, snapshots, blobs (JRN-10c). Edition 1 had no salts, and its
headers have neither `principal` nor `refs`.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import rfc8785
from blake3 import blake3

DIRECTORY = Path(__file__).parents[2] / "tests" / "vectors" / "journal" / "schema1"
JOURNAL_ID = bytes(range(16))

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE lane (
    kind TEXT NOT NULL, id TEXT NOT NULL, head INTEGER NOT NULL, hash BLOB NOT NULL, at INTEGER NOT NULL,
    base INTEGER NOT NULL, base_hash BLOB NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE record (
    position INTEGER PRIMARY KEY, lane_kind TEXT NOT NULL, lane_id TEXT NOT NULL, seq INTEGER NOT NULL,
    commit_number INTEGER NOT NULL, header BLOB NOT NULL, payload BLOB, payload_hash BLOB NOT NULL, hash BLOB NOT NULL
);
CREATE UNIQUE INDEX record_place ON record (lane_kind, lane_id, seq);
CREATE TABLE work (
    lane_kind TEXT NOT NULL, lane_id TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, seq INTEGER NOT NULL,
    started INTEGER NOT NULL, command TEXT, idempotent INTEGER NOT NULL,
    PRIMARY KEY (lane_kind, lane_id, kind, subject)
) WITHOUT ROWID;
CREATE TABLE snapshot (
    lane_kind TEXT NOT NULL, lane_id TEXT NOT NULL, seq INTEGER NOT NULL, record_hash BLOB NOT NULL,
    state BLOB NOT NULL, state_hash BLOB NOT NULL, logic_version INTEGER NOT NULL,
    PRIMARY KEY (lane_kind, lane_id, seq)
);
CREATE TABLE blob (name TEXT PRIMARY KEY, data BLOB NOT NULL, at INTEGER NOT NULL);
"""


def _genesis(lane: str) -> bytes:
    return blake3(JOURNAL_ID + lane.encode(), derive_key_context="web4 journal genesis v1").digest()


class Store:
    """Writes records of edition 1, and keeps what they must come to."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self.heads: dict[str, tuple[int, bytes, int]] = {}
        self.states: dict[str, dict[str, Any]] = {}
        self.work: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.bases: dict[str, tuple[int, bytes]] = {}
        self.position = 0
        self.commit = 0

    def append(self, lane: str, *events: tuple[str, dict[str, Any]], at: int, cause: Any = None) -> None:
        """One commit of one lane."""
        self.commit += 1
        seq, prev, _ = self.heads.get(lane, (0, _genesis(lane), 0))
        for kind, payload in events:
            seq += 1
            self.position += 1
            header = rfc8785.dumps({"at": at, "cause": cause, "lane": lane, "seq": seq, "type": kind, "v": 1})
            body = rfc8785.dumps(payload)
            payload_hash = blake3(body).digest()
            covered = prev + len(header).to_bytes(4, "little") + header + payload_hash
            prev = blake3(covered, derive_key_context="web4 journal record v1").digest()
            name = lane.partition(":")
            self.database.execute(
                "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (self.position, name[0], name[2], seq, self.commit, header, body, payload_hash, prev),
            )
            self._happen(lane, seq, kind, payload)
        self.heads[lane] = (seq, prev, at)

    def _happen(self, lane: str, seq: int, kind: str, payload: dict[str, Any]) -> None:
        """What the event means: a sum, the outcomes of commands, and what is unfinished."""
        state = self.states.setdefault(lane, {"sum": 0, "outcomes": {}})
        if kind == "fixture.counted":
            state["sum"] += payload["n"]
        elif kind == "fixture.accepted":
            self._begin(lane, seq, "command", payload["command_id"], None, idempotent=False)
        elif kind == "fixture.started":
            self.work[lane, "command", payload["command_id"]]["started"] = True
        elif kind == "fixture.finished":
            state["outcomes"][payload["command_id"]] = payload["success"]
            del self.work[lane, "command", payload["command_id"]]
        elif kind == "fixture.requested":
            self._begin(
                lane,
                seq,
                "effect",
                payload["effect_id"],
                payload["command_id"],
                idempotent=payload["idempotent"],
            )
        elif kind == "fixture.concluded":
            del self.work[lane, "effect", payload["effect_id"]]

    def _begin(
        self, lane: str, seq: int, kind: str, subject: str, command: str | None, *, idempotent: bool
    ) -> None:
        self.work[lane, kind, subject] = {
            "lane": lane,
            "seq": seq,
            "kind": kind,
            "subject": subject,
            "started": False,
            "command": command,
            "idempotent": idempotent,
        }

    def snapshot(self, lane: str) -> None:
        """A snapshot of the lane as it is now."""
        seq, digest, _ = self.heads[lane]
        state = rfc8785.dumps(self.states[lane])
        kind, _, name = lane.partition(":")
        self.database.execute(
            "INSERT INTO snapshot VALUES (?, ?, ?, ?, ?, ?, ?)",
            (kind, name, seq, digest, state, blake3(state).digest(), 1),
        )

    def compact(self, lane: str) -> None:
        """Let a snapshot of now stand for all records of the lane."""
        self.snapshot(lane)
        seq, digest, _ = self.heads[lane]
        self.bases[lane] = (seq, digest)
        kind, _, name = lane.partition(":")
        self.database.execute("DELETE FROM record WHERE lane_kind = ? AND lane_id = ?", (kind, name))

    def erase(self, lane: str, seq: int) -> None:
        """Erase the payloads of the lane's records up to `seq`."""
        kind, _, name = lane.partition(":")
        self.database.execute(
            "UPDATE record SET payload = NULL WHERE lane_kind = ? AND lane_id = ? AND seq <= ?",
            (kind, name, seq),
        )

    def finish(self) -> None:
        """Write what is kept beside the records."""
        for lane, (seq, digest, at) in self.heads.items():
            kind, _, name = lane.partition(":")
            base, base_hash = self.bases.get(lane, (0, _genesis(lane)))
            self.database.execute(
                "INSERT INTO lane VALUES (?, ?, ?, ?, ?, ?, ?)",
                (kind, name, seq, digest, at, base, base_hash),
            )
        for one in self.work.values():
            kind, _, name = one["lane"].partition(":")
            self.database.execute(
                "INSERT INTO work VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    kind,
                    name,
                    *(one[key] for key in ("kind", "subject", "seq", "started", "command", "idempotent")),
                ),
            )
        self.database.executemany(
            "INSERT INTO meta VALUES (?, ?)", [("schema", 1), ("journal_id", JOURNAL_ID), ("boot", 7)]
        )


def _counted(n: int) -> tuple[str, dict[str, Any]]:
    return "fixture.counted", {"n": n}


def _command(kind: str, command_id: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return f"fixture.{kind}", {"command_id": command_id, **more}


def _effect(kind: str, effect_id: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return f"fixture.{kind}", {"effect_id": effect_id, **more}


def fill(store: Store) -> None:
    """A short life of a node."""
    store.append("server", _counted(1), at=1_000)
    for n in range(70):
        store.append("session:long", _counted(n), at=1_001 + n)
    store.snapshot("session:long")
    for n in range(5):
        store.append("session:long", _counted(n), at=1_200)
    store.append("session:work", _command("accepted", "done"), _command("started", "done"), at=1_300)
    request = _effect("requested", "e-done", command_id="done", idempotent=False)
    store.append("session:work", request, at=1_301, cause=["server", 1])
    finished = _command("finished", "done", success=True)
    store.append("session:work", _effect("concluded", "e-done", result="ok"), finished, at=1_302)
    failed = [_command("accepted", "failed"), _command("finished", "failed", success=False)]
    store.append("session:work", *failed, at=1_303)
    store.append("session:work", _command("accepted", "waiting"), at=1_304)
    store.append("session:work", _command("accepted", "running"), _command("started", "running"), at=1_305)
    for effect, again in (("e-again", True), ("e-once", False)):
        store.append(
            "session:work", _effect("requested", effect, command_id="running", idempotent=again), at=1_306
        )
    for n in range(3):
        store.append("peer:" + "ab" * 32, _counted(100 + n), at=1_400 + n)
    store.compact("peer:" + "ab" * 32)
    for n in range(4):
        store.append("human:ada", _counted(n), at=1_500)
    store.compact("human:ada")
    store.append("human:ada", _counted(10), _counted(20), at=1_501)
    for n in range(6):
        store.append("knowledge", _counted(n), at=1_600)
    store.erase("knowledge", 4)


def main() -> None:
    """Write the fixture."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / "journal.db"
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA application_id = 1463044686")
    database.executescript(TABLES)
    store = Store(database)
    fill(store)
    store.finish()
    blobs = {"b3:" + blake3(data).hexdigest(): data for data in (b"a short blob", bytes(range(256)) * 20)}
    database.executemany("INSERT INTO blob VALUES (?, ?, 1700)", blobs.items())
    database.commit()
    database.execute("PRAGMA journal_mode = WAL")
    database.close()
    (DIRECTORY / "hash.key").write_bytes(bytes(range(32)))
    expected = {
        "journal_id": JOURNAL_ID.hex(),
        "boot": 7,
        "lanes": {
            lane: {
                "head": seq,
                "hash": digest.hex(),
                "at": at,
                "base": store.bases.get(lane, (0, b""))[0],
                "base_hash": store.bases.get(lane, (0, _genesis(lane)))[1].hex(),
                **store.states[lane],
            }
            for lane, (seq, digest, at) in sorted(store.heads.items())
        },
        "open_work": sorted(store.work.values(), key=lambda one: (one["lane"], one["seq"])),
        "erased": {"knowledge": 4},
        "snapshots": {"session:long": [70], "peer:" + "ab" * 32: [3], "human:ada": [4]},
        "blobs": {name: len(data) for name, data in sorted(blobs.items())},
    }
    (DIRECTORY / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="ascii")
    print(f"wrote {DIRECTORY.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()

"""Edition 2 of the store on disk: its files, its tables, and what one is recognised by (JRN-10a)."""

from __future__ import annotations

from typing import Final

SCHEMA: Final = 2
APPLICATION_ID: Final = 0x57344A4E
"""`W4JN`, in the file's header: what tells a journal from any other SQLite file."""

DATABASE: Final = "journal.db"
LOCK: Final = "writer.lock"
HASH_KEY: Final = "hash.key"
RESERVE: Final = "reserve"

STRIDE: Final = 32
"""Every so many records of a lane there is a milestone."""

TABLES: Final = """
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- A lane is never forgotten: its row outlives all of its records (JRN-1e).
-- `commit_number` and `position` are those of its last commit and record.
CREATE TABLE lane (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    head INTEGER NOT NULL,
    hash BLOB NOT NULL,
    at INTEGER NOT NULL,
    base INTEGER NOT NULL,
    base_hash BLOB NOT NULL,
    commit_number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    UNIQUE (kind, name)
) STRICT;

-- `position` is the order of history: by commit, lane and number; `previous` is that of the lane's record before it,
-- 0 for its first. `header` is held as it was hashed.
-- An erased record has neither payload nor salt (JRN-16); one of edition 1 has an empty salt.
CREATE TABLE record (
    position INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    commit_number INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    header BLOB NOT NULL,
    payload BLOB,
    salt BLOB,
    payload_hash BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- Where each lane's every 32nd record is. From one of them, or from the head, the records before are found through
-- `previous`. An index of all records would dirty as many pages as a commit has lanes.
CREATE TABLE milestone (
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (lane, seq)
) STRICT, WITHOUT ROWID;

-- What history finds records by (JRN-20c).
CREATE TABLE ref (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (kind, value, position)
) STRICT, WITHOUT ROWID;

-- Commands without an end, effects without a conclusion (JRN-13).
CREATE TABLE work (
    lane INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    seq INTEGER NOT NULL,
    started INTEGER NOT NULL,
    command TEXT,
    idempotent INTEGER NOT NULL,
    PRIMARY KEY (lane, kind, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX work_place ON work (lane, seq);

-- The one at its lane's base stands for the records up to there (JRN-7c).
CREATE TABLE snapshot (
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    record_hash BLOB NOT NULL,
    state BLOB NOT NULL,
    state_hash BLOB NOT NULL,
    logic_version INTEGER NOT NULL,
    PRIMARY KEY (lane, seq)
) STRICT;

-- A blob is there when it is listed; parts without a listing are what a crash left (JRN-8).
CREATE TABLE blob (
    name TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE blob_part (
    name TEXT NOT NULL,
    part INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (name, part)
) STRICT;
"""

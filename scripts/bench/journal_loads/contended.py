"""What a single writer per lane avoids: callers that contend on one lane's row in plain PostgreSQL.

Each append is a transaction of two round trips: it locks the lane's row and reads its head (`SELECT ... FOR UPDATE`),
hashes the record onto it, then inserts it and moves the head, with the commit in the same pipeline. Every caller has
a connection of its own. The server syncs before it answers.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import TYPE_CHECKING

import psycopg

from scripts.bench.journal_task import PAYLOAD, Counting, Task, now
from web4 import _core

if TYPE_CHECKING:
    from scripts.bench.figures import Measurement

_TABLES = """
CREATE TABLE {0}_lane (id int PRIMARY KEY, head bigint NOT NULL, hash bytea NOT NULL);
CREATE TABLE {0}_record (lane int, seq bigint, payload bytea NOT NULL, hash bytea NOT NULL, PRIMARY KEY (lane, seq));
INSERT INTO {0}_lane VALUES (1, 0, '\\x00');
"""


def measure(task: Task) -> Measurement:
    """Append to one lane from every caller."""
    return asyncio.run(_measure(task))


async def _measure(task: Task) -> Measurement:
    name = f"contended_{uuid.uuid4().hex[:12]}"
    async with await psycopg.AsyncConnection.connect(task.conninfo, autocommit=True) as connection:
        for statement in filter(str.strip, _TABLES.format(name).split(";")):
            await connection.execute(statement.encode())
    counting = Counting()
    connections = [
        await psycopg.AsyncConnection.connect(task.conninfo, autocommit=True, prepare_threshold=0)
        for _ in range(task.callers)
    ]
    callers = [asyncio.create_task(_append(one, name, counting.latencies)) for one in connections]
    try:
        await asyncio.sleep(task.warm_up)
        counting.begin()
        await asyncio.sleep(task.seconds)
        found = counting.end()
    finally:
        for caller in callers:
            caller.cancel()
        ended = await asyncio.gather(*callers, return_exceptions=True)
        for one in connections:
            await one.close()
    for error in ended:
        if isinstance(error, Exception):
            raise error
    return found


async def _append(connection: psycopg.AsyncConnection, name: str, latencies: list[int]) -> None:
    payload = os.urandom(PAYLOAD)
    lock = f"SELECT head, hash FROM {name}_lane WHERE id = 1 FOR UPDATE".encode()
    insert = f"INSERT INTO {name}_record VALUES (1, %s, %s, %s)".encode()
    move = f"UPDATE {name}_lane SET head = %s, hash = %s WHERE id = 1".encode()
    while True:
        begun = now()
        async with connection.pipeline():
            await connection.execute(b"BEGIN")
            row = await (await connection.execute(lock)).fetchone()
            assert row is not None
            seq = row[0] + 1
            digest = _core.blake3(row[1] + payload)
            await connection.execute(insert, (seq, payload, digest))
            await connection.execute(move, (seq, digest))
            await connection.execute(b"COMMIT")
        latencies.append(now() - begun)

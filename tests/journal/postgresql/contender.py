"""A node that wants one lane, in a process of its own: takes it when it can, and writes until it is told to stop.

It says on standard output what it knows for certain, a line each: `own <seq>`, `ack <seq> <commit>`, `lost <code>`.
With `blind` it never thinks its lease lost by itself: then nothing but the database's fence stops it. Before it writes
anything it waits for a byte on its standard input.
"""

from __future__ import annotations

import os
import sys

import trio

from tests.journal.postgresql.arrange import commit_of, sealed
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.errors import NotCommittedError, NotWriterError, OutcomeUnknownError
from web4.journal.lane import Lane

LANE = Lane("session", "wanted")


async def main(conninfo: str, node: str, sight: str) -> None:
    async with open_postgresql(
        conninfo, node=node, lease_seconds=1.0, renew_seconds=0.2, give_up_seconds=0.7
    ) as backend:
        if sight == "blind":
            assert backend._leases is not None
            backend._leases._give_up = float("inf")
        while True:
            try:
                head = await backend.own(LANE)
                break
            except NotWriterError:
                await trio.sleep(0.02)
        say(f"own {head.seq}")
        await trio.lowlevel.FdStream(os.dup(0)).receive_some(1)
        count = 0
        while True:
            count += 1
            records, move = sealed(LANE, head, [f'{{"by":"{node}","n":{count}}}'.encode()] * 3)
            commit = commit_of((records, move))
            try:
                number = await backend.commit(commit)
            except NotWriterError as error:
                say(f"lost {error.code}")
                return
            except OutcomeUnknownError:
                found = await recover(backend, commit)
                if found is None:
                    continue
                number = found
            except NotCommittedError:
                await trio.sleep(0.02)
                continue
            head = move.after
            say(f"ack {head.seq} {number}")


async def recover(backend: object, commit: object) -> int | None:
    while True:
        try:
            return await backend.recover(commit)  # type: ignore[attr-defined, no-any-return]
        except NotCommittedError:
            await trio.sleep(0.02)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])

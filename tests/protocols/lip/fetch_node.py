"""A node that fetches one page on a lane on disk: `fetch_node.py DIRECTORY PORT`. Says `done DIGEST` when it has."""

from __future__ import annotations

import sys

import trio

from web4.actors import open_lane_actors
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.protocols.lip import FetchException, FetchOptions, LipRuntime, open_fetcher


async def nobody(peer: str, payload: object, **more: object) -> str:
    raise AssertionError("no peer asked")


async def main(directory: str, port: int) -> None:
    here = FetchException(host="127.0.0.1", port=port, network="127.0.0.0/8")
    async with (
        open_fetcher(FetchOptions(exceptions=(here,), spacing_seconds=0.0)) as fetcher,
        open_sqlite(directory) as store,
        open_journal(store, registry=EventRegistry()) as journal,
    ):
        lip = LipRuntime(journal, fetcher, nobody)
        async with open_lane_actors(journal, {"knowledge": lip.definition}) as actors:
            lip.bind(actors)
            record = await lip.fetch(f"http://127.0.0.1:{port}/page", fetch_id="the-one")
            print("done", record.body_blake3, len(await lip.recent()), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))

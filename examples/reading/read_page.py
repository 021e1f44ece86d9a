"""Read a page as a node does: `python read_page.py URI [CONSTRAINT …] [--allow HOST:PORT=NETWORK] [--warc FILE]`.

Prints what a fetch leaves behind, then the words. Exit code 1, and the rule's code, when it is refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
import trio

from web4.protocols.lip import FetchError, FetchException, FetchOptions, open_fetcher
from web4.protocols.lip.archive import Archived, write_warc


def exception(text: str) -> FetchException:
    """`127.0.0.1:8080=127.0.0.0/8`: the operator's own word, never a page's (FETCH-11)."""
    place, _, network = text.partition("=")
    host, _, port = place.rpartition(":")
    return FetchException(host=host, port=int(port), network=network or None)


async def main() -> int:
    arguments = argparse.ArgumentParser(description="Read a page as a node does.")
    arguments.add_argument("uri")
    arguments.add_argument("constraints", nargs="*", help="no_personal_data, domain:example.org")
    arguments.add_argument(
        "--allow", type=exception, action="append", default=[], metavar="HOST:PORT=NETWORK"
    )
    arguments.add_argument("--warc", type=Path, help="keep it in this file")
    given = arguments.parse_args()
    async with open_fetcher(FetchOptions(exceptions=tuple(given.allow))) as fetcher:
        try:
            fetched = await fetcher.fetch(given.uri, given.constraints)
        except FetchError as error:
            print(error, file=sys.stderr)
            return 1
    print(msgspec.json.format(msgspec.json.encode(fetched.record), indent=2).decode())
    print(fetched.text.quoted())
    if given.warc is not None:
        with given.warc.open("wb") as file:
            write_warc(file, [Archived(fetched.record, fetched.head, fetched.body)])
    return 0


if __name__ == "__main__":
    sys.exit(trio.run(main))

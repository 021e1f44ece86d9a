"""The guide on reading the internet, and the example, run as they stand."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import trio
from warcio.archiveiterator import ArchiveIterator

from tests.protocols.lip.web import answer, serving
from tests.test_guides import extract, run_as_shown

EXAMPLE = Path(__file__).parents[3] / "examples" / "reading" / "read_page.py"


def test_docs_examples_run_reading(tmp_path: Path) -> None:
    """FETCH-2, 3, 5, 7, 11: what the page shows is what the program prints."""
    printed, shown = run_as_shown("reading-the-internet.md", "reading.py", tmp_path)
    assert [printed] == shown


def test_docs_examples_run_keeping(tmp_path: Path) -> None:
    """FETCH-1, FETCH-10: two processes, one journal, and an archive that others can read."""
    extract("reading-the-internet.md", tmp_path)
    printed = ""
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "keeping.py", "there"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        printed += ran.stdout
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "reading-the-internet.md").read_text()
    assert f"it prints\n\n```\n{printed}```" in guide
    with (tmp_path / "there" / "evidence.warc.gz").open("rb") as file:
        bodies = [one.content_stream().read() for one in ArchiveIterator(file) if one.rec_type == "response"]
    assert bodies == [b"The lamp is green."] * 2


async def read_page(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    run = partial(trio.run_process, capture_stdout=True, capture_stderr=True, check=False)
    return await run([sys.executable, str(EXAMPLE), *arguments])


async def test_the_example_reads_and_refuses(tmp_path: Path) -> None:
    """FETCH-11: only what its operator allows on the command line."""
    async with serving({"/": answer(b"Green lamps.")}) as web:
        uri = f"http://127.0.0.1:{web.port}/"
        refused = await read_page(uri)
        assert (refused.returncode, web.connections) == (1, 0)
        assert refused.stderr.startswith(b"port_refused: ")
        warc = tmp_path / "page.warc.gz"
        allowed = f"127.0.0.1:{web.port}=127.0.0.0/8"
        done = await read_page(uri, "no_personal_data", "--allow", allowed, "--warc", str(warc))
        assert done.returncode == 0, done.stderr
        assert b'"constraints": ["no_personal_data"]' in b" ".join(done.stdout.split()).replace(
            b"[ ", b"["
        ).replace(b" ]", b"]")
        assert b"\nGreen lamps.\n<<end of untrusted " in done.stdout
        assert warc.stat().st_size > 0

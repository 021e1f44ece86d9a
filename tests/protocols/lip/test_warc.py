"""A fetch as a WARC file, read back by the library that others read it with (FETCH-10)."""

from __future__ import annotations

import io

import msgspec
from warcio.archiveiterator import ArchiveIterator

from tests.protocols.lip.web import answer, browsing, moved
from web4 import _core
from web4.protocols.lip.archive import Archived, write_warc
from web4.protocols.lip.fetching import FetchRecord


async def test_fetch_warc_is_read_back() -> None:
    """Status, fields, body and our record; what was decoded says so, and cookies are not kept."""
    import gzip

    body = "Grüße aus dem Archiv, ein wenig länger.\n".encode()
    routes = {
        "/": moved("/page"),
        "/page": answer(
            gzip.compress(body),
            kind="text/plain; charset=utf-8",
            Content_Encoding="gzip",
            Set_Cookie="id=1",
            X_A="b: c",
        ),
    }
    async with browsing(routes) as (fetcher, web):
        fetched = await fetcher.fetch(web.url(), fetch_id="fetch:one")
        file = io.BytesIO()
        write_warc(file, [Archived(fetched.record, fetched.head, fetched.body)])
        file.seek(0)
        kinds, found = [], {}
        for record in ArchiveIterator(file, check_digests="raise"):
            kinds.append(record.rec_type)
            found[record.rec_type] = (record.rec_headers, record.http_headers, record.content_stream().read())
        assert kinds == ["warcinfo", "response", "metadata"]

        about, http, content = found["response"]
        assert content == body
        assert about.get_header("WARC-Target-URI") == web.url("/page")
        assert about.get_header("WARC-Date") == fetched.record.retrieved_at
        assert about.get_header("WARC-IP-Address") == "127.0.0.1"
        assert http.get_statuscode() == "200"
        assert http.get_header("X-A") == "b: c"
        assert http.get_header("Content-Encoding") is None
        assert http.get_header("X-Web4-Original-Content-Encoding") == "gzip"
        assert http.get_header("Content-Length") == str(len(body))
        assert http.get_header("Set-Cookie") is None
        assert _core.blake3(content).hex() == fetched.record.body_blake3

        record_again = msgspec.json.decode(found["metadata"][2], type=FetchRecord)
        assert record_again == fetched.record
        assert found["metadata"][0].get_header("WARC-Refers-To") == about.get_header("WARC-Record-ID")

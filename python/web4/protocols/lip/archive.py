"""Fetches as a WARC file (FETCH-10), for whoever keeps evidence with other tools."""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from web4 import _core
from web4.foundation.codec import ENCODER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from web4.protocols.lip.fetching.record import FetchRecord

_NAMESPACE: Final = uuid.UUID("6f1f3c0e-6f0a-5d0e-9a55-5b1d6f4b7c11")
_RECODED: Final = frozenset({"content-encoding", "transfer-encoding", "content-length"})
"""Fields about how a body travelled: it is archived decoded, so they are kept under a name that says so."""


@dataclass(frozen=True, slots=True)
class Archived:
    """A record with its contents."""

    record: FetchRecord
    head: bytes
    body: bytes


def write_warc(file: BinaryIO, fetches: Sequence[Archived]) -> None:
    """Write a WARC 1.1 file, compressed: for each fetch its answer, and its record as metadata beside it.

    Equal fetches give equal record ids. The digest in our record is BLAKE3 of the body as it is archived.

    Raises:
        OSError: The file cannot be written.
    """
    writer = WARCWriter(file, gzip=True, warc_version="1.1")
    writer.write_record(
        writer.create_warcinfo_record("", {"software": "web4", "format": "WARC File Format 1.1"})
    )
    for one in fetches:
        _write(writer, one)


def _write(writer: WARCWriter, one: Archived) -> None:
    record = one.record
    name = _record_id("response", record, one.body)
    status, fields = _head(one.head)
    fields.append(("Content-Length", str(len(one.body))))
    response = writer.create_warc_record(
        record.final_uri,
        "response",
        payload=io.BytesIO(one.body),
        length=len(one.body),
        http_headers=StatusAndHeaders(status, fields, protocol="HTTP/1.1"),
        warc_headers_dict={
            "WARC-Record-ID": name,
            "WARC-Date": record.retrieved_at,
            "WARC-IP-Address": record.hops[-1].address,
        },
    )
    writer.write_record(response)
    about = ENCODER.encode(record)
    metadata = writer.create_warc_record(
        record.final_uri,
        "metadata",
        payload=io.BytesIO(about),
        length=len(about),
        warc_content_type="application/json",
        warc_headers_dict={
            "WARC-Record-ID": _record_id("metadata", record, about),
            "WARC-Date": record.retrieved_at,
            "WARC-Refers-To": name,
        },
    )
    writer.write_record(metadata)


def _record_id(kind: str, record: FetchRecord, data: bytes) -> str:
    name = f"{kind} {record.fetch_id} {record.final_uri} {record.retrieved_at} {_core.blake3(data).hex()}"
    return f"<urn:uuid:{uuid.uuid5(_NAMESPACE, name)}>"


def _head(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    """Status line and fields of an archived answer."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    fields = []
    for line in lines:
        name, _, value = line.partition(": ")
        fields.append((f"X-Web4-Original-{name}" if name.lower() in _RECODED else name, value))
    return first.partition(" ")[2], fields

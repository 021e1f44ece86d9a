"""A body while it arrives: decompressed within its bounds, or refused as too large (FETCH-8)."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

from web4.protocols.lip.errors import FetchFailed, TooLarge

_GZIP: Final = 16 + zlib.MAX_WBITS
_STEP: Final = 64 * 1024


class Body:
    """Takes what arrives and holds what it decodes to. Never holds more than the limit and one step.

    Args:
        encoding: What Content-Encoding says; empty for none.
        limit: Bytes after decoding.
        expansion: How many times the compressed size it may have.

    Raises:
        FetchFailed: `content_encoding`: not gzip, deflate or none. Several at once are refused, too.
    """

    def __init__(self, encoding: str, *, limit: int, expansion: int) -> None:
        self._decoder = _decoder(encoding.strip().lower())
        self._limit = limit
        self._expansion = expansion
        self._data = bytearray()
        self._compressed = 0

    def feed(self, piece: bytes) -> None:
        """Take what arrived.

        Raises:
            TooLarge: It decodes to more than the limit.
            FetchFailed: `content_encoding`: it is damaged, or goes on after its end.
        """
        self._compressed += len(piece)
        if self._decoder is None:
            self._data += piece
            self._check()
            return
        try:
            while piece:
                self._data += self._decoder.decompress(piece, _STEP)
                self._check()
                if self._decoder.eof and self._decoder.unused_data:
                    raise FetchFailed("the body goes on after its end", code="content_encoding")
                piece = self._decoder.unconsumed_tail
        except zlib.error:
            raise FetchFailed("the compressed body is damaged", code="content_encoding") from None

    def end(self) -> bytes:
        """The whole body.

        Raises:
            TooLarge: It expanded too much.
            FetchFailed: `content_encoding`: it is not whole.
        """
        decoder = self._decoder
        if decoder is not None:
            while not decoder.eof and (more := decoder.decompress(b"", _STEP)):
                self._data += more
                self._check()
            if not decoder.eof:
                raise FetchFailed("the compressed body is not whole", code="content_encoding")
            if len(self._data) > self._expansion * self._compressed:
                raise TooLarge(f"the body expands to more than {self._expansion} times", field="expansion")
        return bytes(self._data)

    def _check(self) -> None:
        if len(self._data) > self._limit:
            raise TooLarge(f"the body has more than {self._limit} bytes", field="body")


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Deflate:
    """`deflate` is zlib's format by the standard, and the bare one by many servers: the first byte tells."""

    def __init__(self) -> None:
        self._inner: _Decoder | None = None

    @property
    def eof(self) -> bool:
        return self._inner is not None and self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return b"" if self._inner is None else self._inner.unused_data

    @property
    def unconsumed_tail(self) -> bytes:
        return b"" if self._inner is None else self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._inner is None:
            if not data:
                return b""
            self._inner = zlib.decompressobj(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS)
        return self._inner.decompress(data, max_length)


def _decoder(encoding: str) -> _Decoder | None:
    match encoding:
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(_GZIP)
        case "deflate":
            return _Deflate()
        case _:
            raise FetchFailed("a content encoding that was not asked for", code="content_encoding")

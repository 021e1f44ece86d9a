"""A small TLS 1.3 client with raw public keys (RFC 8446, RFC 7250), written for tests only: it says over a real
carrier what no peer of ours would say. It checks nothing that it is told."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from web4.foundation.identity import Identity

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

SPKI = bytes.fromhex("302a300506032b6570032100")
ALPN = b"web4-rtt/1"
CODES = {"close_notify": 0, "no_application_protocol": 120, "protocol_version": 70}


def u8(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def u16(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def u24(data: bytes) -> bytes:
    return struct.pack(">I", len(data))[1:] + data


def extension(kind: int, body: bytes) -> bytes:
    return struct.pack(">H", kind) + u16(body)


def expand(secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    info = struct.pack(">H", length) + u8(b"tls13 " + label) + u8(context)
    return HKDFExpand(SHA256(), length, info).derive(secret)


class Keys:
    """The traffic keys of one direction."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._cipher = AESGCM(expand(secret, b"key", b"", 16))
        self._iv = expand(secret, b"iv", b"", 12)
        self._count = 0

    def _nonce(self) -> bytes:
        number = int.from_bytes(self._iv) ^ self._count
        self._count += 1
        return number.to_bytes(12)

    def seal(self, kind: int, content: bytes) -> bytes:
        inner = content + bytes([kind])
        header = struct.pack(">BHH", 23, 0x0303, len(inner) + 16)
        return header + self._cipher.encrypt(self._nonce(), inner, header)

    def open(self, header: bytes, body: bytes) -> tuple[int, bytes]:
        inner = self._cipher.decrypt(self._nonce(), body, header).rstrip(b"\0")
        return inner[-1], inner[:-1]


class RefusedError(Exception):
    """The other side sent this alert."""


class Foreigner:
    """A TLS 1.3 client on a blocking socket. `handshake`, then `write` and `read` plaintext."""

    def __init__(
        self,
        connection: socket.socket,
        seed: bytes,
        *,
        alpn: Sequence[bytes] = (ALPN,),
        with_key: bool = True,
        versions: Sequence[int] = (0x0304,),
        raw_keys: bool = True,
        extra: bytes = b"",
    ) -> None:
        self._socket = connection
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._exchange = X25519PrivateKey.generate()
        self._alpn, self._with_key, self._versions = alpn, with_key, versions
        self._raw_keys, self._extra = raw_keys, extra
        self._transcript = b""
        self._incoming = self._handshake = b""

    def hello(self) -> bytes:
        share = self._exchange.public_key().public_bytes_raw()
        extensions = extension(43, u8(b"".join(struct.pack(">H", v) for v in self._versions)))
        extensions += extension(10, u16(b"\0\x1d")) + extension(13, u16(b"\x08\x07"))
        extensions += extension(51, u16(b"\0\x1d" + u16(share)))
        if self._alpn:
            extensions += extension(16, u16(b"".join(map(u8, self._alpn))))
        if self._raw_keys:
            extensions += extension(19, u8(b"\x02")) + extension(20, u8(b"\x02"))
        extensions += self._extra
        body = b"\x03\x03" + os.urandom(32) + u8(b"") + u16(b"\x13\x01") + u8(b"\0") + u16(extensions)
        return b"\x01" + u24(body)

    def handshake(self) -> None:
        hello = self.hello()
        self._transcript += hello
        self._socket.sendall(struct.pack(">BH", 22, 0x0301) + u16(hello))
        server_hello = self._message(None)
        shared = self._exchange.exchange(X25519PublicKey.from_public_bytes(self._share(server_hello)))
        early = hmac.digest(bytes(32), bytes(32), "sha256")
        empty = hashlib.sha256(b"").digest()
        secret = hmac.digest(expand(early, b"derived", empty, 32), shared, "sha256")
        reading = Keys(expand(secret, b"s hs traffic", self._hash(), 32))
        writing = Keys(expand(secret, b"c hs traffic", self._hash(), 32))
        while self._message(reading)[0] != 20:
            pass
        master = hmac.digest(expand(secret, b"derived", empty, 32), bytes(32), "sha256")
        self._reading = Keys(expand(master, b"s ap traffic", self._hash(), 32))
        application = Keys(expand(master, b"c ap traffic", self._hash(), 32))
        flight = b""
        for message in self._answers(writing):
            flight += message
            self._transcript += message
        finished = hmac.digest(expand(writing.secret, b"finished", b"", 32), self._hash(), "sha256")
        self._socket.sendall(writing.seal(22, flight + b"\x14" + u24(finished)))
        self._writing = application

    def _answers(self, writing: Keys) -> list[bytes]:
        if not self._with_key:
            return [b"\x0b" + u24(u8(b"") + u24(b""))]
        certificate = b"\x0b" + u24(
            u8(b"") + u24(u24(SPKI + self._key.public_key().public_bytes_raw()) + u16(b""))
        )
        covered = hashlib.sha256(self._transcript + certificate).digest()
        signed = b" " * 64 + b"TLS 1.3, client CertificateVerify\0" + covered
        return [certificate, b"\x0f" + u24(b"\x08\x07" + u16(self._key.sign(signed)))]

    def _hash(self) -> bytes:
        return hashlib.sha256(self._transcript).digest()

    @staticmethod
    def _share(server_hello: bytes) -> bytes:
        at = 4 + 34
        at += 1 + server_hello[at] + 3 + 2
        while at < len(server_hello):
            kind, length = struct.unpack_from(">HH", server_hello, at)
            if kind == 51:
                return server_hello[at + 8 : at + 4 + length]
            at += 4 + length
        raise AssertionError("no key share")

    def _message(self, keys: Keys | None) -> bytes:
        while len(self._handshake) < 4 or len(self._handshake) < 4 + int.from_bytes(self._handshake[1:4]):
            kind, content = self._record(keys)
            if kind == 22:
                self._handshake += content
        length = 4 + int.from_bytes(self._handshake[1:4])
        message, self._handshake = self._handshake[:length], self._handshake[length:]
        self._transcript += message
        return message

    def _record(self, keys: Keys | None) -> tuple[int, bytes]:
        header = self._exactly(5)
        body = self._exactly(int.from_bytes(header[3:]))
        kind = header[0]
        if kind == 23 and keys is not None:
            kind, body = keys.open(header, body)
        if kind == 21:
            raise RefusedError(body[1])
        return kind, body

    def _exactly(self, count: int) -> bytes:
        while len(self._incoming) < count:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            self._incoming += data
        taken, self._incoming = self._incoming[:count], self._incoming[count:]
        return taken

    def write(self, plaintext: bytes) -> None:
        """Send application bytes, cut into records."""
        for at in range(0, len(plaintext), 16384):
            self._socket.sendall(self._writing.seal(23, plaintext[at : at + 16384]))

    def read(self) -> bytes:
        """The application bytes of the next record.

        Raises:
            RefusedError, EOFError, ConnectionError: There are no more.
        """
        while True:
            kind, content = self._record(self._reading)
            if kind == 23:
                return content

    def read_to_the_end(self) -> bytes:
        """Everything that is still said, up to the end of the carrier."""
        data = b""
        try:
            while True:
                data += self.read()
        except (RefusedError, EOFError, ConnectionError):
            return data


# --- frames (the wire reference) --------------------------------------------------------------------

VERSION = b"\x01"


def limits(window: int) -> bytes:
    """Those of section 15, but for the bytes of a knowledge channel's window."""
    kinds = (65536, 256, 262144, 65536, 64, 262144, 1048576, 1024, window)
    return struct.pack(">11I", 16384, 64, *kinds)


def frame(kind: int, body: bytes, *, flags: int = 0) -> bytes:
    return struct.pack(">BBI", kind, flags, len(body)) + body


def numbered(kind: int, seq: int, body: bytes, *, flags: int = 0) -> bytes:
    return frame(kind, struct.pack(">Q", seq) + body, flags=0x80 | flags)


def start(
    *,
    versions: bytes = b"\x01",
    extensions: bytes = b"\0",
    window: int = 1 << 20,
    resume_window_ms: int = 0,
) -> bytes:
    body = u8(versions) + bytes(16) + limits(window) + struct.pack(">I", resume_window_ms) + extensions
    return frame(0x01, body)


def resume(session_id: bytes, ticket: bytes, epoch: int, cursor: int = 0) -> bytes:
    body = u8(b"\x01") + session_id + bytes(16) + ticket + struct.pack(">IQ", epoch, cursor) + b"\0"
    return frame(0x03, body)


def confirm(session_id: bytes, epoch: int = 0) -> bytes:
    return frame(0x05, session_id + struct.pack(">I", epoch))


def opened(
    seq: int,
    channel: int,
    *,
    kind: int = 2,
    name: bytes = b"c",
    credit: tuple[int, int] = (16, 65536),
    max_message: int = 65536,
) -> bytes:
    return numbered(0x10, seq, struct.pack(">IBIII", channel, kind, *credit, max_message) + name)


def message(seq: int, channel: int, payload: bytes) -> bytes:
    return numbered(0x11, seq, struct.pack(">II", channel, len(payload)) + payload, flags=0x03)


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames at the front of `data`, type and body each without its sequence number; and the rest."""
    found = []
    while len(data) >= 6:
        kind, flags, length = struct.unpack_from(">BBI", data)
        if len(data) < 6 + length:
            break
        body, data = data[6 : 6 + length], data[6 + length :]
        found.append((kind, body[8:] if flags & 0x80 else body))
    return found, data


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames in `data`, which are whole."""
    found, rest = split(data)
    assert not rest
    return found


def open_session(foreigner: Foreigner, *, window: int = 1 << 20) -> bytes:
    """START to CONFIRM; the session's id."""
    foreigner.write(VERSION + start(window=window))
    answer = foreigner.read()
    assert answer[:1] == VERSION
    kind, body = frames(answer[1:])[0]
    assert kind == 0x02, f"refused: {body!r}"
    session_id = body[1:17]
    foreigner.write(confirm(session_id))
    return session_id


def fingerprint(seed: bytes) -> str:
    """The fingerprint of the key that a foreigner with this seed proves."""
    return Identity.from_seed(seed).fingerprint

"""Vectors of whole envelopes (sections 3 and 4), made with `rfc8785`, `cryptography` and `blake3`."""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any

import rfc8785
from blake3 import blake3

from scripts.vectors.signatures import SEEDS, public_key, sign

SEED = SEEDS["rfc 8032 test 1"]
MAX_BYTES = 192 * 1024


def body(protocol: str = "cip", **changes: Any) -> dict[str, Any]:
    """Make an unsigned envelope; `None` takes a field away."""
    fields: dict[str, Any] = {
        protocol: "1.0",
        "msg_id": "1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b11",
        "type": "INTENT",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "corr_id": "6a1e9f52-3f6b-4c57-8f1d-0c2b4d6e8f10",
        "sender": {"agent_id": "alice", "fingerprint": blake3(public_key(SEED)).hexdigest()},
        "receiver": {"agent_id": "bob", "fingerprint": blake3(public_key(SEEDS["zeros"])).hexdigest()},
        "payload": {"goal": "ask", "topic": "weather", "priority": "low", "context": ""},
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def mesh_body(**changes: Any) -> dict[str, Any]:
    """Make an unsigned mesh envelope; `None` takes a field away."""
    fields: dict[str, Any] = {
        "mesh": "1.0",
        "id": "1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b11",
        "type": "MESH_RELAY",
        "origin": blake3(public_key(SEED)).hexdigest(),
        "destination": blake3(public_key(SEEDS["zeros"])).hexdigest(),
        "payload": {"stream": "a", "offset": 0},
        "hops": [],
        "ttl_ms": 60_000,
        "created_at": "2026-01-02T03:04:05.678Z",
        "pubkey": base64.b64encode(public_key(SEED)).decode("ascii"),
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def _protocol(fields: dict[str, Any]) -> str:
    return next(name for name in ("cip", "hcp", "lip", "mesh") if name in fields)


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}


def sealed(unsigned: dict[str, Any], *, seed: bytes = SEED, purpose: str | None = None) -> dict[str, Any]:
    """Add `sign` to an envelope. Of a mesh envelope it leaves `hops` out, and its purpose is `mesh`."""
    protocol = _protocol(unsigned)
    is_mesh = protocol == "mesh"
    purpose = purpose or ("mesh" if is_mesh else "envelope")
    signed = rfc8785.dumps(_without(unsigned, "hops") if is_mesh else unsigned)
    signature = sign(seed, protocol, str(unsigned[protocol]), purpose, signed)
    return unsigned | {"sign": {"algo": "ed25519", "signature": base64.b64encode(signature).decode("ascii")}}


ACCEPTED: dict[str, dict[str, Any]] = {
    "cip": body(),
    "hcp": body("hcp"),
    "lip": body("lip"),
    "numbers": body(payload={"n": [0, -0.0, 1.0, 1e-7, 5e-324, 0.1 + 0.2, 2**53 - 1, -(2**53) + 1, 1.5]}),
    "unicode": body(payload={"\ue000": "é€😀", "\U00010000": '\u2028\u0000\u001f"\\/', "": []}),
    "sign is first": {"zip": 1, "lip": "1.0", "type": "T"} | {"msg_id": "x"},
    "sign is last": {"cip": "1.0", "a": 1} | {"type": "T"},
    "all keys after sign": {"type": "T", "lip": "1.0"},
    "no timestamp": body(timestamp=None),
    "keys around sign": body(sigma=1, sig=2, signa=3, sigm=4) | {"sign\u0000": 5, "\n": 6},
    "empty payload": body(payload={}),
    "hops of another protocol": body(hops=["x"], id="x", created_at="now"),
    "mesh": mesh_body(),
    "mesh, passed on": mesh_body(hops=["ab" * 32]),
    "mesh, passed on twice": mesh_body(hops=["ab" * 32, "cd" * 32]),
    "mesh, optional fields": mesh_body(
        route_id="r", reply_to="6a1e9f52-3f6b-4c57-8f1d-0c2b4d6e8f10", destination="*"
    ),
    "mesh, hops is first": {"mesh": "1.0", "hops": [], "type": "T"},
    "mesh, no hops": {"mesh": "1.0", "type": "T"},
    "mesh, hops is last before sign": {"mesh": "1.0", "hops": ["x"], "mesi": 1, "id": "x"} | {"type": "T"},
    "mesh, names of other protocols": mesh_body(msg_id="other", timestamp="other"),
}


def _tampered() -> dict[str, tuple[bytes, str, str | None]]:
    """Rightly signed, then changed and canonicalised again: the signature must notice."""
    good = sealed(body())

    def changed(**changes: Any) -> bytes:
        return rfc8785.dumps(deepcopy(good) | changes)

    def payload(**changes: Any) -> bytes:
        return changed(payload=good["payload"] | changes)

    moved = {key: value for key, value in good.items() if key != "cip"} | {"hcp": "1.0"}
    cases = {
        "later timestamp": changed(timestamp="2027-01-02T03:04:05.678Z"),
        "other version": changed(cip="1.1"),
        "other protocol": rfc8785.dumps(moved),
        "other type": changed(type="REPLY"),
        "other msg_id": changed(msg_id="1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b12"),
        "sender and receiver swapped": changed(sender=good["receiver"], receiver=good["sender"]),
        "value moved to the neighbouring field": payload(context="weather", topic=""),
        "bytes shifted between neighbouring fields": payload(goal="as", topic="kweather"),
        "field added": changed(trust={"sender_view": "trusted", "receiver_view": "trusted"}),
        "field taken away": rfc8785.dumps({key: value for key, value in good.items() if key != "corr_id"}),
        "empty list instead of an empty string": payload(context=[]),
    }
    cases |= _tampered_mesh()
    return {name: (data, "signature", "sign.signature") for name, data in cases.items()}


def _tampered_mesh() -> dict[str, bytes]:
    good = sealed(mesh_body())
    as_cip = _without(good, "mesh") | {"cip": "1.0"}
    return {
        "mesh: other destination": rfc8785.dumps(good | {"destination": "*"}),
        "mesh: other origin": rfc8785.dumps(good | {"origin": good["destination"]}),
        "mesh: other payload": rfc8785.dumps(good | {"payload": {"stream": "a", "offset": 1}}),
        "mesh: longer life": rfc8785.dumps(good | {"ttl_ms": 60_001}),
        "mesh: created later": rfc8785.dumps(good | {"created_at": "2027-01-02T03:04:05.678Z"}),
        "mesh: other id": rfc8785.dumps(good | {"id": "1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b12"}),
        "mesh: as cip": rfc8785.dumps(as_cip),
        "mesh: purpose of the others": rfc8785.dumps(sealed(mesh_body(), purpose="envelope")),
        "mesh: a timestamp is signed": rfc8785.dumps(good | {"timestamp": "now"}),
        "cip: hops are signed": rfc8785.dumps(sealed(body(hops=["x"])) | {"hops": ["x", "y"]}),
    }


def _wrongly_signed() -> dict[str, tuple[bytes, str, str | None]]:
    good = sealed(body())
    text: str = good["sign"]["signature"]
    # The last letter before the padding carries four bits that must be zero.
    loose = text[:-3] + {"A": "B", "Q": "R", "g": "h", "w": "x"}[text[-3]] + "=="

    def signed(sign_member: Any) -> bytes:
        return rfc8785.dumps(body() | {"sign": sign_member})

    def spelled(signature: Any) -> bytes:
        return signed({"algo": "ed25519", "signature": signature})

    return {
        "other purpose": (rfc8785.dumps(sealed(body(), purpose="handshake")), "signature", "sign.signature"),
        "other key": (rfc8785.dumps(sealed(body(), seed=SEEDS["zeros"])), "signature", "sign.signature"),
        "no sign": (rfc8785.dumps(body()), "field", "sign"),
        "sign is null": (signed(None), "field", "sign"),
        "sign is text": (signed(text), "field", "sign"),
        "other algorithm": (signed({"algo": "Ed25519", "signature": text}), "field", "sign"),
        "no algorithm": (signed({"signature": text}), "field", "sign"),
        "unknown member of sign": (signed(good["sign"] | {"x": 1}), "field", "sign"),
        "signature is a number": (spelled(1), "field", "sign"),
        "signature is empty": (spelled(""), "field", "sign.signature"),
        "signature is short": (spelled(base64.b64encode(bytes(63)).decode()), "field", "sign.signature"),
        "signature is long": (spelled(base64.b64encode(bytes(65)).decode()), "field", "sign.signature"),
        "signature of zeros": (spelled(base64.b64encode(bytes(64)).decode()), "signature", "sign.signature"),
        "base64 without padding": (spelled(text.rstrip("=")), "field", "sign.signature"),
        "base64 with loose bits": (spelled(loose), "field", "sign.signature"),
        "base64 of the url alphabet": (spelled("-_" + text[2:]), "field", "sign.signature"),
        "base64 with a space": (spelled(text[:40] + " " + text[40:]), "field", "sign.signature"),
        "base64 with a line feed": (spelled(text + "\n"), "field", "sign.signature"),
    }


def _malformed() -> dict[str, tuple[bytes, str, str | None]]:
    good = rfc8785.dumps(sealed(body()))
    long = rfc8785.dumps(sealed(body(payload={"context": "x" * MAX_BYTES})))
    assert good.startswith(b'{"cip":"1.0",')
    return {
        "too large": (long, "too_large", None),
        "too large and no JSON": (b"x" * (MAX_BYTES + 1), "too_large", None),
        "truncated": (good[:-1], "syntax", None),
        "duplicate discriminator": (b'{"cip":"1.0",' + good[1:], "syntax", None),
        "byte order mark": (b"\xef\xbb\xbf" + good, "syntax", None),
        "trailing bytes": (good + good, "syntax", None),
        "trailing line feed": (good + b"\n", "not_canonical", None),
        "space after a colon": (good.replace(b'"cip":', b'"cip": '), "not_canonical", None),
        "reordered members": (b"{" + good[13:-1] + b"," + good[1:12] + b"}", "not_canonical", None),
        "reordered members of the payload": (
            good.replace(b'"context":"","goal":"ask"', b'"goal":"ask","context":""'),
            "not_canonical",
            None,
        ),
        "needless escape": (good.replace(b"weather", b"we\\u0061ther"), "not_canonical", None),
        "escaped slash": (good.replace(b"weather", b"a\\/b"), "not_canonical", None),
        "other number spelling": (good.replace(b'"context":""', b'"context":1.0'), "not_canonical", None),
        "an array": (b"[]", "discriminator", None),
        "a string": (b'"cip"', "discriminator", None),
        "no discriminator": (rfc8785.dumps({"type": "T"}), "discriminator", None),
        "unknown discriminator": (rfc8785.dumps({"type": "T", "xip": "1.0"}), "discriminator", None),
        "two discriminators": (
            rfc8785.dumps({"cip": "1.0", "hcp": "1.0", "type": "T"}),
            "discriminator",
            None,
        ),
        "three discriminators": (
            rfc8785.dumps({"cip": "1.0", "hcp": "1.0", "lip": "1.0"}),
            "discriminator",
            None,
        ),
        "two discriminators, one of them mesh": (
            rfc8785.dumps({"cip": "1.0", "mesh": "1.0", "type": "T"}),
            "discriminator",
            None,
        ),
        "mesh: version is a number": (rfc8785.dumps(mesh_body(mesh=1)), "version", "mesh"),
        "mesh: no type": (rfc8785.dumps(mesh_body(type=None)), "unknown_type", "type"),
        "version is a number": (rfc8785.dumps(body(cip=1)), "version", "cip"),
        "version is empty": (rfc8785.dumps(body(cip="")), "version", "cip"),
        "version with a colon": (rfc8785.dumps(body(cip="1.0:x")), "version", "cip"),
        "version with a zero byte": (rfc8785.dumps(body(cip="1\0")), "version", "cip"),
        "no type": (rfc8785.dumps(body(type=None)), "unknown_type", "type"),
        "type is a list": (rfc8785.dumps(body(type=["INTENT"])), "unknown_type", "type"),
    }


def document() -> dict[str, Any]:
    """Make the file."""
    refused = _malformed() | _wrongly_signed() | _tampered()
    return {
        "about": (
            "Envelopes signed by `seed`, in hex. Refused ones are refused by parsing, or by verifying with "
            "the public key of `seed`: code and field say how."
        ),
        "seed": SEED.hex(),
        "max_bytes": MAX_BYTES,
        "accepted": [_accepted(name, unsigned) for name, unsigned in ACCEPTED.items()],
        "refused": [
            {"name": name, "code": code, "field": field, **_packed(data)}
            for name, (data, code, field) in refused.items()
        ],
    }


def _packed(data: bytes) -> dict[str, Any]:
    """Write data in hex; one long run of `x` as its position and length, to keep the file small."""
    start = data.find(b"x" * 1000)
    if start < 0:
        return {"data": data.hex()}
    end = start + len(data[start:]) - len(data[start:].lstrip(b"x"))
    return {"data": (data[:start] + data[end:]).hex(), "run_at": start, "run_length": end - start}


def _accepted(name: str, unsigned: dict[str, Any]) -> dict[str, Any]:
    protocol = _protocol(unsigned)
    is_mesh = protocol == "mesh"
    lasting = _without(unsigned, *(("created_at", "hops") if is_mesh else ("timestamp",)))
    return {
        "name": name,
        "protocol": protocol,
        "version": unsigned[protocol],
        "type": unsigned["type"],
        "msg_id": unsigned.get("id" if is_mesh else "msg_id"),
        "timestamp": unsigned.get("created_at" if is_mesh else "timestamp"),
        "unsigned": rfc8785.dumps(unsigned).hex(),
        "sealed": rfc8785.dumps(sealed(unsigned)).hex(),
        "content_digest": blake3(rfc8785.dumps(lasting)).hexdigest(),
    }

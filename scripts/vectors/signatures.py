"""Vectors of identities and signatures (ID-1, SIG-2, SIG-3), made with `cryptography` and `blake3`."""

from __future__ import annotations

from typing import Any

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scripts.vectors import edwards

SEEDS: dict[str, bytes] = {
    "zeros": bytes(32),
    "rfc 8032 test 1": bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
    "rfc 8032 test 2": bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
    "rfc 8032 test 3": bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"),
    "ones": b"\xff" * 32,
}

# From the examples of the did:key method: the key of the all-zero seed.
DID_KEYS = {"zeros": "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"}

DOMAINS = [("cip", "1.0", "envelope"), ("cip", "1.0", "handshake"), ("mesh", "1.0", "mesh")]
MESSAGES = [b"", b"{}", b"\x00", b"a" * 1024]


def public_key(seed: bytes) -> bytes:
    """Derive the raw public key of a seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def signed_bytes(protocol: str, version: str, purpose: str, message: bytes) -> bytes:
    """Bind a message to its domain, as SIG-2 words it."""
    return f"web4:{protocol}:{version}:{purpose}".encode("ascii") + b"\0" + message


def sign(seed: bytes, protocol: str, version: str, purpose: str, message: bytes) -> bytes:
    """Sign a message for a domain."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.sign(signed_bytes(protocol, version, purpose, message))


def identities() -> dict[str, Any]:
    """Make the file of identities."""
    entries = []
    for name, seed in SEEDS.items():
        key = Ed25519PrivateKey.from_private_bytes(seed)
        raw = key.public_key().public_bytes_raw()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
        entry = {"name": name, "seed": seed.hex(), "public_key": raw.hex()}
        entry |= {"fingerprint": blake3(raw).hexdigest(), "pem": pem}
        entries.append(entry | ({"did_key": DID_KEYS[name]} if name in DID_KEYS else {}))
    return {
        "about": "Key pairs and their names. Bytes in hex. The keys are public: never use them.",
        "identities": entries,
    }


def document() -> dict[str, Any]:
    """Make the file of signatures."""
    accepted = [
        _entry(
            f"{name}, {':'.join(domain)}, {len(message)} bytes",
            public_key(seed),
            domain,
            message,
            sign(seed, *domain, message),
        )
        for name, seed in SEEDS.items()
        for domain in DOMAINS
        for message in MESSAGES
    ]
    return {
        "about": "Signed: web4:<protocol>:<version>:<purpose>, a zero byte, the message. Bytes in hex.",
        "accepted": accepted,
        "refused": [*_foreign(), *_malleable(), *_small_order_keys(), *_torsion_in_r()],
    }


def _entry(
    name: str, key: bytes, domain: tuple[str, str, str], message: bytes, signature: bytes
) -> dict[str, str]:
    protocol, version, purpose = domain
    entry = {"name": name, "public_key": key.hex(), "protocol": protocol, "version": version}
    return entry | {"purpose": purpose, "message": message.hex(), "signature": signature.hex()}


def _foreign() -> list[dict[str, str]]:
    """A right signature that is presented for something else."""
    seed, message = SEEDS["rfc 8032 test 1"], b'{"a":1}'
    key, domain = public_key(seed), DOMAINS[0]
    signature = sign(seed, *domain, message)
    bare = Ed25519PrivateKey.from_private_bytes(seed).sign(message)
    return [
        _entry("other purpose", key, ("cip", "1.0", "handshake"), message, signature),
        _entry("other version", key, ("cip", "1.1", "envelope"), message, signature),
        _entry("other protocol", key, ("hcp", "1.0", "envelope"), message, signature),
        _entry("other message", key, domain, b'{"a":2}', signature),
        _entry("other key", public_key(SEEDS["zeros"]), domain, message, signature),
        _entry("without a domain", key, domain, message, bare),
        _entry("empty signature", key, domain, message, b""),
        _entry("short signature", key, domain, message, signature[:-1]),
        _entry("long signature", key, domain, message, signature + b"\0"),
        _entry("short key", key[:-1], domain, message, signature),
        _entry("key that is no point", b"\x02" + bytes(31), domain, message, signature),
    ]


def _malleable() -> list[dict[str, str]]:
    """S plus multiples of the group's order: the same equation, another signature."""
    seed, domain, message = SEEDS["rfc 8032 test 2"], DOMAINS[0], b"malleable"
    signature = sign(seed, *domain, message)
    s = int.from_bytes(signature[32:], "little")
    return [
        _entry(
            f"S + {times} L",
            public_key(seed),
            domain,
            message,
            signature[:32] + (s + times * edwards.ORDER).to_bytes(32, "little"),
        )
        for times in (1, 2, 7, 14)
    ]


def _small_order_keys() -> list[dict[str, str]]:
    """Signatures without a private key: S = 0 and R = -kA hold for a key A of small order."""
    torsion = edwards.torsion()
    keys = {edwards.encode(point): point for point in torsion}
    # The same points in encodings that are not canonical: y written as y + p, or the sign of x = 0 set.
    for point in torsion:
        x, y = point
        for spelled_y in (y, y + edwards.P):
            for sign_bit in {x & 1, 1} if x == 0 else {x & 1}:
                if spelled_y < 1 << 255:
                    keys[(spelled_y | sign_bit << 255).to_bytes(32, "little")] = point
    entries = []
    for key, point in sorted(keys.items()):
        message, r = _forge(key, point, torsion)
        entries.append(
            _entry(
                f"key of small order {key.hex()[:8]}..{key.hex()[-2:]}",
                key,
                DOMAINS[0],
                message,
                r + bytes(32),
            )
        )
    return entries


def _forge(key: bytes, point: edwards.Point, torsion: list[edwards.Point]) -> tuple[bytes, bytes]:
    for attempt in range(1000):
        message = f"forged {attempt}".encode()
        for r_point in torsion:
            r = edwards.encode(r_point)
            k = edwards.challenge(r, key, signed_bytes(*DOMAINS[0], message))
            if edwards.add(r_point, edwards.multiply(k % 8, point)) == edwards.IDENTITY:
                return message, r
    raise AssertionError("one message in eight can be forged")


def _torsion_in_r() -> list[dict[str, str]]:
    """Signatures by the real key whose R carries a point of small order.

    An equation multiplied by the cofactor accepts all of them, and so can a combined one: two of opposite
    torsion cancel out. One by one, strictly, none verifies.
    """
    seed, domain = SEEDS["rfc 8032 test 3"], DOMAINS[0]
    key, secret = public_key(seed), edwards.secret_scalar(seed)
    entries = []
    for index, point in enumerate(edwards.torsion()):
        for nonce in (0, 5):
            if index == 0 and nonce:
                continue  # R without torsion: a right signature
            message = f"torsion {index}, nonce {nonce}".encode()
            r = edwards.encode(edwards.add(edwards.multiply(nonce, edwards.BASE), point))
            k = edwards.challenge(r, key, signed_bytes(*domain, message))
            s = (nonce + k * secret) % edwards.ORDER
            entries.append(
                _entry(f"R = {nonce} B + torsion {index}", key, domain, message, r + s.to_bytes(32, "little"))
            )
    return entries

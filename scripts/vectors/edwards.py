"""Just enough arithmetic on edwards25519 to forge signatures that only strict verification refuses."""

from __future__ import annotations

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    """Add two points, in affine coordinates."""
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def multiply(scalar: int, point: Point) -> Point:
    """Multiply a point by a scalar, by doubling and adding."""
    total = IDENTITY
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def encode(point: Point) -> bytes:
    """Compress a point as RFC 8032 does."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(encoded: bytes) -> Point:
    """Decompress a canonical encoding.

    Raises:
        ValueError: There is no such point.
    """
    number = int.from_bytes(encoded, "little")
    y = number & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        raise ValueError("no point of the curve")
    if x & 1 != number >> 255:
        x = P - x
    return x, y


BASE = decode(bytes([0x58]) + bytes([0x66]) * 31)


def torsion() -> list[Point]:
    """Find the eight points of small order: the multiples of a point of order eight."""
    for y in range(2, 100):
        try:
            candidate = multiply(ORDER, decode(y.to_bytes(32, "little")))
        except ValueError:
            continue
        if multiply(4, candidate) != IDENTITY:
            return [multiply(times, candidate) for times in range(8)]
    raise AssertionError("there is a point of order eight below y = 100")


def secret_scalar(seed: bytes) -> int:
    """Derive the secret scalar of a seed as RFC 8032 does."""
    number = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return number & (1 << 254) - 8 | 1 << 254


def challenge(r: bytes, public_key: bytes, message: bytes) -> int:
    """Compute the scalar that binds R, key and message together."""
    return int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % ORDER

"""Seal and open a 1 KiB FACT_PROPOSE, against the same job done with well-known Python libraries.

Run `python -m scripts.bench.envelope`; `--json` prints one object instead of the table.

The job of both sides is the one of the specification. Sealing: a typed or plain message becomes signed
canonical bytes. Opening: strict canonical form, schema, and the sender's signature. The other side is orjson,
rfc8785, cryptography and jsonschema, each used as its manual says, its validator and keys prepared outside
the measured part. Because jsonschema is slow and could flatter us, a row without any schema check is given.

Rounds of both sides are interleaved, so that a slow moment of the machine hits both; medians are compared.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

import jsonschema
import msgspec
import orjson
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from web4 import _core
from web4.foundation import envelope as envelopes
from web4.foundation.codec import ENCODER, AgentId, Base64Of64, Fingerprint, Message, Timestamp, Uuid4
from web4.foundation.identity import Identity, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE: Final = 1024
DOMAIN: Final = b"web4:cip:1.0:envelope\0"


class Party(Message, frozen=True):
    """Sender or receiver."""

    agent_id: AgentId
    fingerprint: Fingerprint


class Sign(Message, frozen=True):
    """The signature of an envelope."""

    algo: str
    signature: Base64Of64


class Fact(Message, frozen=True):
    """What is claimed."""

    statement: str
    domain: str
    confidence: float
    sources: list[str]
    context: str


class Trace(Message, frozen=True):
    """How the sender came to it."""

    decision_id: str
    steps: list[str]
    counterfactuals: list[str]
    evidence: list[str]


class FactProposal(Message, frozen=True):
    """The payload of a FACT_PROPOSE."""

    fact: Fact
    dmp_trace: Trace
    causal_links: list[str]


class FactPropose(Message, frozen=True):
    """The whole envelope; unsigned as long as `sign` is absent."""

    cip: str
    msg_id: Uuid4
    type: str
    timestamp: Timestamp
    sender: Party
    receiver: Party
    payload: FactProposal
    sign: Sign | None = None


def message(sender: str, receiver: str) -> FactPropose:
    """Make a message whose sealed form has exactly `SIZE` bytes."""
    uuid = "1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b11"

    def of(context: str) -> FactPropose:
        fact = Fact(
            statement="Water boils at 93.4 °C in La Paz",
            domain="physics",
            confidence=0.85,
            sources=["https://example.org/boiling"],
            context=context,
        )
        trace = Trace(
            decision_id=uuid,
            steps=["observed", "compared"],
            counterfactuals=["at sea level: 100 °C"],
            evidence=["mem:1"],
        )
        return FactPropose(
            cip="1.0",
            msg_id=uuid,
            type="FACT_PROPOSE",
            timestamp="2026-01-02T03:04:05.678Z",
            sender=Party(agent_id="alice", fingerprint=sender),
            receiver=Party(agent_id="bob", fingerprint=receiver),
            payload=FactProposal(fact=fact, dmp_trace=trace, causal_links=[uuid]),
        )

    missing = SIZE - len(envelopes.seal(IDENTITY, ENCODER.encode(of(""))))
    return of("x" * missing)


IDENTITY: Final = Identity.from_seed(b"\7" * 32)


class Ours:
    """The job with `web4`."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(FactPropose)
        self._public_key = IDENTITY.public_key

    def seal(self, typed: FactPropose) -> bytes:
        """Sign and write."""
        return envelopes.seal(IDENTITY, ENCODER.encode(typed))

    def open(self, data: bytes) -> FactPropose:
        """Read, check and verify."""
        envelope = envelopes.parse(data)
        typed = self._decoder.decode(data)
        envelopes.verify(envelope, self._public_key)
        return typed

    def open_without_schema(self, data: bytes) -> Any:
        """Read and verify, into plain values."""
        envelope = envelopes.parse(data)
        plain = msgspec.json.decode(data)
        envelopes.verify(envelope, self._public_key)
        return plain


class Theirs:
    """The same job with orjson, rfc8785, cryptography and jsonschema."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
        self._public_key = self._key.public_key()
        self._validator = jsonschema.Draft202012Validator(msgspec.json.schema(FactPropose))

    def seal(self, plain: dict[str, Any]) -> bytes:
        """Sign and write."""
        signature = self._key.sign(DOMAIN + rfc8785.dumps(plain))
        sign = {"algo": "ed25519", "signature": base64.b64encode(signature).decode("ascii")}
        return rfc8785.dumps(plain | {"sign": sign})

    def open(self, data: bytes) -> Any:
        """Read, check and verify."""
        plain = orjson.loads(data)
        if rfc8785.dumps(plain) != data:
            raise ValueError("not canonical")
        self._validator.validate(plain)
        return self._verified(plain)

    def open_without_schema(self, data: bytes) -> Any:
        """Read and verify."""
        plain = orjson.loads(data)
        if rfc8785.dumps(plain) != data:
            raise ValueError("not canonical")
        return self._verified(plain)

    def _verified(self, plain: Any) -> Any:
        sign = plain["sign"]
        unsigned = {key: value for key, value in plain.items() if key != "sign"}
        signature = base64.b64decode(sign["signature"], validate=True)
        self._public_key.verify(signature, DOMAIN + rfc8785.dumps(unsigned))
        return plain


def prepare() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Pair both sides of each job, and check first that they do the same."""
    ours, theirs = Ours(), Theirs()
    typed = message(IDENTITY.fingerprint, fingerprint(bytes(32)))
    plain = json.loads(ENCODER.encode(typed))
    sealed = ours.seal(typed)
    if len(sealed) != SIZE or theirs.seal(plain) != sealed:
        raise AssertionError("the two sides do not seal alike")
    if json.loads(ENCODER.encode(ours.open(sealed))) != theirs.open(sealed):
        raise AssertionError("the two sides do not open alike")
    return {
        "seal": (lambda: ours.seal(typed), lambda: theirs.seal(plain)),
        "open": (lambda: ours.open(sealed), lambda: theirs.open(sealed)),
        "open, no schema": (
            lambda: ours.open_without_schema(sealed),
            lambda: theirs.open_without_schema(sealed),
        ),
        "parse only": (lambda: envelopes.parse(sealed), lambda: orjson.loads(sealed)),
    }


def measure(rounds: int, repeats: int) -> list[dict[str, Any]]:
    """Time every job, `rounds` times `repeats` runs a side; microseconds for one run."""
    jobs = prepare()
    samples: dict[tuple[str, int], list[float]] = {(name, side): [] for name in jobs for side in (0, 1)}
    for _ in range(rounds):
        for name, sides in jobs.items():
            for side, job in enumerate(sides):
                start = time.perf_counter_ns()
                for _ in range(repeats):
                    job()
                samples[name, side].append((time.perf_counter_ns() - start) / repeats / 1000)
    results = []
    for name in jobs:
        ours, theirs = (statistics.median(samples[name, side]) for side in (0, 1))
        row = {"job": name, "ours_us": round(ours, 2), "theirs_us": round(theirs, 2)}
        results.append(row | {"ratio": round(theirs / ours, 2)})
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Seal and open a 1 KiB envelope, against Python libraries.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=50, help="runs of a job in each round")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    version, profile = _core.build_info()
    results = measure(options.rounds, options.repeats)
    about = {"benchmark": "envelope", "bytes": SIZE, "rounds": options.rounds, "repeats": options.repeats}
    about |= {"core": f"{version} {profile}", "python": platform.python_version()}
    if options.json:
        print(json.dumps(about | {"results": results}))
        return
    print(" ".join(f"{key}={value}" for key, value in about.items()))
    print(f"{'job':<18}{'ours, µs':>12}{'theirs, µs':>12}{'ratio':>8}")
    for row in results:
        print(f"{row['job']:<18}{row['ours_us']:>12.2f}{row['theirs_us']:>12.2f}{row['ratio']:>8.2f}")


if __name__ == "__main__":
    main()

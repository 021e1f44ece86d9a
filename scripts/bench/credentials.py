"""A throw-away certificate for the TLS baselines: what authenticates is not what they measure."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

if TYPE_CHECKING:
    from pathlib import Path

SERVER_NAME = "localhost"
LOOPBACK = IPv4Address("127.0.0.1")


def write_credentials(directory: Path) -> None:
    """Write a self-signed certificate and its P-256 key, which every peer takes, each as PEM and as DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SERVER_NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME), x509.IPAddress(LOOPBACK)]), critical=False
        )
        .sign(key, SHA256())
    )
    for ending, encoding in (("pem", Encoding.PEM), ("der", Encoding.DER)):
        (directory / f"certificate.{ending}").write_bytes(certificate.public_bytes(encoding))
        private = key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())
        (directory / f"key.{ending}").write_bytes(private)


def tls_context(directory: Path, role: str) -> ssl.SSLContext:
    """Return a TLS 1.3 context for one side of a baseline."""
    server = role == "server"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if server:
        context.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
    else:
        context.load_verify_locations(directory / "certificate.pem")
    return context

"""Identities, key files and signatures (section 2; SIG-2, SIG-3)."""

from __future__ import annotations

import os
import pickle
import stat
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from tests.foundation.vectors import entries, entry_name
from web4.foundation import identity as identities
from web4.foundation.errors import IdentityError, SignatureMismatchError
from web4.foundation.identity import Identity

if TYPE_CHECKING:
    from pathlib import Path

    from pytest import MonkeyPatch  # noqa: PT013 - a type only

DOMAIN = {"protocol": "cip", "version": "1.0", "purpose": "envelope"}
seeds = st.binary(min_size=32, max_size=32)
messages = st.binary(max_size=200)


def domain_of(entry: dict[str, Any]) -> dict[str, str]:
    return {key: entry[key] for key in ("protocol", "version", "purpose")}


@pytest.mark.parametrize("entry", entries("identities", "identities"), ids=entry_name)
def test_identity_vectors(entry: dict[str, Any]) -> None:
    """ID-1: key, fingerprint and document are those of the file."""
    identity = Identity.from_seed(bytes.fromhex(entry["seed"]))
    assert identity.public_key == bytes.fromhex(entry["public_key"])
    assert identity.fingerprint == entry["fingerprint"]
    assert identities.fingerprint(identity.public_key) == entry["fingerprint"]
    assert identity.to_pem() == entry["pem"]
    assert Identity.from_pem(entry["pem"]).public_key == identity.public_key
    if "did_key" in entry:
        assert identities.did_key(identity.public_key) == entry["did_key"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # The examples of the base58 draft.
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
        (
            b"The quick brown fox jumps over the lazy dog.",
            "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z",
        ),
        (bytes.fromhex("0000287fb4cd"), "11233QC4"),
        (b"", ""),
        (b"\0\0", "11"),
    ],
)
def test_base58_vectors(data: bytes, expected: str) -> None:
    assert identities._base58(data) == expected


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        identities.did_key(bytes(length))
    with pytest.raises(ValueError, match="32 bytes"):
        identities.fingerprint(bytes(length))
    with pytest.raises(ValueError, match="32 bytes"):
        Identity.from_seed(bytes(length))


def test_an_identity_shows_its_fingerprint_only() -> None:
    """ID-2: keys are never exported by default."""
    identity = identities.generate_identity()
    assert repr(identity) == f"<Identity {identity.fingerprint}>"
    with pytest.raises(TypeError):
        pickle.dumps(identity)


def test_generated_identities_differ() -> None:
    assert len({identities.generate_identity().fingerprint for _ in range(50)}) == 50


# --- key files (ID-2) ------------------------------------------------------------------------------


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "identity" / "key.pem"


def refusal(path: Path) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        identities.load_identity(path)
    return caught.value


def test_a_saved_identity_is_loaded_again(key_file: Path) -> None:
    identity = identities.generate_identity()
    before = os.umask(0)
    try:
        identities.save_identity(identity, key_file)
    finally:
        os.umask(before)
    assert identities.load_identity(key_file).public_key == identity.public_key
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in key_file.parent.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o700, 0o4600, 0o666])
def test_key_permissions(key_file: Path, mode: int) -> None:
    """ID-2: a wider mode of the file refuses the start, and the error says what to run."""
    identities.save_identity(identities.generate_identity(), key_file)
    key_file.chmod(mode)
    error = refusal(key_file)
    assert error.code == "key_permissions"
    assert f"chmod 0600 {key_file}" in str(error)
    assert "PRIVATE" not in str(error)
    key_file.chmod(0o600)
    identities.load_identity(key_file)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o770, 0o701, 0o1700, 0o777])
def test_key_permissions_of_the_directory(key_file: Path, mode: int) -> None:
    """ID-2: so does a wider mode of the directory, for saving as for loading."""
    identities.save_identity(identities.generate_identity(), key_file)
    key_file.parent.chmod(mode)
    error = refusal(key_file)
    assert error.code == "key_permissions"
    assert f"chmod 0700 {key_file.parent}" in str(error)
    with pytest.raises(IdentityError) as caught:
        identities.save_identity(identities.generate_identity(), key_file.with_name("other.pem"))
    assert caught.value.code == "key_permissions"
    assert not key_file.with_name("other.pem").exists()


def test_narrower_modes_are_fine(key_file: Path) -> None:
    identities.save_identity(identities.generate_identity(), key_file)
    key_file.chmod(0o400)
    key_file.parent.chmod(0o500)
    identities.load_identity(key_file)
    key_file.parent.chmod(0o700)


def test_a_key_of_another_user_is_refused(key_file: Path, monkeypatch: MonkeyPatch) -> None:
    identities.save_identity(identities.generate_identity(), key_file)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    error = refusal(key_file)
    assert error.code == "key_permissions"
    assert f"chown {me + 1}" in str(error)


def test_what_is_no_plain_file_is_refused(key_file: Path, tmp_path: Path) -> None:
    identities.save_identity(identities.generate_identity(), key_file)
    link = key_file.with_name("link.pem")
    link.symlink_to(key_file)
    assert refusal(link).code == "key_permissions"
    pipe = key_file.with_name("pipe.pem")
    os.mkfifo(pipe, 0o600)
    assert refusal(pipe).code == "key_permissions"
    folder = key_file.with_name("folder.pem")
    folder.mkdir(mode=0o700)
    assert refusal(folder).code == "key_permissions"
    assert refusal(tmp_path / "nothing").code == "key_missing"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff", b"x" * 5000])
def test_a_malformed_key_is_refused(key_file: Path, content: bytes) -> None:
    identities.save_identity(identities.generate_identity(), key_file)
    key_file.write_bytes(content)
    assert refusal(key_file).code == "key_malformed"


def test_keys_of_other_kinds_are_refused(key_file: Path) -> None:
    identities.save_identity(identities.generate_identity(), key_file)
    text = key_file.read_text()
    key_file.write_text(text.replace("PRIVATE", "PUBLIC"))
    assert refusal(key_file).code == "key_malformed"
    key_file.write_text(text + text)
    assert refusal(key_file).code == "key_malformed"


def test_a_key_is_never_overwritten(key_file: Path) -> None:
    first = identities.generate_identity()
    identities.save_identity(first, key_file)
    with pytest.raises(IdentityError) as caught:
        identities.save_identity(identities.generate_identity(), key_file)
    assert caught.value.code == "key_exists"
    assert identities.load_identity(key_file).public_key == first.public_key
    dangling = key_file.with_name("dangling.pem")
    dangling.symlink_to(key_file.with_name("nowhere"))
    with pytest.raises(IdentityError) as caught:
        identities.save_identity(first, dangling)
    assert caught.value.code == "key_exists"
    assert sorted(entry.name for entry in key_file.parent.iterdir()) == ["dangling.pem", "key.pem"]


def test_a_key_that_cannot_be_written_leaves_nothing(key_file: Path, monkeypatch: MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IdentityError) as caught:
        identities.save_identity(identities.generate_identity(), key_file)
    assert caught.value.code == "key_unwritable"
    assert list(key_file.parent.iterdir()) == []


def test_a_directory_that_is_a_file_is_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError) as caught:
        identities.save_identity(identities.generate_identity(), tmp_path / "file" / "key.pem")
    assert caught.value.code == "key_unwritable"


# --- signatures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", entries("signatures", "accepted"), ids=entry_name)
def test_signature_vectors(entry: dict[str, Any]) -> None:
    """SIG-2: the bytes are those of the file."""
    key, message = bytes.fromhex(entry["public_key"]), bytes.fromhex(entry["message"])
    identities.verify(key, message, bytes.fromhex(entry["signature"]), **domain_of(entry))
    signer = next(i for i in entries("identities", "identities") if i["public_key"] == entry["public_key"])
    identity = Identity.from_seed(bytes.fromhex(signer["seed"]))
    assert identity.sign(message, **domain_of(entry)).hex() == entry["signature"]


@pytest.mark.parametrize("entry", entries("signatures", "refused"), ids=entry_name)
def test_signature_vectors_refused(entry: dict[str, Any]) -> None:
    """SIG-3: verification is strict, and raises."""
    key, message = bytes.fromhex(entry["public_key"]), bytes.fromhex(entry["message"])
    with pytest.raises(SignatureMismatchError) as caught:
        identities.verify(key, message, bytes.fromhex(entry["signature"]), **domain_of(entry))
    assert caught.value.code == "signature"


@given(seeds, messages, messages)
def test_signatures_equal_the_oracle(seed: bytes, message: bytes, other: bytes) -> None:
    """SIG-2: `cryptography` makes the same signature, accepts ours, and refuses it for anything else."""
    identity = Identity.from_seed(seed)
    signature = identity.sign(message, **DOMAIN)
    bound = b"web4:cip:1.0:envelope\0" + message
    assert Ed25519PrivateKey.from_private_bytes(seed).sign(bound) == signature
    Ed25519PublicKey.from_public_bytes(identity.public_key).verify(signature, bound)
    identities.verify(identity.public_key, message, signature, **DOMAIN)
    if other != message:
        with pytest.raises(SignatureMismatchError):
            identities.verify(identity.public_key, other, signature, **DOMAIN)
        with pytest.raises(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(identity.public_key).verify(signature, other)


checks_of_one_domain = [
    (bytes.fromhex(entry["public_key"]), bytes.fromhex(entry["message"]), bytes.fromhex(entry["signature"]))
    for kind in ("accepted", "refused")
    for entry in entries("signatures", kind)
    if domain_of(entry) == DOMAIN
]


@given(st.lists(st.sampled_from(checks_of_one_domain), max_size=40))
def test_sig_batch_equals_single(batch: list[tuple[bytes, bytes, bytes]]) -> None:
    """SIG-3: a batch refuses exactly what single verifications refuse, forgeries of small order included."""
    refused = []
    for position, (key, message, signature) in enumerate(batch):
        try:
            identities.verify(key, message, signature, **DOMAIN)
        except SignatureMismatchError:
            refused.append(position)
    assert identities.verify_many(batch, **DOMAIN) == tuple(refused)


def test_sig_batch_of_everything() -> None:
    """SIG-3: in one large batch too, every forgery is found and nothing else."""
    forged = {bytes.fromhex(entry["signature"]) for entry in entries("signatures", "refused")}
    right = {bytes.fromhex(entry["signature"]) for entry in entries("signatures", "accepted")}
    batch = checks_of_one_domain * 3
    refused = identities.verify_many(batch, **DOMAIN)
    kept = [signature for at, (_, _, signature) in enumerate(batch) if at not in set(refused)]
    assert set(kept) <= right
    assert len(refused) >= 3 * 40
    assert {batch[at][2] for at in refused} - right <= forged


@pytest.mark.parametrize("bad", ["", "a:b", "a\0", "A", "ü", "x" * 33])
@pytest.mark.parametrize("part", ["protocol", "version", "purpose"])
def test_a_domain_is_plain_words(part: str, bad: str) -> None:
    """SIG-2: no part can hold what separates the parts."""
    identity = Identity.from_seed(bytes(32))
    domain = DOMAIN | {part: bad}
    with pytest.raises(ValueError, match="protocol, version and purpose"):
        identity.sign(b"", **domain)
    with pytest.raises(ValueError, match="protocol, version and purpose"):
        identities.verify(identity.public_key, b"", bytes(64), **domain)
    with pytest.raises(ValueError, match="protocol, version and purpose"):
        identities.verify_many([], **domain)


def test_fp_pubkey_mismatch() -> None:
    """VAL-1, step 7: a public key that does not hash to the fingerprint is refused."""
    mine, other = Identity.from_seed(bytes(32)), Identity.from_seed(b"\1" * 32)
    identities.check_public_key(mine.public_key, mine.fingerprint)
    wrong = [
        (other.public_key, mine.fingerprint),
        (mine.public_key, other.fingerprint),
        (mine.public_key, mine.fingerprint.upper()),
        (mine.public_key[:-1], mine.fingerprint),
        (b"", mine.fingerprint),
    ]
    for public_key, fingerprint in wrong:
        with pytest.raises(SignatureMismatchError) as caught:
            identities.check_public_key(public_key, fingerprint)
        assert caught.value.code == "identity"

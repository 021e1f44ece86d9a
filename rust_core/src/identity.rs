//! An agent's Ed25519 key pair (ID-1), signatures bound to their purpose (SIG-2) and their strict
//! verification (SIG-3).

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::cores::spread;
use crate::hash;

/// Size of a raw public key, and of the seed that a private key is made from, in bytes.
pub const KEY_LEN: usize = 32;
/// Size of a signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// Why an identity could not be made or read. Carries no key material.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The text is not one PKCS#8 PEM document with an Ed25519 private key.
    #[error("not a PKCS#8 PEM document with one Ed25519 private key")]
    Malformed,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    NoRandomness,
}

/// The signature does not prove that the key signed this message for this purpose.
///
/// Says no more on purpose: why a forged signature failed helps nobody but the forger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// A protocol, version or purpose that cannot stand in a signing domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("protocol, version and purpose are 1 to 32 characters of a-z, 0-9, '.', '_' and '-'")]
pub struct BadDomain;

/// The fingerprint of a raw public key: lowercase hex of its BLAKE3-256 (ID-1).
#[must_use]
pub fn fingerprint(public_key: &[u8; KEY_LEN]) -> String {
    hash::hex(&hash::blake3(public_key))
}

/// What a signature is for: `web4:<protocol>:<version>:<purpose>` (SIG-2).
///
/// Its parts hold neither `:` nor a zero byte, so different domains never give the same signed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain<'a> {
    protocol: &'a str,
    version: &'a str,
    purpose: &'a str,
}

impl<'a> Domain<'a> {
    /// Names the domain.
    ///
    /// # Errors
    /// `BadDomain` if a part is empty, longer than 32 bytes, or has other characters than `[a-z0-9._-]`.
    pub fn new(protocol: &'a str, version: &'a str, purpose: &'a str) -> Result<Self, BadDomain> {
        let fits = |part: &str| {
            (1..=32).contains(&part.len())
                && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        };
        if [protocol, version, purpose].into_iter().all(fits) {
            Ok(Self { protocol, version, purpose })
        } else {
            Err(BadDomain)
        }
    }

    /// The bytes that are signed: the domain, one zero byte, and the message given in pieces.
    pub fn signed_bytes<'b>(
        &self,
        message: impl IntoIterator<Item = &'b [u8]>,
        message_len: usize,
    ) -> Vec<u8> {
        let Self { protocol, version, purpose } = self;
        let head = protocol.len() + version.len() + purpose.len() + b"web4:::\0".len();
        let mut bytes = Vec::with_capacity(head + message_len);
        for part in ["web4:", protocol, ":", version, ":", purpose, "\0"] {
            bytes.extend_from_slice(part.as_bytes());
        }
        for piece in message {
            bytes.extend_from_slice(piece);
        }
        bytes
    }
}

/// One agent's key pair. The private key is wiped from memory when it is dropped and is never shown.
pub struct Identity {
    key: SigningKey,
    fingerprint: String,
}

impl Identity {
    /// A new identity from the operating system's randomness.
    ///
    /// # Errors
    /// `NoRandomness` if there is none.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; KEY_LEN]);
        SystemRandom::new().fill(seed.as_mut()).map_err(|_| IdentityError::NoRandomness)?;
        Ok(Self::from_seed(&seed))
    }

    /// The identity that belongs to `seed`, the private key as RFC 8032 defines it.
    #[must_use]
    pub fn from_seed(seed: &[u8; KEY_LEN]) -> Self {
        Self::new(SigningKey::from_bytes(seed))
    }

    /// Reads a PKCS#8 PEM document.
    ///
    /// # Errors
    /// `Malformed` if it is anything else, or names a public key that does not belong to the private one.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        SigningKey::from_pkcs8_pem(pem).map(Self::new).map_err(|_| IdentityError::Malformed)
    }

    fn new(key: SigningKey) -> Self {
        let fingerprint = fingerprint(key.verifying_key().as_bytes());
        Self { key, fingerprint }
    }

    /// The private key as a PKCS#8 PEM document, wiped when dropped.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.key_document().to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key always encodes")
    }

    /// The private key as a PKCS#8 DER document, for the TLS stack.
    #[must_use]
    pub fn pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        self.key_document().to_pkcs8_der().expect("an Ed25519 key always encodes").to_bytes()
    }

    /// Version 1 of the document, without the public key: every reader in use understands it.
    fn key_document(&self) -> KeypairBytes {
        KeypairBytes { secret_key: self.key.to_bytes(), public_key: None }
    }

    /// The raw public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; KEY_LEN] {
        self.key.verifying_key().to_bytes()
    }

    /// The fingerprint of the public key.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Signs `message` for the purpose that `domain` names, and for no other.
    #[must_use]
    pub fn sign(&self, domain: &Domain<'_>, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.sign_bytes(&domain.signed_bytes([message], message.len()))
    }

    /// Signs bytes that [`Domain::signed_bytes`] made.
    pub(crate) fn sign_bytes(&self, signed_bytes: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.key.sign(signed_bytes).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.fingerprint).finish()
    }
}

/// One verification of a batch: does `signature` prove that `public_key` signed `signed_bytes`?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureCheck {
    /// The raw public key of the claimed signer.
    pub public_key: [u8; KEY_LEN],
    /// What was signed, domain included: see [`Domain::signed_bytes`].
    pub signed_bytes: Vec<u8>,
    /// The signature to check.
    pub signature: [u8; SIGNATURE_LEN],
}

impl SignatureCheck {
    /// Verifies strictly (SIG-3): canonical S, canonical key encoding, neither key nor R of small order.
    ///
    /// # Errors
    /// `BadSignature` if anything does not fit.
    pub fn verify(&self) -> Result<(), BadSignature> {
        PublicKey::new(&self.public_key)?.verify(&self.signed_bytes, &self.signature)
    }
}

/// A public key that was read once, for many signatures of its owner.
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a raw public key.
    ///
    /// # Errors
    /// `BadSignature` if it is no point, or not written in the one right way: nothing it signed verifies.
    pub fn new(raw: &[u8; KEY_LEN]) -> Result<Self, BadSignature> {
        if !is_canonical_point(raw) {
            return Err(BadSignature);
        }
        VerifyingKey::from_bytes(raw).map(Self).map_err(|_| BadSignature)
    }

    /// Verifies strictly (SIG-3) that its owner signed bytes that [`Domain::signed_bytes`] made.
    ///
    /// # Errors
    /// `BadSignature` if anything does not fit.
    pub fn verify(&self, signed_bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Result<(), BadSignature> {
        let signature = Signature::from_bytes(signature);
        self.0.verify_strict(signed_bytes, &signature).map_err(|_| BadSignature)
    }
}

/// Whether the encoded y coordinate is below the field's prime 2^255 - 19. The library reads larger ones
/// modulo the prime, which would give one key two spellings and so two fingerprints.
fn is_canonical_point(encoded: &[u8; KEY_LEN]) -> bool {
    let [first, middle @ .., last] = encoded;
    last & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff) || *first < 0xed
}

/// Verifies that `public_key` signed `message` for the purpose that `domain` names.
///
/// # Errors
/// `BadSignature` if it did not, or if key or signature are not canonical.
pub fn verify(
    public_key: &[u8; KEY_LEN],
    domain: &Domain<'_>,
    message: &[u8],
    signature: &[u8; SIGNATURE_LEN],
) -> Result<(), BadSignature> {
    let signed_bytes = domain.signed_bytes([message], message.len());
    SignatureCheck { public_key: *public_key, signed_bytes, signature: *signature }.verify()
}

/// Verifies each of `checks` strictly and by itself, spread over the cores; the results are in order.
///
/// Never one combined equation: that can accept what [`SignatureCheck::verify`] refuses (SIG-3).
#[must_use]
pub fn verify_many(checks: &[SignatureCheck]) -> Vec<Result<(), BadSignature>> {
    spread(checks.iter().collect(), SignatureCheck::verify)
}

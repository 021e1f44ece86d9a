//! Which keys are accepted: one check for both roles, made after the proof and not before.
//!
//! rustls asks a verifier twice: whether it likes the certificate, and whether the signature over the
//! handshake is that key's. The pin and the self check wait for the second question, so that "another key"
//! always means a *proven* other key (RTT-9, RTT-46). Nothing is sent between the two questions.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    SignatureScheme,
};

/// `SubjectPublicKeyInfo` of an Ed25519 key up to the 32 bytes of the key (RFC 8410).
pub(super) const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The peer's key as a raw public key certificate carries it, or `BadEncoding`.
///
/// Refuses keys of small order: for those a signature proves nothing, because anybody can make one.
pub(super) fn ed25519_key(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let raw = certificate.as_ref().strip_prefix(&SPKI_PREFIX).ok_or_else(bad)?;
    let key = <[u8; 32]>::try_from(raw).map_err(|_| bad())?;
    match ed25519_dalek::VerifyingKey::from_bytes(&key) {
        Ok(point) if !point.is_weak() => Ok(key),
        _ => Err(bad()),
    }
}

/// Lowercase-hex-ready fingerprint of a raw public key (RTT-3).
pub(super) fn fingerprint(public_key: &[u8; 32]) -> [u8; 32] {
    *blake3::hash(public_key).as_bytes()
}

/// A proven key that is not welcome; carries its fingerprint out of rustls.
#[derive(Debug)]
pub(super) enum KeyRefused {
    /// Not the key that the dial expects.
    WrongKey([u8; 32]),
    /// The key of this endpoint.
    SelfConnection([u8; 32]),
}

impl fmt::Display for KeyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongKey(_) => "not the expected key",
            Self::SelfConnection(_) => "own key",
        })
    }
}

impl std::error::Error for KeyRefused {}

/// Verifier of raw public keys for both roles.
#[derive(Clone, Debug)]
pub(super) struct KeyVerifier {
    pub(super) own: [u8; 32],
    /// Expected fingerprint; none accepts every proven key but one's own.
    pub(super) expected: Option<[u8; 32]>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl KeyVerifier {
    fn check_presented(
        &self,
        certificate: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        if !more.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        ed25519_key(certificate).map(drop)
    }

    fn check_proof(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = ed25519_key(certificate)?;
        let spki = SubjectPublicKeyInfoDer::from(certificate.as_ref());
        let valid = verify_tls13_signature_with_raw_key(message, &spki, signature, &self.algorithms)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadSignature))?;
        let peer = fingerprint(&key);
        let refused = match self.expected {
            _ if key == self.own => KeyRefused::SelfConnection(peer),
            Some(expected) if expected != peer => KeyRefused::WrongKey(peer),
            _ => return Ok(valid),
        };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused)))))
    }

    fn refuse_tls12() -> Error {
        Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired)
    }
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_presented(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_proof(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for KeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check_presented(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_proof(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

//! The one TLS configuration of an endpoint (RTT-4): raw public keys both ways, and everything else off.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection, SignatureScheme};
use zeroize::Zeroizing;

use super::verifier::{KeyVerifier, SPKI_PREFIX, ed25519_key, fingerprint};

/// The application protocol that both sides must agree on.
pub const ALPN: &[u8] = b"web4-rtt/1";

/// PKCS#8 version 1 of an Ed25519 private key up to its 32-byte seed (RFC 8410).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Whom a dial wants to reach (RTT-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The peer with this fingerprint: BLAKE3-256 of the raw public key.
    Fingerprint([u8; 32]),
    /// Whoever answers. The session must say that it is not pinned.
    Any,
}

/// The private key is not a PKCS#8 document of an Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the PKCS#8 document of an Ed25519 private key")]
pub struct PrivateKeyError;

/// TLS configuration of one endpoint for both roles, built once from its identity and shared by its carriers.
///
/// TLS 1.3 with AES-128-GCM, AES-256-GCM or ChaCha20-Poly1305; X25519; Ed25519 raw public keys in both
/// directions, always required; ALPN `web4-rtt/1`. No tickets, no resumption, no early data, no server name,
/// and no clock, because raw keys do not expire.
///
/// Cloning shares everything. `Debug` shows the public fingerprint only.
#[derive(Clone)]
pub struct TlsConfig {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    verifier: KeyVerifier,
}

impl TlsConfig {
    /// From the 32-byte Ed25519 seed. The temporary copies made here are wiped; the signing key that ring
    /// keeps lives as long as the configuration and its carriers, and ring does not wipe it (RTT-10).
    ///
    /// # Errors
    /// [`PrivateKeyError`] if ring refuses the key.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, PrivateKeyError> {
        let mut pkcs8 = Zeroizing::new([0u8; PKCS8_PREFIX.len() + 32]);
        pkcs8[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
        pkcs8[PKCS8_PREFIX.len()..].copy_from_slice(seed);
        Self::from_pkcs8(&*pkcs8)
    }

    /// From the PKCS#8 DER document of an Ed25519 private key (version 1 or 2).
    ///
    /// # Errors
    /// [`PrivateKeyError`] if it is anything else, or if its public part does not belong to its private part.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, PrivateKeyError> {
        let signing_key =
            ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).map_err(|_| PrivateKeyError)?;
        let spki = signing_key.public_key().ok_or(PrivateKeyError)?;
        let certificate = CertificateDer::from(spki.as_ref().to_vec());
        debug_assert!(certificate.as_ref().starts_with(&SPKI_PREFIX));
        let own = ed25519_key(&certificate).map_err(|_| PrivateKeyError)?;
        let certified = Arc::new(CertifiedKey::new(vec![certificate], signing_key));

        let provider = Arc::new(provider());
        let algorithms = provider.signature_verification_algorithms;
        let verifier = KeyVerifier { own, expected: None, algorithms };
        let client = client_config(&provider, &certified, &verifier).map_err(|_| PrivateKeyError)?;
        let server = server_config(&provider, certified, &verifier).map_err(|_| PrivateKeyError)?;
        Ok(Self { client: Arc::new(client), server: Arc::new(server), verifier })
    }

    /// Raw public key of the endpoint.
    pub fn public_key(&self) -> [u8; 32] {
        self.verifier.own
    }

    /// Fingerprint of the endpoint: BLAKE3-256 of its raw public key (RTT-3).
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.verifier.own)
    }

    pub(super) fn connect(&self, expect: Expect) -> Result<ClientConnection, Error> {
        let expected = match expect {
            Expect::Fingerprint(expected) => Some(expected),
            Expect::Any => None,
        };
        let verifier = KeyVerifier { expected, ..self.verifier.clone() };
        let mut config = ClientConfig::clone(&self.client);
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        // rustls wants a name to file sessions under; none is sent, and no session is filed.
        let name = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        ClientConnection::new(Arc::new(config), name)
    }

    pub(super) fn serve(&self) -> Result<ServerConnection, Error> {
        ServerConnection::new(Arc::clone(&self.server))
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprint = blake3::Hash::from_bytes(self.fingerprint());
        f.debug_struct("TlsConfig").field("fingerprint", &fingerprint.to_hex().as_str()).finish()
    }
}

/// What is offered and accepted. The order of the suites is the dialer's preference; see decision 0003.
fn provider() -> CryptoProvider {
    let defaults = ring::default_provider();
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519],
        signature_verification_algorithms: ed25519_only(defaults.signature_verification_algorithms),
        ..defaults
    }
}

fn ed25519_only(every: WebPkiSupportedAlgorithms) -> WebPkiSupportedAlgorithms {
    let at = every.mapping.iter().position(|(scheme, _)| *scheme == SignatureScheme::ED25519);
    let mapping = at.map_or(&[][..], |at| &every.mapping[at..=at]);
    WebPkiSupportedAlgorithms { all: mapping.first().map_or(&[], |(_, algorithms)| algorithms), mapping }
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    certified: &Arc<CertifiedKey>,
    verifier: &KeyVerifier,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_details(Arc::clone(provider), Arc::new(NoClock))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier.clone()))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(certified))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    certified: Arc<CertifiedKey>,
    verifier: &KeyVerifier,
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_details(Arc::clone(provider), Arc::new(NoClock))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier.clone()))
        .with_cert_resolver(Arc::new(KeyForRtt(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// Gives the endpoint's key to dialers that speak RTT only.
///
/// rustls itself refuses a dialer whose protocols do not include ours, but lets one pass that offers none.
#[derive(Debug)]
struct KeyForRtt(Arc<CertifiedKey>);

impl ResolvesServerCert for KeyForRtt {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        client_hello.alpn().is_some().then(|| Arc::clone(&self.0))
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

/// TLS needs a time for certificates and tickets; there are neither (RTT-1: the core reads no clock).
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::ZERO))
    }
}

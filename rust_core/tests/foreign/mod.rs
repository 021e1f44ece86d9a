//! Peers that are not ours: rustls without the rules of RTT-4, each breaking one of them.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, ClientConfig, Connection, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion,
};
use web4_core::carrier::{ALPN, Carrier, CarrierError};

use crate::pair::{read_into, transmitted};

/// A peer. `honest` gives one that a carrier accepts; change what should be wrong.
#[derive(Clone)]
pub struct Peer {
    /// What it presents: certificates or raw public keys.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<dyn SigningKey>,
    /// Whether it takes part in RFC 7250, and whether it has anything to present.
    pub raw: bool,
    pub present: bool,
    pub alpn: Vec<Vec<u8>>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub provider: CryptoProvider,
    /// Whether it refuses every key it is shown, after the proof.
    pub refuses: bool,
    /// As a server: how many tickets it gives, with early data allowed.
    pub tickets: usize,
    /// As a client: where it keeps tickets, to use them with early data.
    pub resumption: Resumption,
}

impl Peer {
    pub fn honest(seed: u8) -> Self {
        let key = ed25519(seed);
        let spki = key.public_key().expect("Ed25519").as_ref().to_vec();
        Self {
            chain: vec![CertificateDer::from(spki)],
            key,
            raw: true,
            present: true,
            alpn: vec![ALPN.to_vec()],
            versions: vec![&rustls::version::TLS13],
            provider: ring::default_provider(),
            refuses: false,
            tickets: 0,
            resumption: Resumption::disabled(),
        }
    }

    /// A peer with a self-made X.509 certificate and no raw public key.
    pub fn x509() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["web4.example".into()]).expect("made");
        let der = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let key = ring::sign::any_supported_type(&der.into()).expect("ECDSA");
        Self { chain: vec![made.cert.der().clone()], key, raw: false, ..Self::honest(0) }
    }

    pub fn client(&self) -> Connection {
        connect(&self.client_config())
    }

    /// A ticket is used only by connections of the configuration that got it.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Judgement { raw: self.raw, refuses: self.refuses }))
            .with_client_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = self.resumption.clone();
        config.enable_early_data = true;
        Arc::new(config)
    }

    pub fn server(&self) -> Connection {
        let mut config = ServerConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_client_cert_verifier(Arc::new(Judgement { raw: self.raw, refuses: self.refuses }))
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols.clone_from(&self.alpn);
        config.send_tls13_tickets = self.tickets;
        config.max_early_data_size = 1024;
        config.session_storage = ServerSessionMemoryCache::new(8);
        rustls::ServerConnection::new(Arc::new(config)).expect("a server").into()
    }

    /// A store for tickets.
    pub fn with_ticket_store(mut self) -> Self {
        self.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
        self
    }

    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        self.present.then(|| Arc::new(CertifiedKey::new(self.chain.clone(), Arc::clone(&self.key))))
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peer")
    }
}

impl ResolvesClientCert for Peer {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }

    fn has_certs(&self) -> bool {
        self.present
    }
}

impl ResolvesServerCert for Peer {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// The Ed25519 key whose seed is 32 times one byte.
pub fn ed25519(seed: u8) -> Arc<dyn SigningKey> {
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let der = ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_der(&key).expect("DER");
    ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der.as_bytes())).expect("Ed25519")
}

/// Says that it signs with Ed25519, and writes noise.
#[derive(Debug)]
pub struct Forger;

impl SigningKey for Forger {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Forger {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![0x0f; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Signs with a real Ed25519 key under the name of another scheme.
#[derive(Debug)]
pub struct OtherScheme(pub Arc<dyn SigningKey>);

impl SigningKey for OtherScheme {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self(Arc::clone(&self.0))))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for OtherScheme {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.choose_scheme(&[SignatureScheme::ED25519]).expect("Ed25519").sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// A client connection of `config`.
pub fn connect(config: &Arc<ClientConfig>) -> Connection {
    let name = ServerName::try_from("web4.example").expect("a name");
    rustls::ClientConnection::new(Arc::clone(config), name).expect("a client").into()
}

/// A verifier that accepts everything, or nothing.
#[derive(Debug)]
struct Judgement {
    raw: bool,
    refuses: bool,
}

impl Judgement {
    fn proof(&self) -> Result<HandshakeSignatureValid, Error> {
        if self.refuses {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

fn every_scheme() -> Vec<SignatureScheme> {
    ring::default_provider().signature_verification_algorithms.supported_schemes()
}

impl ServerCertVerifier for Judgement {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof()
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof()
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        every_scheme()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

impl ClientCertVerifier for Judgement {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof()
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof()
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        every_scheme()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// Everything `connection` wants to transmit now.
pub fn foreign_transmitted(connection: &mut Connection) -> Vec<u8> {
    let mut wire = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut wire).expect("a vector takes all");
    }
    wire
}

/// Give all of `wire` to `connection`.
pub fn foreign_receive(connection: &mut Connection, mut wire: &[u8]) -> Result<(), Error> {
    while !wire.is_empty() {
        connection.read_tls(&mut wire).expect("read");
        connection.process_new_packets()?;
    }
    Ok(())
}

/// Let both talk until they fall silent: what the carrier read or reported, and what the peer did.
pub fn talk(
    carrier: &mut Carrier,
    peer: &mut Connection,
) -> (Result<Vec<u8>, CarrierError>, Result<(), Error>) {
    let (mut ours, mut theirs) = (Ok(Vec::new()), Ok(()));
    loop {
        let out = transmitted(carrier);
        let back = foreign_transmitted(peer);
        if out.is_empty() && back.is_empty() {
            return (ours, theirs);
        }
        theirs = theirs.and_then(|()| foreign_receive(peer, &out));
        if let Ok(plaintext) = &mut ours {
            let result = carrier.receive(&back);
            read_into(carrier, plaintext);
            if let Err(error) = result {
                ours = Err(error);
            }
        }
    }
}

//! Peers that break one rule of RTT-4 each (`rtt_tls_matrix`): who is refused, with which error, and what the
//! refused side is told.

mod foreign;
mod pair;

use std::sync::Arc;

use foreign::{Forger, OtherScheme, Peer, connect, ed25519, foreign_receive, foreign_transmitted, talk};
use pair::{identity, transmitted};
use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription as Alert, Connection, Error, HandshakeKind};
use web4_core::carrier::{Carrier, CarrierError, CarrierErrorCode as Code, Expect};

/// Our key is identity 1, the peer's identity 2.
fn dial(server: &Peer) -> (CarrierError, Result<(), Error>) {
    let mut carrier = Carrier::dial(&identity(1), Expect::Any).expect("randomness");
    let (ours, theirs) = talk(&mut carrier, &mut server.server());
    assert!(carrier.is_handshaking() && carrier.peer_public_key().is_none());
    assert!(carrier.send(b"application").is_err());
    (ours.expect_err("refused"), theirs)
}

fn accept(client: &Peer) -> (CarrierError, Result<(), Error>) {
    let mut carrier = Carrier::accept(&identity(1)).expect("randomness");
    let mut client = client.client();
    let (ours, theirs) = talk(&mut carrier, &mut client);
    assert!(carrier.is_handshaking() && carrier.peer_public_key().is_none());
    assert!(carrier.plaintext().is_empty());
    (ours.expect_err("refused"), theirs)
}

/// The matrix is worth something only if the peer it varies is accepted.
#[test]
fn the_honest_foreign_peer_is_accepted() {
    let mut carrier =
        Carrier::dial(&identity(1), Expect::Fingerprint(identity(2).fingerprint())).expect("randomness");
    let (ours, theirs) = talk(&mut carrier, &mut Peer::honest(2).server());
    assert!(ours.is_ok() && theirs.is_ok() && !carrier.is_handshaking());

    let mut carrier = Carrier::accept(&identity(1)).expect("randomness");
    let (ours, theirs) = talk(&mut carrier, &mut Peer::honest(2).client());
    assert!(ours.is_ok() && theirs.is_ok());
    assert_eq!(carrier.peer_fingerprint(), Some(&identity(2).fingerprint()));
}

#[test]
fn tls_1_2_is_refused() {
    let old = Peer { versions: vec![&rustls::version::TLS12], ..Peer::x509() };
    let (error, theirs) = accept(&old);
    assert_eq!((error.code(), error.is_authentication()), (Code::TlsVersion, false));
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::ProtocolVersion)));
    let (error, _) = dial(&old);
    assert_eq!((error.code(), error.is_authentication()), (Code::TlsVersion, false));
    assert_eq!(error.alert(), Some(70));
}

/// A server that answers in TLS 1.2 although it was not offered.
#[test]
fn a_tls_1_2_answer_is_refused() {
    let mut carrier = Carrier::dial(&identity(1), Expect::Any).expect("randomness");
    transmitted(&mut carrier);
    let mut hello = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
    hello.extend([0x44; 32]);
    hello.extend([0, 0xc0, 0x2b, 0]);
    let error = carrier.receive(&hello).expect_err("TLS 1.2");
    assert_eq!((error.code(), error.is_authentication()), (Code::TlsVersion, false));
    assert_eq!(transmitted(&mut carrier), [21, 3, 3, 0, 2, 2, 70], "alert protocol_version");
}

#[test]
fn x509_only_is_refused() {
    let (error, theirs) = accept(&Peer::x509());
    assert_eq!((error.code(), error.is_authentication()), (Code::NoRawKey, false));
    assert_eq!(error.proven(), None);
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::HandshakeFailure)));

    // This server says so itself, in plaintext: anybody could have. So the dial may be tried again.
    let (error, _) = dial(&Peer::x509());
    assert_eq!((error.code(), error.alert()), (Code::Refused, Some(40)));
    assert!(!error.is_authentication());
}

#[test]
fn a_certificate_in_place_of_the_raw_key_is_refused() {
    let swindle = Peer { chain: Peer::x509().chain, ..Peer::honest(2) };
    let (error, theirs) = accept(&swindle);
    assert_eq!((error.code(), error.is_authentication()), (Code::BadKey, true));
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::BadCertificate)));
    let (error, theirs) = dial(&swindle);
    assert_eq!((error.code(), error.is_authentication()), (Code::BadKey, true));
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::BadCertificate)));
}

/// Two keys, a key with bytes behind it, keys for which anybody can sign, another kind of key.
#[test]
fn unsound_keys_are_refused() {
    let honest = Peer::honest(2).chain[0].clone();
    let spki = |key: [u8; 32]| CertificateDer::from([&honest[..12], &key[..]].concat());
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let no_point = {
        let mut bytes = [0; 32];
        bytes[0] = 2;
        bytes
    };
    let chains = [
        vec![honest.clone(), honest.clone()],
        vec![CertificateDer::from([&honest[..], b"!"].concat())],
        vec![CertificateDer::from(honest[..43].to_vec())],
        vec![spki(neutral)],
        vec![spki([0; 32])],
        vec![spki(no_point)],
    ];
    for chain in chains {
        let peer = Peer { chain, ..Peer::honest(2) };
        let ((dialer, _), (acceptor, _)) = (dial(&peer), accept(&peer));
        for error in [dialer, acceptor] {
            assert_eq!((error.code(), error.is_authentication()), (Code::BadKey, true));
            assert_eq!(error.proven(), None);
        }
    }
}

#[test]
fn a_dialer_without_a_key_is_refused() {
    let (error, theirs) = accept(&Peer { present: false, ..Peer::honest(2) });
    assert_eq!((error.code(), error.is_authentication()), (Code::NoClientKey, true));
    assert_eq!(error.proven(), None);
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::CertificateRequired)));
    // One that does not even say that it knows raw public keys.
    let (error, _) = accept(&Peer { present: false, raw: false, ..Peer::honest(2) });
    assert_eq!(error.code(), Code::NoRawKey);
}

/// A key that is presented but not proven names nobody (RTT-9), whoever is expected.
#[test]
fn a_wrong_proof_is_refused() {
    let forger = Peer { key: Arc::new(Forger), ..Peer::honest(2) };
    let borrowed = Peer { key: ed25519(9), ..Peer::honest(2) };
    let renamed = Peer { key: Arc::new(OtherScheme(ed25519(2))), ..Peer::honest(2) };
    for peer in [forger, borrowed, renamed] {
        for expect in [Expect::Any, Expect::Fingerprint(identity(2).fingerprint())] {
            let mut carrier = Carrier::dial(&identity(1), expect).expect("randomness");
            let (ours, theirs) = talk(&mut carrier, &mut peer.server());
            let error = ours.expect_err("no proof");
            assert_eq!((error.code(), error.is_authentication()), (Code::BadProof, true));
            assert_eq!(error.proven(), None);
            assert_eq!(theirs, Err(Error::AlertReceived(Alert::DecryptError)));
        }
        let (error, theirs) = accept(&peer);
        assert_eq!((error.code(), error.proven()), (Code::BadProof, None));
        assert_eq!(theirs, Err(Error::AlertReceived(Alert::DecryptError)));
    }
}

/// RTT-5, RTT-9: the expected key presented with another's proof is no `wrong_key`; another key with its own
/// proof is.
#[test]
fn wrong_key_means_a_proven_other_key() {
    let expect = Expect::Fingerprint(identity(2).fingerprint());
    let mut carrier = Carrier::dial(&identity(1), expect).expect("randomness");
    let (ours, theirs) = talk(&mut carrier, &mut Peer::honest(9).server());
    let error = ours.expect_err("the pin");
    assert_eq!((error.code(), error.is_authentication()), (Code::WrongKey, true));
    assert_eq!(error.proven(), Some(&identity(9).fingerprint()));
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::CertificateUnknown)));
}

/// RTT-7, on the side that the dialer cannot guard.
#[test]
fn the_acceptor_refuses_its_own_key() {
    let (error, theirs) = accept(&Peer::honest(1));
    assert_eq!((error.code(), error.is_authentication()), (Code::SelfConnection, true));
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::CertificateUnknown)));
}

#[test]
fn no_and_other_alpn_are_refused() {
    let silent = Peer { alpn: vec![], ..Peer::honest(2) };
    let other = Peer { alpn: vec![b"h2".to_vec()], ..Peer::honest(2) };
    let (error, theirs) = accept(&silent);
    assert_eq!((error.code(), error.is_authentication()), (Code::Alpn, false));
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::AccessDenied)));
    let (error, theirs) = accept(&other);
    assert_eq!(error.code(), Code::Alpn);
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::NoApplicationProtocol)));

    let (error, _) = dial(&other);
    assert_eq!((error.code(), error.alert()), (Code::Alpn, Some(120)));
    // A server that picks no protocol completes its part; it learns nothing about the dialer.
    let mut carrier = Carrier::dial(&identity(1), Expect::Any).expect("randomness");
    let mut server = silent.server();
    let (ours, _) = talk(&mut carrier, &mut server);
    let error = ours.expect_err("no protocol");
    assert_eq!((error.code(), error.is_authentication()), (Code::Alpn, false));
    assert_eq!(error.proven(), Some(&identity(2).fingerprint()));
    assert!(server.is_handshaking() && server.peer_certificates().is_none());
}

#[test]
fn other_parameters_are_refused() {
    let mut p256 = Peer::honest(2);
    p256.provider.kx_groups = vec![kx_group::SECP256R1];
    let (error, theirs) = accept(&p256);
    assert_eq!((error.code(), error.is_authentication()), (Code::TlsParameters, false));
    assert_eq!(theirs, Err(Error::AlertReceived(Alert::HandshakeFailure)));
    let (error, _) = dial(&p256);
    assert_eq!((error.code(), error.alert()), (Code::Refused, Some(40)));
}

/// Each of the three suites works, whatever the peer is limited to.
#[test]
fn every_suite_is_spoken() {
    for suite in [
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let mut peer = Peer::honest(2);
        peer.provider.cipher_suites = vec![suite];
        let mut carrier = Carrier::accept(&identity(1)).expect("randomness");
        let (ours, theirs) = talk(&mut carrier, &mut peer.client());
        assert!(ours.is_ok() && theirs.is_ok() && !carrier.is_handshaking());
    }
}

/// A ticket from a peer is not used; a resumption or early data from a peer is refused.
#[test]
fn tickets_and_early_data_lead_nowhere() {
    let generous = Peer { tickets: 2, ..Peer::honest(2) };
    for _ in 0..2 {
        let mut carrier = Carrier::dial(&identity(1), Expect::Any).expect("randomness");
        let mut server = generous.server();
        let (ours, theirs) = talk(&mut carrier, &mut server);
        assert!(ours.is_ok() && theirs.is_ok());
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        carrier.send(b"after the tickets").expect("open");
        foreign_receive(&mut server, &transmitted(&mut carrier)).expect("open");
    }

    let collector = Peer::honest(2).with_ticket_store();
    let config = collector.client_config();
    let (mut client, mut server) = (connect(&config), generous.server());
    for _ in 0..3 {
        foreign_receive(&mut server, &foreign_transmitted(&mut client)).expect("honest");
        foreign_receive(&mut client, &foreign_transmitted(&mut server)).expect("honest");
    }
    let mut client = connect(&config);
    let Connection::Client(early) = &mut client else { unreachable!("a client") };
    let mut writer = early.early_data().expect("it has a ticket that allows early data");
    std::io::Write::write_all(&mut writer, b"early").expect("room");
    let mut carrier = Carrier::accept(&identity(1)).expect("randomness");
    let error = carrier.receive(&foreign_transmitted(&mut client)).expect_err("resumption");
    assert_eq!((error.code(), error.is_authentication()), (Code::Resumption, false));
    assert!(carrier.plaintext().is_empty());
}

/// The dialer completes first; that the acceptor then refuses it comes as an authenticated alert, which is
/// final (RTT-46) and charged to the proven key (RTT-9).
#[test]
fn a_late_refusal_by_the_acceptor_is_an_authentication_failure() {
    let mut carrier = Carrier::dial(&identity(1), Expect::Any).expect("randomness");
    let (ours, theirs) = talk(&mut carrier, &mut Peer { refuses: true, ..Peer::honest(2) }.server());
    let error = ours.expect_err("refused");
    assert_eq!((error.code(), error.is_authentication()), (Code::Refused, true));
    assert_eq!(error.alert(), Some(49), "access_denied");
    assert_eq!(error.proven(), Some(&identity(2).fingerprint()));
    assert!(theirs.is_err());
    // Told by a dialer, the same is no proof of anything.
    let mut carrier = Carrier::accept(&identity(1)).expect("randomness");
    let (ours, _) = talk(&mut carrier, &mut Peer { refuses: true, ..Peer::honest(2) }.client());
    let error = ours.expect_err("refused");
    assert_eq!((error.code(), error.is_authentication(), error.proven()), (Code::Refused, false, None));
}

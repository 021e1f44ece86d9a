//! What two honest carriers do with each other (RTT-4 to RTT-10).

mod pair;

use std::io;

use pair::{Pair, deliver, identity, read_into, transmitted};
use web4_core::carrier::{
    Carrier, CarrierErrorCode as Code, Expect, RECORD_PAYLOAD, Role, SEND_LIMIT, TlsConfig,
};

const CONTEXT: &[u8] = b"sixteen byte id!";

/// RTT-4, RTT-8: both sides learn the proven key of the other and compute the same bindings.
#[test]
fn both_prove_their_keys_and_agree_on_bindings() {
    let pair = Pair::open();
    assert_eq!(pair.dialer.role(), Role::Dialer);
    assert_eq!(pair.acceptor.role(), Role::Acceptor);
    assert_eq!(pair.dialer.peer_public_key(), Some(&identity(2).public_key()));
    assert_eq!(pair.acceptor.peer_public_key(), Some(&identity(1).public_key()));
    assert_eq!(pair.dialer.peer_fingerprint(), Some(&identity(2).fingerprint()));
    assert_eq!(pair.acceptor.peer_fingerprint(), Some(&identity(1).fingerprint()));

    let binding = pair.dialer.export_binding(CONTEXT).expect("open");
    assert_eq!(pair.acceptor.export_binding(CONTEXT).expect("open"), binding);
    let other = pair.dialer.export_binding(b"another 16 bytes").expect("open");
    assert_ne!(other, binding);
    assert_eq!(pair.acceptor.export_binding(b"another 16 bytes").expect("open"), other);
    let elsewhere = Pair::open().dialer.export_binding(CONTEXT).expect("open");
    assert_ne!(elsewhere, binding, "another carrier of the same two endpoints has another binding");
}

/// RTT-3: the fingerprint is the BLAKE3-256 of the raw Ed25519 public key, however the private key came.
#[test]
fn fingerprint_is_blake3_of_the_raw_key() {
    let signing = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let public_key = signing.verifying_key().to_bytes();
    let from_seed = identity(7);
    assert_eq!(from_seed.public_key(), public_key);
    assert_eq!(from_seed.fingerprint(), *blake3::hash(&public_key).as_bytes());
    let der = ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_der(&signing).expect("DER");
    let from_der = TlsConfig::from_pkcs8(der.as_bytes()).expect("the same key");
    assert_eq!(from_der.public_key(), public_key);
    for bad in [&b""[..], b"junk", &der.as_bytes()[..der.as_bytes().len() - 1]] {
        assert!(TlsConfig::from_pkcs8(bad).is_err());
    }
}

/// RTT-5: another key than the pinned one ends the dial before anything can be sent; both sides know why.
#[test]
fn wrong_pin_ends_the_dial_before_the_first_application_byte() {
    let mut pair = Pair::new(&identity(1), &identity(2), Expect::Fingerprint(identity(3).fingerprint()));
    let (dialer, acceptor) = pair.exchange();
    let error = dialer.expect_err("the pin");
    assert_eq!(error.code(), Code::WrongKey);
    assert!(error.is_authentication());
    assert_eq!(error.proven(), Some(&identity(2).fingerprint()), "the other key was proven");
    assert_eq!(pair.dialer.send(b"START").expect_err("no").code(), Code::WrongKey);
    assert!(pair.dialer.export_binding(CONTEXT).is_err());

    let refused = acceptor.expect_err("told by an alert");
    assert_eq!((refused.code(), refused.alert()), (Code::Refused, Some(46)), "certificate_unknown");
    assert!(!refused.is_authentication(), "nobody proved anything to the acceptor");
    assert_eq!(refused.proven(), None);
    assert!(pair.acceptor.plaintext().is_empty() && pair.acceptor.is_handshaking());
}

/// RTT-5: without a pin every key is accepted, and known afterwards.
#[test]
fn any_accepts_whoever_answers() {
    let mut pair = Pair::new(&identity(1), &identity(9), Expect::Any);
    let (dialer, acceptor) = pair.exchange();
    assert!(dialer.is_ok() && acceptor.is_ok());
    assert_eq!(pair.dialer.peer_fingerprint(), Some(&identity(9).fingerprint()));
}

/// RTT-7: an endpoint does not talk to itself, pinned or not.
#[test]
fn self_connection_is_refused() {
    let own = identity(1);
    for expect in [Expect::Any, Expect::Fingerprint(own.fingerprint())] {
        let mut pair = Pair::new(&own, &own, expect);
        let (dialer, acceptor) = pair.exchange();
        let error = dialer.expect_err("itself");
        assert_eq!(error.code(), Code::SelfConnection);
        assert!(error.is_authentication());
        assert_eq!(acceptor.expect_err("told").code(), Code::Refused);
    }
}

/// RTT-1: nothing depends on how the network cuts the bytes.
#[test]
fn byte_by_byte_is_the_same() {
    let mut pair = Pair::new(&identity(1), &identity(2), Expect::Any);
    let mut hello_seen_at = None;
    let mut sent = 0;
    while pair.dialer.is_handshaking() || pair.acceptor.is_handshaking() {
        let out = transmitted(&mut pair.dialer);
        for (index, byte) in out.iter().enumerate() {
            assert_eq!(pair.acceptor.receive(&[*byte]).expect("honest"), 1);
            if hello_seen_at.is_none() && pair.acceptor.has_client_hello() {
                hello_seen_at = Some((sent + index + 1, out.len()));
            }
        }
        sent += out.len();
        for byte in transmitted(&mut pair.acceptor) {
            pair.dialer.receive(&[byte]).expect("honest");
        }
    }
    let (seen_at, first_flight) = hello_seen_at.expect("a hello");
    assert_eq!(seen_at, first_flight, "the hello is whole with its last byte and not before");

    let message: Vec<u8> = (0..40_000_u32).map(|i| i as u8).collect();
    assert_eq!(pair.dialer.send(&message).expect("open"), message.len());
    let mut received = Vec::new();
    for byte in transmitted(&mut pair.dialer) {
        received.extend(deliver(&mut pair.acceptor, &[byte]).expect("honest"));
    }
    assert!(received == message);
}

/// The order of bytes survives every size, both ways, and the reader sees them in place.
#[test]
fn sizes_around_the_record_survive() {
    let mut pair = Pair::open();
    for size in [0, 1, RECORD_PAYLOAD - 1, RECORD_PAYLOAD, RECORD_PAYLOAD + 1, 3 * RECORD_PAYLOAD + 7] {
        let message: Vec<u8> = (0..size).map(|i| (i * 31) as u8).collect();
        assert_eq!(pair.dialer.send(&message).expect("open"), size);
        assert_eq!(pair.acceptor.send(&message).expect("open"), size);
        let (back, out) = pair.exchange();
        assert!(out.expect("open") == message && back.expect("open") == message);
    }
}

/// A sender takes whole records up to its bound and then nothing, until bytes were transmitted.
#[test]
fn sending_is_bounded() {
    let mut pair = Pair::open();
    let flood = vec![0x5a; 4 * SEND_LIMIT];
    let mut accepted = pair.dialer.send(&flood).expect("open");
    assert!(accepted > SEND_LIMIT / 2 && accepted.is_multiple_of(RECORD_PAYLOAD));
    assert_eq!(pair.dialer.send(&flood).expect("open"), 0);
    assert!(!transmitted(&mut pair.acceptor).iter().any(|_| true), "the acceptor has nothing to say");

    let mut wire = Vec::new();
    let written = pair.dialer.transmit(|slices| {
        wire.extend_from_slice(&slices[0][..100]);
        Ok(100)
    });
    assert_eq!(written.expect("a partial write"), 100);
    assert_eq!(pair.dialer.send(&flood).expect("open"), 0, "not yet room for a record");
    let blocked = pair.dialer.transmit(|_| Err(io::ErrorKind::WouldBlock.into()));
    assert_eq!(blocked.expect_err("blocked").kind(), io::ErrorKind::WouldBlock);
    pair.dialer.transmit_into(&mut wire);
    assert!(!pair.dialer.wants_transmit() && wire.len() <= SEND_LIMIT + 1024);
    accepted += pair.dialer.send(&flood).expect("open");
    pair.dialer.transmit_into(&mut wire);
    assert!(deliver(&mut pair.acceptor, &wire).expect("open") == flood[..accepted]);
}

/// A receiver that does not read stops taking bytes after about two records, and loses nothing.
#[test]
fn receiving_is_bounded() {
    let mut pair = Pair::open();
    let message: Vec<u8> = (0..6 * RECORD_PAYLOAD).map(|i| (i >> 7) as u8).collect();
    assert_eq!(pair.dialer.send(&message).expect("open"), message.len());
    let wire = transmitted(&mut pair.dialer);
    let mut taken = pair.acceptor.receive(&wire).expect("open");
    assert!(taken < 3 * (RECORD_PAYLOAD + 256));
    assert_eq!(pair.acceptor.receive(&wire[taken..]).expect("open"), 0, "nothing was read");
    let mut received = Vec::new();
    while taken < wire.len() {
        read_into(&mut pair.acceptor, &mut received);
        taken += pair.acceptor.receive(&wire[taken..]).expect("open");
    }
    read_into(&mut pair.acceptor, &mut received);
    assert!(received == message);
}

/// RTT-5: plaintext is refused while the peer's key is unproven.
#[test]
fn nothing_is_sent_or_exported_while_handshaking() {
    for mut carrier in [
        Carrier::dial(&identity(1), Expect::Any).expect("randomness"),
        Carrier::accept(&identity(1)).expect("randomness"),
    ] {
        assert!(carrier.is_handshaking());
        assert_eq!(carrier.send(b"early").expect_err("early").code(), Code::Handshaking);
        assert_eq!(carrier.export_binding(CONTEXT).expect_err("early").code(), Code::Handshaking);
        assert_eq!(carrier.refresh_traffic_keys().expect_err("early").code(), Code::Handshaking);
        assert_eq!(carrier.peer_public_key(), None);
    }
}

/// RTT-47: key updates from both sides, in the middle of traffic.
#[test]
fn key_updates_do_not_disturb_the_stream() {
    let mut pair = Pair::open();
    let binding = pair.dialer.export_binding(CONTEXT).expect("open");
    for round in 0..8_u8 {
        let message = vec![round; 20_000];
        assert_eq!(pair.dialer.send(&message).expect("open"), message.len());
        pair.dialer.refresh_traffic_keys().expect("open");
        assert_eq!(pair.dialer.send(&message).expect("open"), message.len());
        pair.acceptor.refresh_traffic_keys().expect("open");
        assert_eq!(pair.acceptor.send(&message).expect("open"), message.len());
        let (back, out) = pair.exchange();
        assert!(out.expect("open") == [&message[..], &message].concat());
        assert!(back.expect("open") == message);
    }
    assert_eq!(pair.dialer.export_binding(CONTEXT).expect("open"), binding, "RTT-8: it stays constant");
}

/// RTT-49: an orderly end is not a cut, and a cut is not an orderly end.
#[test]
fn close_and_truncation_are_told_apart() {
    let mut pair = Pair::open();
    pair.dialer.send(b"last words").expect("open");
    pair.dialer.close();
    pair.dialer.close();
    assert_eq!(pair.dialer.send(b"more").expect_err("closed").code(), Code::Closed);
    let wire = transmitted(&mut pair.dialer);
    assert_eq!(pair.acceptor.receive(&wire).expect("orderly"), wire.len());
    assert!(pair.acceptor.peer_closed());
    assert_eq!(pair.acceptor.receive(b"junk after the end").expect("ignored"), 18);
    pair.acceptor.receive_end().expect("orderly");
    assert_eq!(pair.acceptor.plaintext(), b"last words");
    pair.acceptor.consume(10);
    assert!(pair.acceptor.plaintext().is_empty());
    assert_eq!(pair.acceptor.send(b"goodbye").expect("the other direction is open"), 7);

    let length = wire.len();
    for cut in 0..length {
        let mut cut_off = Pair::open();
        cut_off.dialer.send(b"last words").expect("open");
        cut_off.dialer.close();
        let wire = transmitted(&mut cut_off.dialer);
        let received = deliver(&mut cut_off.acceptor, &wire[..cut]).expect("no damage");
        assert!(received.is_empty() || received == b"last words");
        let error = cut_off.acceptor.receive_end().expect_err("cut");
        assert_eq!(error.code(), Code::Truncated);
        assert!(!error.is_authentication());
        assert_eq!(error.proven(), Some(&identity(1).fingerprint()));
    }
}

/// RTT-4: no ticket is sent, so the acceptor falls silent when the handshake is complete.
#[test]
fn no_ticket_is_sent() {
    let mut pair = Pair::new(&identity(1), &identity(2), Expect::Any);
    let hello = transmitted(&mut pair.dialer);
    deliver(&mut pair.acceptor, &hello).expect("honest");
    let answer = transmitted(&mut pair.acceptor);
    deliver(&mut pair.dialer, &answer).expect("honest");
    let proof = transmitted(&mut pair.dialer);
    deliver(&mut pair.acceptor, &proof).expect("honest");
    assert!(!pair.acceptor.is_handshaking());
    assert!(!pair.acceptor.wants_transmit());
}

/// RTT-10: neither `Debug` shows anything but public names.
#[test]
fn debug_shows_no_secret() {
    let seed = [0xa7; 32];
    let config = TlsConfig::from_seed(&seed).expect("valid");
    let pair = Pair::open();
    let binding = pair.dialer.export_binding(CONTEXT).expect("open");
    let shown = format!("{config:?} {pair:?}", pair = pair.dialer);
    assert!(shown.contains("fingerprint") && shown.contains("Dialer"));
    for secret in [seed, binding] {
        assert!(!shown.contains(blake3::Hash::from_bytes(secret).to_hex().as_str()));
        assert!(!shown.contains(&format!("{secret:?}")));
    }
    assert!(!shown.contains("a7a7") && !shown.contains("167, 167"));
}

/// The Python face moves carriers between threads.
#[test]
fn carriers_may_change_threads() {
    fn may_change_threads<T: Send + Sync>() {}
    may_change_threads::<Carrier>();
    may_change_threads::<TlsConfig>();
}

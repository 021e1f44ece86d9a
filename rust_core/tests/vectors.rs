//! The vector files that all faces of Web4 share (SIG-5). They were made by other people's code.

use serde_json::Value;
use web4_core::canonical::{CanonicalError, canonicalize, validate};
use web4_core::envelope::{Envelope, EnvelopeError, seal};
use web4_core::identity::{Domain, Identity, SignatureCheck, fingerprint, verify, verify_many};

fn file(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn list<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    let entries = document[key].as_array().unwrap();
    assert!(!entries.is_empty());
    entries
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_else(|| panic!("{key} of {entry}"))
}

fn bytes(entry: &Value, key: &str) -> Vec<u8> {
    let hex = text(entry, key);
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn array<const N: usize>(entry: &Value, key: &str) -> [u8; N] {
    bytes(entry, key).try_into().unwrap()
}

/// Bytes in which one long run of `x` may be abbreviated.
fn packed(entry: &Value) -> Vec<u8> {
    let mut data = bytes(entry, "data");
    if let Some(at) = entry["run_at"].as_u64() {
        let run = vec![b'x'; usize::try_from(entry["run_length"].as_u64().unwrap()).unwrap()];
        data.splice(at as usize..at as usize, run);
    }
    data
}

#[test]
fn env_canonical_vectors_accepted() {
    let document = file("canonical");
    for entry in list(&document, "accepted") {
        let (input, canonical) = (bytes(entry, "input"), bytes(entry, "canonical"));
        let name = text(entry, "name");
        assert_eq!(canonicalize(&input).as_deref(), Ok(canonical.as_slice()), "{name}");
        assert_eq!(canonicalize(&canonical).as_deref(), Ok(canonical.as_slice()), "{name}");
        assert!(validate(&canonical).is_ok(), "{name}");
        if input != canonical {
            assert_eq!(validate(&input), Err(CanonicalError::NotCanonical), "{name}");
        }
    }
}

#[test]
fn env_canonical_vectors_refused() {
    let document = file("canonical");
    for entry in list(&document, "refused") {
        let input = bytes(entry, "input");
        for error in [canonicalize(&input).map(drop), validate(&input).map(drop)] {
            assert!(
                matches!(error, Err(CanonicalError::Syntax { .. })),
                "{} gave {error:?}",
                text(entry, "name")
            );
        }
    }
}

#[test]
fn members_are_reported_where_they_lie() {
    let input = br#"{"":[],"a":{"b":1},"\\":"x"}"#;
    let canonical = canonicalize(input).unwrap();
    let members = validate(&canonical).unwrap().unwrap();
    let found: Vec<_> = members
        .iter()
        .map(|m| (&canonical[m.key.clone()], &canonical[m.value.clone()], &canonical[m.span()]))
        .collect();
    let expected: [(&[u8], &[u8], &[u8]); 3] = [
        (b"", b"[]", br#""":[]"#),
        (br"\\", br#""x""#, br#""\\":"x""#),
        (b"a", br#"{"b":1}"#, br#""a":{"b":1}"#),
    ];
    assert_eq!(found, expected);
    assert_eq!(validate(b"[1]"), Ok(None));
}

#[test]
fn identities_agree() {
    let document = file("identities");
    for entry in list(&document, "identities") {
        let identity = Identity::from_seed(&array(entry, "seed"));
        assert_eq!(identity.public_key(), array(entry, "public_key"));
        assert_eq!(identity.fingerprint(), text(entry, "fingerprint"));
        assert_eq!(fingerprint(&identity.public_key()), identity.fingerprint());
        assert_eq!(identity.to_pem().as_str(), text(entry, "pem"));
        let read = Identity::from_pem(text(entry, "pem")).unwrap();
        assert_eq!(read.public_key(), identity.public_key());
        assert_eq!(format!("{read:?}"), format!("Identity({:?})", identity.fingerprint()));
    }
}

#[test]
fn pem_that_is_no_single_key_is_refused() {
    let pem = Identity::generate().unwrap().to_pem();
    let cut = pem.replace("PRIVATE KEY", "PUBLIC KEY");
    for bad in ["", "rubbish", &pem[..pem.len() / 2], &cut] {
        assert!(Identity::from_pem(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_signing_domain_has_no_room_for_tricks() {
    assert!(Domain::new("cip", "1.0", "envelope").is_ok());
    let long = "a".repeat(33);
    for bad in ["", "a:b", "a\0b", "A", "é", "a b", &long] {
        assert!(Domain::new(bad, "1.0", "envelope").is_err(), "{bad:?}");
        assert!(Domain::new("cip", bad, "envelope").is_err(), "{bad:?}");
        assert!(Domain::new("cip", "1.0", bad).is_err(), "{bad:?}");
    }
}

#[test]
fn right_signatures_verify() {
    let identities = file("identities");
    let document = file("signatures");
    for entry in list(&document, "accepted") {
        let domain =
            Domain::new(text(entry, "protocol"), text(entry, "version"), text(entry, "purpose")).unwrap();
        let (key, message) = (array(entry, "public_key"), bytes(entry, "message"));
        verify(&key, &domain, &message, &array(entry, "signature")).unwrap();
        let signer = list(&identities, "identities")
            .iter()
            .find(|identity| identity["public_key"] == entry["public_key"])
            .unwrap();
        let signature = Identity::from_seed(&array(signer, "seed")).sign(&domain, &message);
        assert_eq!(signature, array(entry, "signature"));
    }
}

/// The checks of the file that have keys and signatures of the right length, and whether they are to pass.
fn checks() -> Vec<(SignatureCheck, bool)> {
    let document = file("signatures");
    let mut checks = Vec::new();
    for (kind, right) in [("accepted", true), ("refused", false)] {
        for entry in list(&document, kind) {
            let message = bytes(entry, "message");
            let domain =
                Domain::new(text(entry, "protocol"), text(entry, "version"), text(entry, "purpose")).unwrap();
            let signed_bytes = domain.signed_bytes([message.as_slice()], message.len());
            let (key, signature) = (bytes(entry, "public_key"), bytes(entry, "signature"));
            if let (Ok(public_key), Ok(signature)) = (key.try_into(), signature.try_into()) {
                checks.push((SignatureCheck { public_key, signed_bytes, signature }, right));
            }
        }
    }
    checks
}

#[test]
fn sig_batch_equals_single() {
    let checks = checks();
    for (check, right) in &checks {
        assert_eq!(check.verify().is_ok(), *right, "{check:?}");
    }
    // The shares of the threads fall differently with each length.
    for len in (0..=20).chain([checks.len() - 1, checks.len()]) {
        let batch: Vec<_> = checks.iter().rev().take(len).map(|(check, _)| check.clone()).collect();
        let single: Vec<_> = batch.iter().map(SignatureCheck::verify).collect();
        assert_eq!(verify_many(&batch), single);
    }
}

#[test]
fn envelopes_are_sealed_parsed_and_verified() {
    let document = file("envelopes");
    let identity = Identity::from_seed(&array(&document, "seed"));
    let max = document["max_bytes"].as_u64().unwrap() as usize;
    for entry in list(&document, "accepted") {
        let name = text(entry, "name");
        let (unsigned, expected) = (bytes(entry, "unsigned"), bytes(entry, "sealed"));
        assert_eq!(seal(&identity, &unsigned, max).unwrap(), expected, "{name}");
        let spaced = [b" ".as_slice(), &unsigned, b"\n"].concat();
        assert_eq!(seal(&identity, &spaced, max).unwrap(), expected, "{name}");
        assert_eq!(seal(&identity, &expected, max), Err(EnvelopeError::Field("sign")), "{name}");

        let envelope = Envelope::parse(expected.as_slice(), max).unwrap();
        envelope.verify(&identity.public_key()).unwrap();
        assert_eq!(envelope.protocol().name(), text(entry, "protocol"));
        assert_eq!(envelope.version(), text(entry, "version"));
        assert_eq!(envelope.kind(), text(entry, "type"));
        assert_eq!(envelope.msg_id().as_deref(), entry["msg_id"].as_str());
        assert_eq!(envelope.timestamp().as_deref(), entry["timestamp"].as_str());
        let digest = web4_core::hash::hex(&envelope.content_digest());
        assert_eq!(digest, text(entry, "content_digest"), "{name}");
        // The digest does not depend on signature or time.
        assert_eq!(
            Envelope::parse(unsigned.as_slice(), max).unwrap().content_digest(),
            envelope.content_digest()
        );
    }
}

#[test]
fn env_reject_matrix_of_the_generic_envelope() {
    let document = file("envelopes");
    let identity = Identity::from_seed(&array(&document, "seed"));
    let max = document["max_bytes"].as_u64().unwrap() as usize;
    for entry in list(&document, "refused") {
        let data = packed(entry);
        let result = Envelope::parse(data.as_slice(), max)
            .and_then(|envelope| envelope.verify(&identity.public_key()));
        let error = result.expect_err(text(entry, "name"));
        assert_eq!(error.code(), text(entry, "code"), "{}", text(entry, "name"));
        assert_eq!(error.field(), entry["field"].as_str(), "{}", text(entry, "name"));
    }
}

#[test]
fn sizes_are_checked_to_the_byte() {
    let identity = Identity::from_seed(&[7; 32]);
    let unsigned = br#"{"cip":"1.0","type":"T"}"#;
    let len = seal(&identity, unsigned, 4096).unwrap().len();
    assert_eq!(seal(&identity, unsigned, len).unwrap().len(), len);
    assert_eq!(seal(&identity, unsigned, len - 1), Err(EnvelopeError::TooLarge { limit: len - 1 }));
    let sealed = seal(&identity, unsigned, len).unwrap();
    assert!(Envelope::parse(sealed.as_slice(), len).is_ok());
    assert_eq!(Envelope::parse(sealed.as_slice(), len - 1).unwrap_err().code(), "too_large");
    // Whatever a node allows, 256 KiB is the end (ENV-3).
    let huge = vec![b'x'; 256 * 1024 + 1];
    assert_eq!(Envelope::parse(huge.as_slice(), usize::MAX).unwrap_err().code(), "too_large");
}

#[test]
fn sig_bitflip_every_byte() {
    let document = file("envelopes");
    let identity = Identity::from_seed(&array(&document, "seed"));
    let sealed = bytes(&list(&document, "accepted")[0], "sealed");
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1 << bit;
            let result = Envelope::parse(flipped.as_slice(), usize::MAX)
                .and_then(|envelope| envelope.verify(&identity.public_key()));
            assert!(result.is_err(), "byte {at}, bit {bit}");
        }
    }
}

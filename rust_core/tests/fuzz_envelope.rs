//! Fuzzes the envelope parser on the stable toolchain: mutations of a seed corpus, and structured rubbish.
//!
//! `WEB4_FUZZ_ITERATIONS` (default 20 000) and `WEB4_FUZZ_SEED` (default: the time) are read from the
//! environment; the seed is printed, so that a failure can be repeated:
//!
//! ```text
//! WEB4_FUZZ_ITERATIONS=1000000 cargo test --release --test fuzz_envelope -- --nocapture
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use arbitrary::{Arbitrary, Unstructured};
use web4_core::canonical::{self, CanonicalError};
use web4_core::envelope::{Envelope, EnvelopeError, seal};
use web4_core::identity::Identity;

const MAX_LEN: usize = 192 * 1024;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// One step of spoiling an input.
#[derive(Debug, Arbitrary)]
enum Mutation {
    Flip { at: u32, bit: u8 },
    Set { at: u32, byte: u8 },
    Insert { at: u32, token: u8 },
    Remove { at: u32, len: u8 },
    Repeat { at: u32, len: u8, times: u8 },
    Swap { a: u32, b: u32, len: u8 },
    Truncate { at: u32 },
}

/// What a JSON parser stumbles over.
const TOKENS: [&[u8]; 34] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\u00e9",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\xef\xbb\xbf",
    b" ",
    b"\n",
    b"\0",
    b"-",
    b"0",
    b"1e400",
    b"9007199254740992",
    b"1.0",
    b"-0",
    b"null",
    b"NaN",
    b"{\"a\":1}",
    b"\"cip\":\"1.0\",",
    b"\"hcp\":\"1.0\",",
    b"\"mesh\":\"1.0\",",
    b"\"hops\":[],",
    b",\"sign\":{}",
    b"[[[[[[[[",
    b"\"type\":\"T\"",
];

impl Mutation {
    fn apply(&self, data: &mut Vec<u8>) {
        let place = |at: u32, len: usize| at as usize % len.max(1);
        let len = data.len();
        match *self {
            Self::Insert { at, token } => {
                let at = place(at, len + 1);
                data.splice(at..at, TOKENS[usize::from(token) % TOKENS.len()].iter().copied());
            }
            _ if data.is_empty() => {}
            Self::Flip { at, bit } => data[place(at, len)] ^= 1 << (bit % 8),
            Self::Set { at, byte } => data[place(at, len)] = byte,
            Self::Remove { at, len: count } => {
                let at = place(at, len);
                data.drain(at..(at + usize::from(count)).min(len));
            }
            Self::Repeat { at, len: count, times } => {
                let at = place(at, len);
                let part = data[at..(at + usize::from(count)).min(len)].repeat(usize::from(times));
                data.splice(at..at, part);
            }
            Self::Swap { a, b, len: count } => {
                let (a, b) = (place(a, len), place(b, len));
                for offset in 0..usize::from(count).min(len - a.max(b)) {
                    data.swap(a + offset, b + offset);
                }
            }
            Self::Truncate { at } => data.truncate(place(at, len)),
        }
    }
}

fn corpus(identity: &Identity) -> Vec<Vec<u8>> {
    let unsigned: [&[u8]; 7] = [
        br#"{"cip":"1.0","type":"T"}"#,
        br#"{"lip":"1.0","msg_id":"1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b11","payload":{"claims":[],"confidence":0.25},"timestamp":"2026-01-02T03:04:05.678Z","type":"LIP_EVIDENCE"}"#,
        "{\"hcp\":\"1.0\",\"payload\":{\"\u{e000}\":[1,-1.5,1e-7,true,null],\"\u{10000}\":\"\u{1f600}\\n\\u0000\"},\"type\":\"HCP_HELLO\"}".as_bytes(),
        br#"{"cip":"1.0","payload":{"a":[[[[[[[[[[{"b":{"c":{"d":{}}}}]]]]]]]]]]},"type":"INTENT"}"#,
        br#"{"mesh":"1.0","hops":[],"type":"T"}"#,
        br#"{"created_at":"2026-01-02T03:04:05.678Z","destination":"*","hops":["aa","bb"],"id":"1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b11","mesh":"1.0","origin":"cc","payload":{"hops":[]},"ttl_ms":60000,"type":"MESH_RELAY"}"#,
        br#"{"cip":"1.0","payload":[0,9007199254740991,-9007199254740991,5e-324,0.1],"type":"T","zz":"\\\"\t"}"#,
    ];
    unsigned.into_iter().map(|unsigned| seal(identity, unsigned, MAX_LEN).unwrap()).collect()
}

/// Whether a genuine envelope says the same. Who passes a mesh envelope on may change its `hops`, nothing else.
fn is_genuine(data: &[u8], genuine: &[Vec<u8>]) -> bool {
    let signed = |data: &[u8]| {
        let mut fields: serde_json::Value = serde_json::from_slice(data).unwrap();
        if fields.get("mesh").is_some() {
            fields.as_object_mut().unwrap().remove("hops");
        }
        fields
    };
    genuine.iter().any(|sealed| sealed == data || signed(sealed) == signed(data))
}

/// What must hold for any bytes.
fn check(data: &[u8], identity: &Identity, genuine: &[Vec<u8>]) -> bool {
    let tree = canonical::canonicalize(data);
    match canonical::validate(data) {
        Ok(_) => assert_eq!(tree.as_deref(), Ok(data), "accepted, but not its own canonical form"),
        Err(CanonicalError::NotCanonical) => assert_ne!(tree.expect("it is strict JSON"), data),
        Err(error) => assert_eq!(tree, Err(error)),
    }
    let Ok(envelope) = Envelope::parse(data, MAX_LEN) else {
        return false;
    };
    assert!(data.len() <= MAX_LEN);
    let digest = envelope.content_digest();
    let verified = envelope.verify(&identity.public_key());
    if verified.is_ok() {
        assert!(is_genuine(data, genuine), "accepted a forgery");
    }
    if let Ok(longer) = envelope.with_hop("dd") {
        let longer = Envelope::parse(longer.as_slice(), MAX_LEN + 8).expect("canonical as before");
        assert_eq!(longer.content_digest(), digest);
        assert_eq!(longer.verify(&identity.public_key()), verified);
    }
    // Signing anew what was signed badly gives an envelope of the same content.
    match seal(identity, data, MAX_LEN) {
        Ok(sealed) => {
            let envelope = Envelope::parse(sealed.as_slice(), MAX_LEN).unwrap();
            envelope.verify(&identity.public_key()).unwrap();
            assert_eq!(envelope.content_digest(), digest);
        }
        Err(EnvelopeError::Field("sign") | EnvelopeError::TooLarge { .. }) => {}
        Err(error) => panic!("parsed, but cannot be sealed: {error}"),
    }
    true
}

fn from_environment(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).map_or_else(|_| default(), |value| value.parse().expect("a number"))
}

#[test]
fn env_fuzz() {
    let iterations = from_environment("WEB4_FUZZ_ITERATIONS", || 20_000);
    let seed = from_environment("WEB4_FUZZ_SEED", || {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
    });
    println!("WEB4_FUZZ_SEED={seed} WEB4_FUZZ_ITERATIONS={iterations}");
    let mut random = Random(seed);
    let identity = Identity::from_seed(&[1; 32]);
    let genuine = corpus(&identity);
    let mut parsed = 0_u64;
    for iteration in 0..iterations {
        let data = if iteration % 16 == 0 {
            let len = random.below(512);
            random.bytes(len)
        } else {
            let mut data = genuine[random.below(genuine.len())].clone();
            let entropy = random.bytes(64);
            let mut entropy = Unstructured::new(&entropy);
            for _ in 0..=random.below(4) {
                Mutation::arbitrary(&mut entropy).unwrap().apply(&mut data);
            }
            data
        };
        parsed += u64::from(check(&data, &identity, &genuine));
    }
    println!("{parsed} of {iterations} inputs were well-formed envelopes; none was a forgery");
    // Were nothing well-formed, the corpus would have rotted and the test would prove little.
    assert!(parsed > 0 || iterations < 1000);
}

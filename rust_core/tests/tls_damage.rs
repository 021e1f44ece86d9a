//! What somebody who can write to the byte stream can do: end a carrier, and nothing else (RTT-46, RTT-49).

mod pair;

use pair::{Pair, deliver, identity, transmitted};
use web4_core::carrier::{
    Carrier, CarrierError, CarrierErrorCode as Code, Expect, HANDSHAKE_LIMIT, RECORD_PAYLOAD,
};

const CONTEXT: &[u8] = b"sixteen byte id!";

/// Flights of a handshake: the dialer's hello, the acceptor's answer, the dialer's proof.
const FLIGHTS: usize = 3;

/// A handshake of identities 1 and 2 in which `damage` changes one flight on its way.
struct Damaged {
    pair: Pair,
    dialer: Result<(), CarrierError>,
    acceptor: Result<(), CarrierError>,
}

impl Damaged {
    fn run(flight: usize, damage: impl FnOnce(&mut Vec<u8>)) -> Self {
        let expect = Expect::Fingerprint(identity_2().fingerprint());
        let pair = Pair::new(identity_1(), identity_2(), expect);
        let mut run = Self { pair, dialer: Ok(()), acceptor: Ok(()) };
        let mut damage = Some(damage);
        for current in 0.. {
            let from_dialer = current % 2 == 0;
            let sender = if from_dialer { &mut run.pair.dialer } else { &mut run.pair.acceptor };
            let mut wire = transmitted(sender);
            if current == flight {
                damage.take().expect("once")(&mut wire);
            }
            if wire.is_empty() && current >= FLIGHTS {
                break;
            }
            let (receiver, result) = match from_dialer {
                true => (&mut run.pair.acceptor, &mut run.acceptor),
                false => (&mut run.pair.dialer, &mut run.dialer),
            };
            if result.is_ok() {
                *result = deliver(receiver, &wire).map(drop);
            }
        }
        run
    }

    /// Nothing more will come: whoever still waits is told.
    fn end(mut self) -> Self {
        if self.pair.dialer.is_handshaking() && self.dialer.is_ok() {
            self.dialer = self.pair.dialer.receive_end();
        }
        if self.pair.acceptor.is_handshaking() && self.acceptor.is_ok() {
            self.acceptor = self.pair.acceptor.receive_end();
        }
        self
    }

    /// What holds whatever the damage was.
    fn check(&self, what: &str) {
        for (result, code_set) in [(&self.dialer, DIALER_CODES), (&self.acceptor, ACCEPTOR_CODES)] {
            let Err(error) = result else { continue };
            assert!(!error.is_authentication(), "{what}: damage is no authentication failure: {error}");
            assert!(code_set.contains(&error.code()), "{what}: {:?}: {error}", error.code());
        }
        for (carrier, peer) in [(&self.pair.dialer, identity_2()), (&self.pair.acceptor, identity_1())] {
            if let Some(proven) = carrier.peer_fingerprint() {
                assert_eq!(*proven, peer.fingerprint(), "{what}: the wrong peer was proven");
            }
        }
        if self.opened() {
            let [ours, theirs] = [&self.pair.dialer, &self.pair.acceptor]
                .map(|carrier| carrier.export_binding(CONTEXT).expect("open"));
            assert_eq!(ours, theirs, "{what}: open with different bindings");
        }
    }

    fn opened(&self) -> bool {
        self.dialer.is_ok()
            && self.acceptor.is_ok()
            && !self.pair.dialer.is_handshaking()
            && !self.pair.acceptor.is_handshaking()
    }
}

/// What damage may look like to either side.
const DIALER_CODES: &[Code] =
    &[Code::Damaged, Code::Truncated, Code::Refused, Code::Alpn, Code::TlsVersion, Code::TlsParameters];
const ACCEPTOR_CODES: &[Code] = &[
    Code::Damaged,
    Code::Truncated,
    Code::Refused,
    Code::Alpn,
    Code::TlsVersion,
    Code::TlsParameters,
    Code::NoRawKey,
    Code::Resumption,
];

fn identity_1() -> &'static web4_core::carrier::TlsConfig {
    static IDENTITY: std::sync::LazyLock<web4_core::carrier::TlsConfig> =
        std::sync::LazyLock::new(|| identity(1));
    &IDENTITY
}

fn identity_2() -> &'static web4_core::carrier::TlsConfig {
    static IDENTITY: std::sync::LazyLock<web4_core::carrier::TlsConfig> =
        std::sync::LazyLock::new(|| identity(2));
    &IDENTITY
}

fn flight_length(flight: usize) -> usize {
    let mut length = 0;
    let run = Damaged::run(flight, |wire| length = wire.len());
    assert!(run.opened() && length > 0, "an undamaged handshake opens");
    length
}

/// Every bit of every flight. Only flips in the type and version of a record header may go unnoticed: rustls
/// authenticates what they must be in TLS 1.3, not what they are, and reads the content alike.
#[test]
fn every_flipped_bit_of_a_handshake_is_harmless() {
    for flight in 0..FLIGHTS {
        for index in 0..flight_length(flight) {
            for bit in 0..8 {
                let mut in_header = false;
                let run = Damaged::run(flight, |wire| {
                    in_header = record_tags(wire).any(|at| at == index);
                    wire[index] ^= 1 << bit;
                })
                .end();
                let what = format!("flight {flight}, byte {index}, bit {bit}");
                run.check(&what);
                assert!(!run.opened() || in_header, "{what} went unnoticed");
            }
        }
    }
}

/// Where type and version stand in each record header of `wire`.
fn record_tags(wire: &[u8]) -> impl Iterator<Item = usize> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < wire.len() {
        records.push(at);
        at += 5 + usize::from(u16::from_be_bytes([wire[at + 3], wire[at + 4]]));
    }
    records.into_iter().flat_map(|at| [at, at + 1, at + 2])
}

/// Every cut: both sides know that bytes are missing, and the pair never opens.
#[test]
fn every_truncation_of_a_handshake_is_a_failed_carrier() {
    for flight in 0..FLIGHTS {
        for length in 0..flight_length(flight) {
            let run = Damaged::run(flight, |wire| wire.truncate(length)).end();
            run.check(&format!("flight {flight} cut to {length} bytes"));
            assert!(!run.opened());
            let cut_off = if flight == 1 { &run.dialer } else { &run.acceptor };
            assert_eq!(cut_off.as_ref().expect_err("cut").code(), Code::Truncated);
        }
    }
}

/// A recorded dialer proves nothing a second time, and a recorded acceptor nothing to another dialer.
#[test]
fn a_replayed_handshake_is_refused() {
    let mut recorded = Vec::new();
    for flight in 0..FLIGHTS {
        // One handshake, recorded flight by flight, gives other bytes each time; so record all of one.
        recorded.clear();
        let mut pair = Pair::new(identity_1(), identity_2(), Expect::Any);
        for current in 0..FLIGHTS {
            let (sender, receiver) = match current % 2 {
                0 => (&mut pair.dialer, &mut pair.acceptor),
                _ => (&mut pair.acceptor, &mut pair.dialer),
            };
            let wire = transmitted(sender);
            deliver(receiver, &wire).expect("honest");
            recorded.push(wire);
        }
        let run = Damaged::run(flight, |wire| wire.clone_from(&recorded[flight])).end();
        run.check(&format!("flight {flight} replayed"));
        assert!(!run.opened());
    }
    let mut acceptor = Carrier::accept(identity_2()).expect("randomness");
    acceptor.receive(&recorded[0]).expect("a hello is a hello");
    let error = acceptor.receive(&recorded[2]).expect_err("for other keys");
    assert_eq!((error.code(), error.proven()), (Code::Damaged, None));
}

/// Three records, and what arrives when `damage` had them.
fn damaged_records(damage: impl FnOnce(&mut Vec<Vec<u8>>)) -> (Vec<u8>, Option<CarrierError>) {
    let mut pair = Pair::open();
    let mut records: Vec<Vec<u8>> = [&b"first"[..], b"second", b"third"]
        .iter()
        .map(|text| {
            pair.dialer.send(text).expect("open");
            transmitted(&mut pair.dialer)
        })
        .collect();
    damage(&mut records);
    let mut received = Vec::new();
    let wire = records.concat();
    let mut rest = &wire[..];
    while !rest.is_empty() {
        let result = pair.acceptor.receive(rest);
        pair::read_into(&mut pair.acceptor, &mut received);
        match result {
            Ok(taken) => rest = &rest[taken..],
            Err(error) => return (received, Some(error)),
        }
    }
    (received, None)
}

const ALL: &[u8] = b"firstsecondthird";

/// RTT-49: whatever happens to a record, what was read before is exact and the rest is refused.
#[test]
fn altered_repeated_reordered_and_missing_records_end_the_carrier() {
    let refused = |what: &str, kept: &[u8], (received, error): (Vec<u8>, Option<CarrierError>)| {
        assert_eq!(received, kept, "{what}");
        let error = error.unwrap_or_else(|| panic!("{what} went unnoticed"));
        assert_eq!(error.code(), Code::Damaged, "{what}");
        assert!(!error.is_authentication());
        assert_eq!(error.proven(), Some(&identity_1().fingerprint()));
    };
    refused("repeated", b"firstsecond", damaged_records(|records| records.insert(2, records[1].clone())));
    refused("reordered", b"first", damaged_records(|records| records.swap(1, 2)));
    refused("missing", b"first", damaged_records(|records| drop(records.remove(1))));
    refused("byte missing", b"first", damaged_records(|records| records[1].truncate(20)));
    refused("byte inserted", b"firstsecond", damaged_records(|records| records[1].push(0)));
    let alert = vec![21, 3, 3, 0, 2, 1, 0];
    refused("plaintext close_notify", b"first", damaged_records(|records| records.insert(1, alert)));
    let cipher_change = vec![20, 3, 3, 0, 1, 1];
    refused("cipher change", b"first", damaged_records(|records| records.insert(1, cipher_change)));
    let plaintext = vec![23, 3, 3, 0, 5, b'd', b'a', b't', b'a', b'!'];
    refused("plaintext data", b"first", damaged_records(|records| records.insert(1, plaintext)));
}

#[test]
fn every_flipped_bit_of_a_record_ends_the_carrier() {
    let mut length = 0;
    damaged_records(|records| length = records[1].len());
    for index in 0..length {
        for bit in 0..8 {
            let (received, error) = damaged_records(|records| records[1][index] ^= 1 << bit);
            match error {
                // A longer length waits for bytes that may yet come.
                None if index == 3 || index == 4 => assert_eq!(received, b"first"),
                // Type and version are not what rustls authenticates; the content is as it was.
                None if index < 3 => assert_eq!(received, ALL),
                None => panic!("byte {index}, bit {bit} went unnoticed"),
                Some(error) => {
                    assert_eq!(received, b"first");
                    assert_eq!(error.code(), Code::Damaged);
                }
            }
        }
    }
}

/// A plaintext alert in place of an answer: no reason to stop dialling.
#[test]
fn a_forged_alert_is_a_failed_carrier() {
    for alert in 1..=u8::MAX {
        let mut dialer = Carrier::dial(identity_1(), Expect::Any).expect("randomness");
        transmitted(&mut dialer);
        let error = dialer.receive(&[21, 3, 3, 0, 2, 2, alert]).expect_err("fatal");
        assert!(!error.is_authentication(), "alert {alert}");
        assert_eq!((error.alert(), error.proven()), (Some(alert), None));
    }
}

/// The proven peer alone is charged with what only it can do.
#[test]
fn a_flood_of_key_updates_is_a_violation() {
    let mut pair = Pair::open();
    for _ in 0..100 {
        pair.dialer.refresh_traffic_keys().expect("open");
    }
    let error = deliver(&mut pair.acceptor, &transmitted(&mut pair.dialer)).expect_err("a flood");
    assert_eq!(error.code(), Code::Violation);
    assert_eq!(error.proven(), Some(&identity_1().fingerprint()));
}

/// An unproven peer cannot make a carrier hold, or work on, more than the limit.
#[test]
fn an_endless_handshake_is_refused() {
    let mut fragment = vec![22, 3, 3, 0x10, 0];
    fragment.resize(5 + 0x1000, 0);
    // The first says that it begins a message of 64 KiB.
    let mut first = fragment.clone();
    first[5..9].copy_from_slice(&[2, 0, 0xff, 0xff]);
    let mut dialer = Carrier::dial(identity_1(), Expect::Any).expect("randomness");
    dialer.receive(&first).expect("so far so good");
    let mut fed = first.len();
    let error = loop {
        match dialer.receive(&fragment) {
            Ok(taken) => fed += taken,
            Err(error) => break error,
        }
        assert!(fed <= HANDSHAKE_LIMIT + RECORD_PAYLOAD);
    };
    assert_eq!((error.code(), error.proven()), (Code::Damaged, None));
    // To an acceptor only a hello can come first.
    let mut acceptor = Carrier::accept(identity_2()).expect("randomness");
    assert_eq!(acceptor.receive(&first).expect_err("not a hello").code(), Code::Damaged);
}

/// A failed carrier stays failed, with the same error, and is silent after its alert.
#[test]
fn failures_are_final() {
    let mut pair = Pair::open();
    let error = pair.acceptor.receive(&[23, 3, 3, 0, 17].repeat(8)).expect_err("no record");
    pair.dialer.send(b"honest").expect("open");
    let honest = transmitted(&mut pair.dialer);
    assert_eq!(pair.acceptor.receive(&honest).expect_err("final"), error);
    assert_eq!(pair.acceptor.receive_end().expect_err("final"), error);
    assert_eq!(pair.acceptor.send(b"more").expect_err("final"), error);
    assert_eq!(pair.acceptor.export_binding(CONTEXT).expect_err("final"), error);
    assert_eq!(pair.acceptor.failure(), Some(&error));
    assert!(pair.acceptor.plaintext().is_empty());
    let alert = transmitted(&mut pair.acceptor);
    let told = deliver(&mut pair.dialer, &alert).expect_err("an alert");
    assert_eq!((told.code(), told.alert(), told.is_authentication()), (Code::Damaged, Some(20), false));
    pair.acceptor.close();
    assert!(!pair.acceptor.wants_transmit());
}

/// `WEB4_FUZZ_ITERATIONS` handshakes (default 300) with random damage in every flight and after them, in random
/// fragments. The seed is printed with a failure; `WEB4_FUZZ_SEED` sets it.
#[test]
fn random_damage_never_authenticates_wrongly() {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number")),
        Err(_) => default,
    };
    let seed = number("WEB4_FUZZ_SEED", 0x5eed);
    for iteration in 0..number("WEB4_FUZZ_ITERATIONS", 300) {
        let what = format!("WEB4_FUZZ_SEED={seed} iteration {iteration}");
        let mut random = Random(seed ^ (iteration + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let flight = random.below(FLIGHTS);
        let mut run = Damaged::run(flight, |wire| random.damage(wire)).end();
        run.check(&what);
        if run.opened() {
            let message = vec![0x77; random.below(3 * RECORD_PAYLOAD)];
            run.pair.dialer.send(&message).expect("open");
            let mut wire = transmitted(&mut run.pair.dialer);
            random.damage(&mut wire);
            let mut received = Vec::new();
            for fragment in random.fragments(&wire) {
                match deliver(&mut run.pair.acceptor, fragment) {
                    Ok(plaintext) => received.extend(plaintext),
                    Err(error) => {
                        assert_eq!(error.code(), Code::Damaged, "{what}: {error}");
                        break;
                    }
                }
            }
            assert!(message.starts_with(&received), "{what}: other bytes than those sent");
        }
        let mut junk = vec![0; random.below(2000)];
        junk.fill_with(|| random.below(256) as u8);
        if random.below(2) == 0 && junk.len() > 5 {
            junk[..3].copy_from_slice(&[20 + random.below(4) as u8, 3, 3]);
            junk[3] &= 1;
        }
        for mut carrier in [
            Carrier::accept(identity_1()).expect("randomness"),
            Carrier::dial(identity_1(), Expect::Any).expect("randomness"),
        ] {
            for fragment in random.fragments(&junk) {
                if let Err(error) = deliver(&mut carrier, fragment) {
                    assert!(!error.is_authentication() && error.proven().is_none(), "{what}: {error}");
                    break;
                }
            }
            assert!(carrier.is_handshaking(), "{what}");
        }
    }
}

/// SplitMix64.
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
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    /// Up to four changes; sometimes none.
    fn damage(&mut self, wire: &mut Vec<u8>) {
        for _ in 0..self.below(5) {
            if wire.is_empty() {
                return;
            }
            let at = self.below(wire.len());
            let until = at + self.below((wire.len() - at).min(64) + 1);
            match self.below(6) {
                0 => wire[at] ^= 1 << self.below(8),
                1 => wire[at] = self.next() as u8,
                2 => drop(wire.drain(at..until)),
                3 => {
                    let piece = wire[at..until].to_vec();
                    let target = self.below(wire.len() + 1);
                    wire.splice(target..target, piece);
                }
                4 => wire.insert(at, self.next() as u8),
                _ => wire.truncate(at),
            }
        }
    }

    fn fragments<'a>(&mut self, mut wire: &'a [u8]) -> Vec<&'a [u8]> {
        let mut fragments = Vec::new();
        while !wire.is_empty() {
            let longest = if self.below(4) == 0 { 8 } else { wire.len() };
            let (fragment, rest) = wire.split_at(1 + self.below(longest.min(wire.len())));
            fragments.push(fragment);
            wire = rest;
        }
        fragments
    }
}

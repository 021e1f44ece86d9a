//! Two carriers and the wire between them, in memory.

#![allow(dead_code, reason = "each test binary uses its own part")]

use web4_core::carrier::{Carrier, CarrierError, Expect, TlsConfig};

/// The identity that the tests call by a number.
pub fn identity(number: u8) -> TlsConfig {
    TlsConfig::from_seed(&[number; 32]).expect("a valid seed")
}

/// Everything `carrier` wants to transmit now.
pub fn transmitted(carrier: &mut Carrier) -> Vec<u8> {
    let mut wire = Vec::new();
    carrier.transmit_into(&mut wire);
    wire
}

/// Give all of `wire` to `carrier`, collecting the plaintext that becomes readable on the way.
pub fn deliver(carrier: &mut Carrier, mut wire: &[u8]) -> Result<Vec<u8>, CarrierError> {
    let mut plaintext = Vec::new();
    while !wire.is_empty() {
        let taken = carrier.receive(wire);
        read_into(carrier, &mut plaintext);
        wire = &wire[taken?..];
    }
    Ok(plaintext)
}

/// Move all readable plaintext to the end of `plaintext`.
pub fn read_into(carrier: &mut Carrier, plaintext: &mut Vec<u8>) {
    loop {
        let chunk = carrier.plaintext();
        if chunk.is_empty() {
            return;
        }
        plaintext.extend_from_slice(chunk);
        let length = chunk.len();
        carrier.consume(length);
    }
}

/// A dialer and an acceptor.
pub struct Pair {
    pub dialer: Carrier,
    pub acceptor: Carrier,
}

impl Pair {
    pub fn new(dialer: &TlsConfig, acceptor: &TlsConfig, expect: Expect) -> Self {
        Self {
            dialer: Carrier::dial(dialer, expect).expect("randomness"),
            acceptor: Carrier::accept(acceptor).expect("randomness"),
        }
    }

    /// An open pair of identities 1 and 2.
    pub fn open() -> Self {
        let mut pair = Self::new(&identity(1), &identity(2), Expect::Fingerprint(identity(2).fingerprint()));
        let (dialer, acceptor) = pair.exchange();
        dialer.expect("the dialer opens");
        acceptor.expect("the acceptor opens");
        assert!(!pair.dialer.is_handshaking() && !pair.acceptor.is_handshaking());
        pair
    }

    /// Carry bytes both ways until neither side has more or one has failed and said so.
    pub fn exchange(&mut self) -> (Result<Vec<u8>, CarrierError>, Result<Vec<u8>, CarrierError>) {
        let (mut dialer, mut acceptor) = (Ok(Vec::new()), Ok(Vec::new()));
        loop {
            let out = transmitted(&mut self.dialer);
            let back = transmitted(&mut self.acceptor);
            if out.is_empty() && back.is_empty() {
                return (dialer, acceptor);
            }
            acceptor = append(acceptor, deliver(&mut self.acceptor, &out));
            dialer = append(dialer, deliver(&mut self.dialer, &back));
        }
    }
}

fn append(
    earlier: Result<Vec<u8>, CarrierError>,
    later: Result<Vec<u8>, CarrierError>,
) -> Result<Vec<u8>, CarrierError> {
    let mut plaintext = earlier?;
    plaintext.extend(later?);
    Ok(plaintext)
}

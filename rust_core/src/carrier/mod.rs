//! Carriers: authenticated, encrypted, ordered byte streams (RTT-4 to RTT-10), without I/O.
//!
//! A [`Carrier`] is one TLS 1.3 connection between two endpoints that know each other by key. The caller moves
//! the bytes: what the network delivered goes into [`Carrier::receive`], plaintext is read in place with
//! [`Carrier::plaintext`] and [`Carrier::consume`]; [`Carrier::send`] takes plaintext, and
//! [`Carrier::transmit`] shows the resulting records to a vectored write.
//!
//! ```
//! use web4_core::carrier::{Carrier, Expect, TlsConfig};
//!
//! let (alice, bob) = (TlsConfig::from_seed(&[1; 32])?, TlsConfig::from_seed(&[2; 32])?);
//! let mut dialer = Carrier::dial(&alice, Expect::Fingerprint(bob.fingerprint()))?;
//! let mut acceptor = Carrier::accept(&bob)?;
//!
//! let mut wire = Vec::new();
//! while dialer.is_handshaking() || acceptor.is_handshaking() {
//!     dialer.transmit_into(&mut wire);
//!     acceptor.receive(&std::mem::take(&mut wire))?;
//!     acceptor.transmit_into(&mut wire);
//!     dialer.receive(&std::mem::take(&mut wire))?;
//! }
//! assert_eq!(acceptor.peer_fingerprint(), Some(&alice.fingerprint()));
//!
//! dialer.send(b"hello")?;
//! dialer.transmit_into(&mut wire);
//! acceptor.receive(&wire)?;
//! assert_eq!(acceptor.plaintext(), b"hello");
//! acceptor.consume(5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client_hello;
mod error;
mod tls;
mod verifier;

use std::fmt;
use std::io::{self, IoSlice, Write};

use client_hello::HelloCheck;
use rustls::Connection;

pub use error::{CarrierError, CarrierErrorCode, Role};
pub use tls::{ALPN, Expect, PrivateKeyError, TlsConfig};

/// Largest plaintext of one record, in bytes. Plaintext of this size and its multiples is cheapest to send.
pub const RECORD_PAYLOAD: usize = 16 * 1024;

/// Ciphertext that a carrier holds at most before [`Carrier::send`] takes no more, in bytes.
pub const SEND_LIMIT: usize = 128 * 1024;

/// Bytes that a peer may send before its key is proven. An honest handshake needs less than 1 KiB.
pub const HANDSHAKE_LIMIT: usize = 16 * 1024;

/// Header, content type and tag of one record.
const RECORD_OVERHEAD: usize = 5 + 1 + 16;

const BINDING_LABEL: &[u8] = b"EXPORTER-web4-rtt";

/// One authenticated, encrypted byte stream between two endpoints.
///
/// No operation blocks or does I/O. What is held is bounded: outgoing ciphertext by [`SEND_LIMIT`], incoming
/// plaintext by two records (`receive` stops taking bytes), incoming ciphertext by one record. `Debug` shows
/// the role and the peer's fingerprint only.
pub struct Carrier {
    connection: Connection,
    role: Role,
    /// Public key and fingerprint, once proven and the handshake complete.
    peer: Option<([u8; 32], [u8; 32])>,
    failure: Option<CarrierError>,
    handshake_bytes: usize,
    /// Acceptor: until the dialer's first message was looked at.
    hello: Option<HelloCheck>,
    /// Upper estimate of the ciphertext in `connection`; exact when that is empty.
    outgoing: usize,
    sent_close: bool,
    received_close: bool,
}

impl Carrier {
    /// Start a carrier as the dialer: its first bytes are ready to transmit.
    ///
    /// # Errors
    /// `internal` if the operating system gives no randomness.
    pub fn dial(config: &TlsConfig, expect: Expect) -> Result<Self, CarrierError> {
        Self::new(config.connect(expect).map(Connection::Client), Role::Dialer)
    }

    /// Start a carrier as the acceptor.
    ///
    /// # Errors
    /// `internal` if the operating system gives no randomness.
    pub fn accept(config: &TlsConfig) -> Result<Self, CarrierError> {
        Self::new(config.serve().map(Connection::Server), Role::Acceptor)
    }

    fn new(connection: Result<Connection, rustls::Error>, role: Role) -> Result<Self, CarrierError> {
        let mut connection = connection.map_err(|error| CarrierError::from_tls(&error, role, None))?;
        // `send` keeps the bound itself: it prefers whole records, which rustls' own limit would cut.
        connection.set_buffer_limit(None);
        Ok(Self {
            connection,
            role,
            peer: None,
            failure: None,
            handshake_bytes: 0,
            hello: (role == Role::Acceptor).then(HelloCheck::default),
            outgoing: 0,
            sent_close: false,
            received_close: false,
        })
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the peer's key is not proven yet. Nothing can be sent before that.
    ///
    /// The dialer completes first; the acceptor may still refuse it.
    pub fn is_handshaking(&self) -> bool {
        self.peer.is_none()
    }

    /// Acceptor: whether a whole ClientHello has arrived (for the limit on half-open carriers).
    pub fn has_client_hello(&self) -> bool {
        self.role == Role::Acceptor && self.hello.is_none()
    }

    /// The peer's raw public key, proven. `None` until the handshake is complete.
    pub fn peer_public_key(&self) -> Option<&[u8; 32]> {
        self.peer.as_ref().map(|(key, _)| key)
    }

    /// The fingerprint of the peer's proven key. `None` until the handshake is complete.
    pub fn peer_fingerprint(&self) -> Option<&[u8; 32]> {
        self.peer.as_ref().map(|(_, fingerprint)| fingerprint)
    }

    /// Why the carrier failed, if it did.
    pub fn failure(&self) -> Option<&CarrierError> {
        self.failure.as_ref()
    }

    /// Take ciphertext from the network, cut anywhere, and decrypt what is complete.
    ///
    /// Returns how many bytes were taken. When that is fewer than given, [`Carrier::plaintext`] holds bytes
    /// that have to be consumed first. Bytes after the peer's `close_notify` are taken and ignored. After a
    /// call there may be bytes to transmit: handshake messages, key updates, the alert of an error.
    ///
    /// # Errors
    /// The [`CarrierError`] that ends the carrier, the same from then on. Plaintext that arrived before the
    /// failure stays readable, and an alert may be waiting to be transmitted.
    pub fn receive(&mut self, ciphertext: &[u8]) -> Result<usize, CarrierError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.check_hello(ciphertext)?;
        let mut rest = ciphertext;
        while !rest.is_empty() {
            if self.received_close {
                return Ok(ciphertext.len());
            }
            match self.connection.read_tls(&mut rest) {
                Ok(taken) => self.process(taken)?,
                // rustls takes no more before the plaintext has been read.
                Err(_) if self.has_plaintext() => break,
                Err(_) => {
                    let error = CarrierError::new(CarrierErrorCode::Damaged, self.proven());
                    return Err(self.fail(error.with_detail("a message is larger than TLS allows")));
                }
            }
        }
        Ok(ciphertext.len() - rest.len())
    }

    /// Tell the carrier that the byte stream delivers no more.
    ///
    /// # Errors
    /// `truncated` unless the peer had sent its `close_notify` (RTT-49), or the earlier failure.
    pub fn receive_end(&mut self) -> Result<(), CarrierError> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None if self.received_close => Ok(()),
            None => {
                let error = CarrierError::new(CarrierErrorCode::Truncated, self.proven());
                Err(self.fail(error))
            }
        }
    }

    /// Whether the peer has ended its direction with `close_notify`. What it sent before may still be unread.
    pub fn peer_closed(&self) -> bool {
        self.received_close
    }

    /// The next decrypted bytes, in place; empty when there are none. Valid until the next call.
    pub fn plaintext(&mut self) -> &[u8] {
        if self.peer.is_none() {
            return &[];
        }
        self.connection.reader().into_first_chunk().unwrap_or_default()
    }

    /// Release the first `length` bytes of [`Carrier::plaintext`].
    ///
    /// # Panics
    /// If that is more than `plaintext` returned.
    pub fn consume(&mut self, length: usize) {
        io::BufRead::consume(&mut self.connection.reader(), length);
    }

    fn has_plaintext(&mut self) -> bool {
        !self.plaintext().is_empty()
    }

    /// Encrypt plaintext into records of up to [`RECORD_PAYLOAD`] bytes. Returns how many bytes were taken:
    /// all of them, or as many whole records as still fit under [`SEND_LIMIT`], possibly none.
    ///
    /// Every call begins a new record: give it as many frames at once as there are.
    ///
    /// # Errors
    /// `handshaking` before the peer's key is proven, `closed` after [`Carrier::close`], or the failure of the
    /// carrier. Nothing was taken then.
    pub fn send(&mut self, plaintext: &[u8]) -> Result<usize, CarrierError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.is_handshaking() {
            return Err(CarrierError::new(CarrierErrorCode::Handshaking, None));
        }
        if self.sent_close {
            return Err(CarrierError::new(CarrierErrorCode::Closed, self.proven()));
        }
        let cost = |bytes: usize| bytes + bytes.div_ceil(RECORD_PAYLOAD) * RECORD_OVERHEAD;
        let room = SEND_LIMIT.saturating_sub(self.outgoing);
        let taken = if cost(plaintext.len()) <= room {
            plaintext.len()
        } else {
            room / (RECORD_PAYLOAD + RECORD_OVERHEAD) * RECORD_PAYLOAD
        };
        let written = self.connection.writer().write(&plaintext[..taken]);
        self.outgoing += cost(taken);
        match written {
            Ok(written) if written == taken => Ok(taken),
            // rustls stops taking bytes when its record counter ends, far beyond the key updates it makes.
            _ => {
                let error = CarrierError::new(CarrierErrorCode::Internal, self.proven());
                Err(self.fail(error))
            }
        }
    }

    /// Whether there are bytes to transmit.
    pub fn wants_transmit(&self) -> bool {
        self.connection.wants_write()
    }

    /// Show the oldest ciphertext to `write`, at most 64 slices in order, and release as many bytes as it says
    /// it has written. `write` is not called when there is nothing to transmit; an error releases nothing.
    ///
    /// # Errors
    /// What `write` returns, or an error if it claims more than it was shown.
    pub fn transmit(&mut self, write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<usize> {
        let written = self.connection.write_tls(&mut VectoredWrite(write))?;
        self.released(written);
        Ok(written)
    }

    /// Append all waiting ciphertext to `wire`.
    pub fn transmit_into(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            // Writing to a vector does not fail, and takes everything it is shown.
            let written = self.connection.write_tls(wire).unwrap_or_default();
            self.released(written);
        }
    }

    fn released(&mut self, written: usize) {
        self.outgoing = if self.connection.wants_write() { self.outgoing.saturating_sub(written) } else { 0 };
    }

    /// The binding of this carrier (RTT-8): 32 bytes that both ends, and nobody else, compute from the same
    /// context. Secret: never sent, never logged.
    ///
    /// # Errors
    /// `handshaking` before the peer's key is proven, or the failure of the carrier.
    pub fn export_binding(&self, context: &[u8]) -> Result<[u8; 32], CarrierError> {
        self.check_open()?;
        self.connection
            .export_keying_material([0; 32], BINDING_LABEL, Some(context))
            .map_err(|error| CarrierError::from_tls(&error, self.role, self.proven()))
    }

    /// Update the keys of the sending direction, and ask the peer to update the other one (RTT-47). The message
    /// precedes everything sent afterwards.
    ///
    /// # Errors
    /// `handshaking` before the peer's key is proven, or the failure of the carrier.
    pub fn refresh_traffic_keys(&mut self) -> Result<(), CarrierError> {
        self.check_open()?;
        self.connection
            .refresh_traffic_keys()
            .map_err(|error| CarrierError::from_tls(&error, self.role, self.proven()))
    }

    /// End the sending direction with `close_notify`, which the peer can tell from a cut. Closing twice, or
    /// after a failure, changes nothing.
    pub fn close(&mut self) {
        self.sent_close = true;
        self.connection.send_close_notify();
    }

    fn check_open(&self) -> Result<(), CarrierError> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None if self.is_handshaking() => Err(CarrierError::new(CarrierErrorCode::Handshaking, None)),
            None => Ok(()),
        }
    }

    fn proven(&self) -> Option<[u8; 32]> {
        self.peer_fingerprint().copied()
    }

    fn check_hello(&mut self, ciphertext: &[u8]) -> Result<(), CarrierError> {
        let Some(check) = &mut self.hello else {
            return Ok(());
        };
        match check.advance(ciphertext) {
            Ok(whole) => {
                if whole {
                    self.hello = None;
                }
                Ok(())
            }
            Err(code) => {
                self.connection.send_close_notify();
                let error = CarrierError::new(code, None);
                Err(self.fail(error.with_detail("in place of an acceptable ClientHello")))
            }
        }
    }

    fn process(&mut self, taken: usize) -> Result<(), CarrierError> {
        match self.connection.process_new_packets() {
            Ok(state) => self.received_close = state.peer_has_closed(),
            Err(error) => {
                let error = CarrierError::from_tls(&error, self.role, self.proven());
                return Err(self.fail(error));
            }
        }
        if self.peer.is_some() {
            return Ok(());
        }
        self.handshake_bytes += taken;
        if !self.connection.is_handshaking() {
            self.complete_handshake()
        } else if self.handshake_bytes > HANDSHAKE_LIMIT {
            let error = CarrierError::new(CarrierErrorCode::Damaged, None);
            Err(self.fail(error.with_detail("the handshake is too long")))
        } else {
            Ok(())
        }
    }

    fn complete_handshake(&mut self) -> Result<(), CarrierError> {
        let key = match self.connection.peer_certificates() {
            Some([certificate]) => verifier::ed25519_key(certificate).ok(),
            _ => None,
        };
        let Some(key) = key else {
            let error = CarrierError::new(CarrierErrorCode::BadKey, None);
            return Err(self.fail(error));
        };
        let fingerprint = verifier::fingerprint(&key);
        if self.connection.alpn_protocol() != Some(ALPN) {
            // Only an acceptor can do this: it picked no protocol. What waits to be transmitted would tell it
            // our key; it gets nothing.
            while self.connection.wants_write() {
                let dropped = self.connection.write_tls(&mut io::sink()).unwrap_or_default();
                self.released(dropped);
            }
            let error = CarrierError::new(CarrierErrorCode::Alpn, Some(fingerprint));
            return Err(self.fail(error));
        }
        self.peer = Some((key, fingerprint));
        Ok(())
    }

    fn fail(&mut self, error: CarrierError) -> CarrierError {
        self.failure = Some(error.clone());
        error
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer_fingerprint().map(|peer| blake3::Hash::from_bytes(*peer).to_hex());
        f.debug_struct("Carrier")
            .field("role", &self.role)
            .field("peer", &peer.as_deref())
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

/// Lends the slices that rustls shows to a function.
struct VectoredWrite<F>(F);

impl<F: FnMut(&[IoSlice<'_>]) -> io::Result<usize>> Write for VectoredWrite<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (self.0)(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

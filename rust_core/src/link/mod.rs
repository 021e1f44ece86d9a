//! A carrier on its way: TLS, on a wire, under an opening or a session. This is what production drives; it moves
//! bytes between the parts and decides nothing.

mod buffered;
mod heap;
mod opening;
mod session;
mod wire;

use std::cell::RefCell;
use std::io;

use crate::carrier::{Carrier, CarrierError};
use buffered::Fed;

pub use buffered::{BUFFERED_LIMIT, Buffered, WireFull};
pub use opening::{OpeningError, OpeningLink, Progress, Purpose};
pub use session::{AttachError, SessionLink};
pub use wire::Wire;

/// Ciphertext read from the operating system at once.
const READ_BYTES: usize = 256 * 1024;

thread_local! {
    /// One for all links of a thread, so that an idle one holds none (RTT-52).
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    static FRAME_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    /// Everything that was there is taken in.
    Drained,
    /// There may be more.
    More,
    /// The stream has ended, orderly or not.
    Ended,
}

/// TLS on a wire.
#[derive(Debug)]
struct Conduit {
    carrier: Carrier,
    wire: Wire,
    /// Writing failed: nothing more will go out, and the end of the stream will say why.
    broken: bool,
}

impl Conduit {
    fn new(carrier: Carrier, wire: Wire) -> Conduit {
        Conduit { carrier, wire, broken: false }
    }

    /// Reads once and gives the plaintext to `take`, in order, where it was decrypted.
    fn read(&mut self, take: impl FnMut(&[u8])) -> Result<Arrival, CarrierError> {
        if let Some(buffered) = self.wire.buffered() {
            return match buffered.read() {
                Fed::Bytes(bytes) => self.decrypt(&bytes, Arrival::More, take),
                Fed::Nothing if !self.carrier.peer_closed() => Ok(Arrival::Drained),
                Fed::Nothing => Ok(Arrival::Ended),
                Fed::End => self.end(),
            };
        }
        READ_BUFFER.with_borrow_mut(|buffer| match self.wire.read(buffer) {
            Ok(0) => self.end(),
            Ok(READ_BYTES) => self.decrypt(buffer, Arrival::More, take),
            Ok(count) => self.decrypt(&buffer[..count], Arrival::Drained, take),
            // The peer may have closed in the same breath as it opened, and said nothing more since.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(if self.carrier.peer_closed() { Arrival::Ended } else { Arrival::Drained })
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Arrival::More),
            Err(_) => self.end(),
        })
    }

    fn end(&mut self) -> Result<Arrival, CarrierError> {
        self.carrier.receive_end()?;
        Ok(Arrival::Ended)
    }

    fn decrypt(
        &mut self,
        mut rest: &[u8],
        then: Arrival,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Arrival, CarrierError> {
        let mut outcome = Ok(0);
        while !rest.is_empty() && outcome.is_ok() {
            outcome = self.carrier.receive(rest);
            rest = &rest[*outcome.as_ref().unwrap_or(&0)..];
            loop {
                let plaintext = self.carrier.plaintext();
                let length = plaintext.len();
                if length == 0 {
                    break;
                }
                take(plaintext);
                self.carrier.consume(length);
            }
        }
        outcome?;
        Ok(if self.carrier.peer_closed() { Arrival::Ended } else { then })
    }

    /// Writes what is encrypted. True when everything went, or never will.
    fn flush(&mut self) -> bool {
        let Conduit { carrier, wire, broken } = self;
        while !*broken && carrier.wants_transmit() {
            match carrier.transmit(|slices| wire.write(slices)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => *broken = true,
            }
        }
        true
    }

    /// Updates the keys of our direction (RTT-47).
    fn refresh_keys(&mut self) {
        self.broken |= self.carrier.refresh_traffic_keys().is_err();
    }

    /// Encrypts frames. They were cut so that they fit one record, and are only made when nothing waits.
    fn encrypt(&mut self, frames: &[u8]) {
        self.broken |= self.carrier.send(frames).map_or(true, |taken| taken < frames.len());
    }

    /// The driver brings what arrived on a buffered wire.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), WireFull> {
        self.wire.buffered().map_or(Ok(()), |buffered| buffered.feed(bytes))
    }

    /// The driver says that nothing more will arrive.
    fn feed_end(&mut self) {
        if let Some(buffered) = self.wire.buffered() {
            buffered.end();
        }
    }

    /// The driver has written what it took last.
    fn landed(&mut self) {
        if let Some(buffered) = self.wire.buffered() {
            buffered.landed();
        }
    }

    /// The driver takes what is to go.
    fn take(&mut self) -> Vec<u8> {
        self.wire.buffered().map_or_else(Vec::new, Buffered::take)
    }

    /// Buffered wire: everything that is encrypted and not written, which is at most what wire and carrier hold.
    /// In the pieces in which it is to be written.
    fn farewell(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        if self.wire.buffered().is_none() {
            // The socket may be somebody else's by now.
            return all;
        }
        loop {
            self.landed();
            self.flush();
            let part = self.take();
            if part.is_empty() {
                return all;
            }
            all.push(part);
        }
    }

    fn has_output(&self) -> bool {
        matches!(&self.wire, Wire::Buffered(buffered) if buffered.has_output())
    }
}

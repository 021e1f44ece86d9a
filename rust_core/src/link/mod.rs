//! A carrier on its way: TLS, on a wire, under an opening or a session. This is what production drives; it moves
//! bytes between the parts and decides nothing.

mod heap;
mod opening;
mod session;
mod wire;

use std::cell::RefCell;
use std::io;

use crate::carrier::{Carrier, CarrierError};

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
    fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<Arrival, CarrierError> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let count = match self.wire.read(buffer) {
                Ok(0) => {
                    self.carrier.receive_end()?;
                    return Ok(Arrival::Ended);
                }
                Ok(count) => count,
                // The peer may have closed in the same breath as it opened, and said nothing more since.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(if self.carrier.peer_closed() { Arrival::Ended } else { Arrival::Drained });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Arrival::More),
                Err(_) => {
                    self.carrier.receive_end()?;
                    return Ok(Arrival::Ended);
                }
            };
            let mut rest = &buffer[..count];
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
            Ok(match count {
                _ if self.carrier.peer_closed() => Arrival::Ended,
                READ_BYTES => Arrival::More,
                _ => Arrival::Drained,
            })
        })
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
}

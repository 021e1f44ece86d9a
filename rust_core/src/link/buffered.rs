//! A wire without a descriptor: the driver brings what arrived and fetches what is to go.

use std::io::{self, IoSlice};

/// Bytes that wait on a wire at most, in each direction. What is fetched counts until the driver comes for more, so
/// that control never waits behind more than this and the records that are encrypted already (RTT-21).
pub const BUFFERED_LIMIT: usize = 64 * 1024;

/// More was fed than the wire holds: `advance` comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireFull;

/// What one read of the wire came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    Bytes(Vec<u8>),
    Nothing,
    End,
}

/// The bytes on their way between a carrier and a stream that the driver moves itself. Empty, it holds no memory
/// (RTT-52).
#[derive(Debug)]
pub struct Buffered {
    incoming: Vec<u8>,
    ended: bool,
    outgoing: Vec<u8>,
    /// The driver has taken bytes and not come back: they are not written yet.
    in_flight: bool,
    most: usize,
}

impl Buffered {
    /// A wire that gives out at most `max_write` bytes at once.
    pub fn new(max_write: Option<usize>) -> Buffered {
        let most = max_write.unwrap_or(BUFFERED_LIMIT).clamp(1, BUFFERED_LIMIT);
        Buffered { incoming: Vec::new(), ended: false, outgoing: Vec::new(), in_flight: false, most }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), WireFull> {
        if self.incoming.len() + bytes.len() > BUFFERED_LIMIT {
            return Err(WireFull);
        }
        self.incoming.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn read(&mut self) -> Fed {
        match std::mem::take(&mut self.incoming) {
            bytes if !bytes.is_empty() => Fed::Bytes(bytes),
            _ if self.ended => Fed::End,
            _ => Fed::Nothing,
        }
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut room = if self.in_flight { 0 } else { self.most - self.outgoing.len() };
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = self.outgoing.len();
        for slice in slices {
            let part = &slice[..room.min(slice.len())];
            self.outgoing.extend_from_slice(part);
            room -= part.len();
        }
        Ok(self.outgoing.len() - before)
    }

    /// The driver is back for more.
    pub(super) fn landed(&mut self) {
        self.in_flight = false;
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        self.in_flight = !self.outgoing.is_empty();
        std::mem::take(&mut self.outgoing)
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outgoing.is_empty()
    }
}

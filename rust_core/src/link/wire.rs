//! What a carrier's ciphertext travels on.

use std::io::{self, IoSlice};

use super::buffered::Buffered;

/// The byte stream under a carrier.
#[derive(Debug)]
pub enum Wire {
    /// A connected stream socket. Borrowed: whoever opened it closes it, after `Wire::Gone` took its place here.
    Socket {
        /// Its descriptor.
        descriptor: i32,
        /// The most bytes that one write may have.
        max_write: usize,
    },
    /// A stream that the driver reads and writes itself.
    Buffered(Buffered),
    /// Nothing any more.
    Gone,
}

impl Wire {
    /// Reads what is there, without waiting. `Ok(0)` is the end of the stream. A buffered wire is read otherwise.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, or what the operating system says.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Wire::Socket { descriptor, .. } = *self else { return Ok(0) };
        // SAFETY: the pointer and length are those of `buffer`, which is ours alone for the call.
        let count =
            unsafe { libc::recv(descriptor, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Writes as much as goes, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing goes now, or what the operating system says.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Wire::Socket { descriptor, max_write } => write_socket(*descriptor, *max_write, slices),
            Wire::Buffered(buffered) => buffered.write(slices),
            Wire::Gone => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The wire that the driver moves, if it does.
    pub(super) fn buffered(&mut self) -> Option<&mut Buffered> {
        match self {
            Wire::Buffered(buffered) => Some(buffered),
            _ => None,
        }
    }
}

fn write_socket(descriptor: i32, max_write: usize, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut room = max_write;
    let whole = slices.iter().take_while(|slice| match room.checked_sub(slice.len()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    });
    match (whole.count(), slices.first()) {
        (0, Some(first)) => send(descriptor, &[IoSlice::new(&first[..max_write.min(first.len())])]),
        (whole, _) => send(descriptor, &slices[..whole]),
    }
}

fn send(descriptor: i32, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: an all-zero msghdr is valid; `IoSlice` has the layout of iovec; nothing outlives the call.
    let count = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = slices.as_ptr().cast_mut().cast();
        message.msg_iovlen = slices.len() as _;
        libc::sendmsg(descriptor, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

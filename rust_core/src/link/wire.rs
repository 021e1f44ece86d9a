//! What a carrier's ciphertext travels on: a socket of ours, or two buffers that somebody else moves.

use std::io::{self, IoSlice};

/// Ciphertext that waits in a `Wire::Buffers` for whoever moves it, before it counts as full.
const BUFFER_LIMIT: usize = 64 * 1024;

/// The two directions of a byte stream.
#[derive(Debug)]
pub enum Wire {
    /// A connected, non-blocking stream socket. Borrowed: whoever opened it closes it, after `Wire::Gone` took its
    /// place here.
    Socket(i32),
    /// A stream without a descriptor: the driver feeds what arrived and takes what is to be sent.
    Buffers(Buffers),
    /// Nothing any more.
    Gone,
}

/// The two directions of a stream that the driver moves itself.
#[derive(Debug, Default)]
pub struct Buffers {
    incoming: Vec<u8>,
    ended: bool,
    outgoing: Vec<u8>,
}

impl Wire {
    /// Reads what is there. `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, or what the operating system says.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Socket(descriptor) => {
                // SAFETY: the pointer and length are those of `buffer`, which is ours alone for the call.
                let count = unsafe { libc::recv(*descriptor, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
                usize::try_from(count).map_err(|_| io::Error::last_os_error())
            }
            Wire::Buffers(buffers) if buffers.incoming.is_empty() => {
                if buffers.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
            }
            Wire::Buffers(buffers) => {
                let count = buffers.incoming.len().min(buffer.len());
                buffer[..count].copy_from_slice(&buffers.incoming[..count]);
                buffers.incoming.drain(..count);
                Ok(count)
            }
            Wire::Gone => Ok(0),
        }
    }

    /// Writes as much as goes.
    ///
    /// # Errors
    /// `WouldBlock` when nothing goes now, or what the operating system says.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Wire::Socket(descriptor) => {
                // SAFETY: an all-zero msghdr is valid; `IoSlice` has the layout of iovec; nothing outlives the call.
                let count = unsafe {
                    let mut message: libc::msghdr = std::mem::zeroed();
                    message.msg_iov = slices.as_ptr().cast_mut().cast();
                    message.msg_iovlen = slices.len() as _;
                    libc::sendmsg(*descriptor, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                };
                usize::try_from(count).map_err(|_| io::Error::last_os_error())
            }
            Wire::Buffers(buffers) => {
                if buffers.outgoing.len() >= BUFFER_LIMIT {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                slices.iter().for_each(|slice| buffers.outgoing.extend_from_slice(slice));
                Ok(slices.iter().map(|slice| slice.len()).sum())
            }
            Wire::Gone => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// For buffers: what arrived; empty is the end of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Wire::Buffers(buffers) = self {
            buffers.incoming.extend_from_slice(bytes);
            buffers.ended |= bytes.is_empty();
        }
    }

    /// For buffers: what is to be sent.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        match self {
            Wire::Buffers(buffers) => std::mem::take(&mut buffers.outgoing),
            Wire::Socket(_) | Wire::Gone => Vec::new(),
        }
    }
}

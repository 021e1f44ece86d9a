//! What a carrier's ciphertext travels on.

use std::io::{self, IoSlice};

/// The byte stream under a carrier. Streams that the driver moves itself, without a descriptor, join here.
#[derive(Debug)]
pub enum Wire {
    /// A connected stream socket. Borrowed: whoever opened it closes it, after `Wire::Gone` took its place here.
    Socket(i32),
    /// Nothing any more.
    Gone,
}

impl Wire {
    /// Reads what is there, without waiting. `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, or what the operating system says.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Wire::Socket(descriptor) = *self else { return Ok(0) };
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
        let Wire::Socket(descriptor) = *self else { return Err(io::ErrorKind::BrokenPipe.into()) };
        // SAFETY: an all-zero msghdr is valid; `IoSlice` has the layout of iovec; nothing outlives the call.
        let count = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = slices.as_ptr().cast_mut().cast();
            message.msg_iovlen = slices.len() as _;
            libc::sendmsg(descriptor, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

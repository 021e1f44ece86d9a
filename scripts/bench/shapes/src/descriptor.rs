//! Descriptors: a borrowed non-blocking socket, and an eventfd of our own.

use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A socket that Python owns and keeps open for as long as the link lives.
#[derive(Clone, Copy)]
pub struct Socket(pub RawFd);

impl Socket {
    /// `None` when nothing has arrived; an error at the end of the stream.
    pub fn receive(self, into: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: the pointer and length describe `into`, which outlives the call.
        let got = unsafe { libc::recv(self.0, into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
        match got {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            got if got > 0 => Ok(Some(got as usize)),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            },
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        // SAFETY: zero is a valid `msghdr`.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_ptr().cast_mut().cast();
        message.msg_iovlen = parts.len();
        // SAFETY: an `IoSlice` is laid out as an `iovec`, and the parts outlive the call.
        let sent = unsafe { libc::sendmsg(self.0, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub struct EventFd(OwnedFd);

impl EventFd {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers; a descriptor it returns is ours alone.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is open and has no other owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn set(&self) {
        // SAFETY: eight readable bytes. A full counter is still readable, so the result tells nothing new.
        unsafe { libc::write(self.raw(), (&1u64 as *const u64).cast(), 8) };
    }

    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight writable bytes. An empty counter is what we want anyway.
        unsafe { libc::read(self.raw(), (&mut count as *mut u64).cast(), 8) };
    }
}

//! Two shapes of the same face: who waits on the socket, Trio or a native thread?
//!
//! Both use one codec (rustls buffered, TLS 1.3, then a 4-byte big-endian length before each message) and one
//! Python contract: `receive()` returns every complete message, `send(messages, first)` takes what fits.

mod codec;
mod descriptor;
mod in_loop;
mod io_thread;

use pyo3::prelude::*;

#[pymodule]
mod shapes {
    #[pymodule_export]
    use super::in_loop::InLoop;
    #[pymodule_export]
    use super::io_thread::IoThread;
}

//! The native core of Web4.
//!
//! `rtt` is the transport as a sans-I/O state machine; `carrier` turns byte streams into authenticated,
//! encrypted ones; `link` puts both on a socket; the other modules are what both sides of the Python border agree
//! on: canonical JSON, envelopes, identities, hashes, the journal's chain. `python` is the only module that knows of Python, and it is
//! off by default.

pub mod batch;
pub mod canonical;
pub mod carrier;
mod cores;
pub mod envelope;
pub mod hash;
pub mod identity;
pub mod link;
pub mod record;
pub mod rtt;

#[cfg(feature = "python")]
mod python;

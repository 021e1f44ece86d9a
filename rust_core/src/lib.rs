//! The native core of Web4.
//!
//! `rtt` is the transport as a sans-I/O state machine; `carrier` turns byte streams into authenticated,
//! encrypted ones; the other modules are what both sides of the Python border agree on: canonical JSON,
//! envelopes, identities, hashes. `python` is the only module that knows of Python, and it is off by default.

pub mod canonical;
pub mod envelope;
pub mod hash;
pub mod identity;

#[cfg(feature = "python")]
mod python;

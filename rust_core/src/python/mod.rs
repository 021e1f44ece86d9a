//! The Python face: `web4._core`.

mod canonical;
mod envelope;
mod error;
mod identity;
mod meter;
mod opening_link;
mod record;
mod session_link;
mod session_table;
mod session_words;

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

/// The native core of Web4. Private: the rooms of `web4` give these names their public shape.
#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::canonical::{Blake3, blake3, blake3_keyed, canonicalize};
    #[pymodule_export]
    use super::envelope::{
        Envelope, open_envelopes, parse_envelope, seal_envelope, seal_envelopes, verify_envelopes,
    };
    #[pymodule_export]
    use super::error::CoreError;
    #[pymodule_export]
    use super::identity::{Identity, fingerprint, verify, verify_many};
    #[pymodule_export]
    use super::meter::Meter;
    #[pymodule_export]
    use super::opening_link::{Endpoint, OpeningLink};
    #[pymodule_export]
    use super::record::{first_broken_record, lane_genesis, payload_hash, seal_group, seal_records};
    #[pymodule_export]
    use super::session_link::SessionLink;
    #[pymodule_export]
    use super::session_table::SessionTable;

    /// What only errors of an opening have, every other one says it has not.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let error = module.py().get_type::<CoreError>();
        error.setattr("proven", module.py().None())?;
        error.setattr("retry_after_ms", module.py().None())
    }

    /// Version and build profile of the native core.
    #[pyfunction]
    fn build_info() -> (&'static str, &'static str) {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        (env!("CARGO_PKG_VERSION"), profile)
    }
}

/// Locks without asking whether an earlier holder panicked: a panic is raised in Python, and the objects here are
/// only ever driven by one thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The Python face: `web4._core`.

use pyo3::prelude::*;

/// The native core of Web4. Private: the rooms of `web4` give these names their public shape.
#[pymodule]
mod _core {
    use super::*;

    /// Version and build profile of the native core.
    #[pyfunction]
    fn build_info() -> (&'static str, &'static str) {
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        (env!("CARGO_PKG_VERSION"), profile)
    }
}

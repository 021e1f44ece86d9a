//! The one exception of the native core. It names no class of `web4`: the rooms translate its codes.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

pyo3::create_exception!(
    web4._core,
    CoreError,
    PyException,
    "The native core refuses something: `code` is a stable code, `field` the dotted path concerned or None."
);

/// A `CoreError` with its attributes. If even that cannot be made, the error that prevented it.
pub(super) fn core_error(py: Python<'_>, code: &str, field: Option<&str>, message: String) -> PyErr {
    let error = CoreError::new_err(message);
    let value = error.value(py);
    match value.setattr("code", code).and_then(|()| value.setattr("field", field)) {
        Ok(()) => error,
        Err(cause) => cause,
    }
}

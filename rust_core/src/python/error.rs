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
    core_error_of_opening(py, code, field, message, None, None)
}

/// The same of an opening that failed, which says whom to charge and when to come back.
pub(super) fn core_error_of_opening(
    py: Python<'_>,
    code: &str,
    field: Option<&str>,
    message: String,
    proven: Option<String>,
    retry_after_ms: Option<u32>,
) -> PyErr {
    let error = CoreError::new_err(message);
    let value = error.value(py);
    // All of them always: whoever catches one does not know where it was made.
    let outcome = value
        .setattr("code", code)
        .and_then(|()| value.setattr("field", field))
        .and_then(|()| value.setattr("proven", proven))
        .and_then(|()| value.setattr("retry_after_ms", retry_after_ms));
    match outcome {
        Ok(()) => error,
        Err(cause) => cause,
    }
}

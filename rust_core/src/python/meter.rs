//! What the sessions of an endpoint have done, for Python: added up here, so that a snapshot of many sessions costs no
//! Python objects but its own.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::lock;
use super::session_link::SessionLink;
use super::session_words::dict;
use crate::rtt::{self, Kind};

/// Totals of any number of sessions.
#[pyclass(frozen, module = "web4._core")]
pub(super) struct Meter {
    inner: Mutex<rtt::Meter>,
}

#[pymethods]
impl Meter {
    #[new]
    fn new() -> Self {
        Meter { inner: Mutex::new(rtt::Meter::default()) }
    }

    /// Adds a session; what it holds now counts only while it is not closed.
    #[pyo3(signature = (link, /))]
    fn add_session(&self, link: &SessionLink) {
        lock(&self.inner).add_session(lock(&link.inner).session());
    }

    /// Adds another meter, which must not be this one.
    #[pyo3(signature = (other, /))]
    fn merge(&self, other: &Meter) {
        let other = lock(&other.inner).clone();
        lock(&self.inner).merge(&other);
    }

    /// Everything as plain values.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let meter = lock(&self.inner);
        let snapshot = dict(py, &meter.fields())?;
        let kinds = PyDict::new(py);
        for kind in Kind::ALL {
            kinds.set_item(kind.name(), dict(py, &meter.kinds[kind as usize].fields())?)?;
        }
        snapshot.set_item("kinds", kinds)?;
        snapshot.set_item("limits", dict(py, &meter.limits)?)?;
        snapshot.set_item("heartbeat", histogram(py, &meter.heartbeat)?)?;
        snapshot.set_item("acknowledgement", histogram(py, &meter.acknowledgement)?)?;
        Ok(snapshot)
    }
}

/// In seconds: count, sum, p50, p95, p99, and the buckets in use as (from, to, count).
fn histogram<'py>(py: Python<'py>, histogram: &rtt::Histogram) -> PyResult<Bound<'py, PyDict>> {
    let seconds = |nanos: rtt::Nanos| nanos as f64 / 1e9;
    let dict = PyDict::new(py);
    dict.set_item("count", histogram.count())?;
    dict.set_item("sum", seconds(histogram.sum()))?;
    for (name, share) in [("p50", 0.50), ("p95", 0.95), ("p99", 0.99)] {
        dict.set_item(name, histogram.quantile(share).map(seconds))?;
    }
    let buckets = PyList::empty(py);
    for bucket in histogram.buckets() {
        buckets.append((seconds(bucket.from), seconds(bucket.to), bucket.count))?;
    }
    dict.set_item("buckets", buckets)?;
    Ok(dict)
}

//! Strict RFC 8785: the one canonical form of JSON that Web4 hashes and signs (SIG-1).
//!
//! There are two faces. [`canonicalize`] reads any strict JSON and writes its canonical form. [`validate`]
//! takes bytes that must already be canonical, walks them once without building anything, and reports where
//! the members of the top-level object lie. Both refuse what is not I-JSON: duplicate keys, lone surrogates,
//! NaN and Infinity, integral values beyond ±(2^53 - 1), and whatever stands after the value.

mod parser;
mod validator;
mod writer;

pub(crate) use writer::write_string;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

/// How deeply objects and arrays may be nested.
pub const MAX_DEPTH: usize = 32;

/// The largest magnitude of an integral value: above it, doubles skip integers.
const MAX_INTEGER: f64 = 9_007_199_254_740_991.0;

/// Why bytes are not what they have to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// Not strict JSON.
    #[error("{what} at byte {offset}")]
    Syntax {
        /// What was wrong, in words that quote nothing of the input.
        what: &'static str,
        /// Where it was noticed.
        offset: usize,
    },
    /// Strict JSON, but not spelled the canonical way.
    #[error("not in canonical form")]
    NotCanonical,
}

/// Where one member of the top-level object lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The key between its quotes, escapes as they were written.
    pub key: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

impl Member {
    /// The whole member, from the opening quote of its key to the end of its value.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.key.start - 1..self.value.end
    }
}

/// The canonical form of `bytes`.
///
/// # Errors
/// `Syntax` if `bytes` are not strict JSON.
pub fn canonicalize(bytes: &[u8]) -> Result<Vec<u8>, CanonicalError> {
    let value = parser::parse(bytes)?;
    let mut canonical = Vec::with_capacity(bytes.len());
    writer::write(&value, &mut canonical);
    Ok(canonical)
}

/// Checks that `bytes` are their own canonical form. Gives the members of the top-level object in their
/// order, or `None` if the top-level value is not an object.
///
/// # Errors
/// `Syntax` if `bytes` are not strict JSON at all, `NotCanonical` if they are, but spelled differently.
pub fn validate(bytes: &[u8]) -> Result<Option<Vec<Member>>, CanonicalError> {
    if let Some(members) = validator::walk(bytes) {
        return Ok(members);
    }
    // Only refused input pays for the question what is wrong with it.
    match parser::parse(bytes) {
        Ok(_) => Err(CanonicalError::NotCanonical),
        Err(error) => Err(error),
    }
}

/// Whether `bytes` are their own canonical form, whatever kind of value they are.
#[must_use]
pub fn is_canonical(bytes: &[u8]) -> bool {
    validator::walk(bytes).is_some()
}

/// The text of a JSON string, given from behind its opening quote up to and including its closing quote.
/// `None` if it is not one.
#[must_use]
pub fn unescape(terminated: &str) -> Option<Cow<'_, str>> {
    parser::unescape(terminated)
}

/// The order of two keys as they are written between their quotes.
pub(crate) fn compare_written_keys(a: &[u8], b: &[u8]) -> Ordering {
    if a.contains(&b'\\') || b.contains(&b'\\') {
        compare_keys(unescape_key(a).as_bytes(), unescape_key(b).as_bytes())
    } else {
        compare_keys(a, b)
    }
}

fn unescape_key(written: &[u8]) -> String {
    let terminated = format!("{}\"", String::from_utf8_lossy(written));
    unescape(&terminated).map(Cow::into_owned).unwrap_or_default()
}

/// The order of keys: by UTF-16 code units, computed on UTF-8.
///
/// The two orders differ in one place only: a character beyond the Basic Multilingual Plane (lead byte F0 and
/// up) begins with a surrogate, D800-DFFF, and so sorts before U+E000-U+FFFF (lead bytes EE and EF).
fn compare_keys(a: &[u8], b: &[u8]) -> Ordering {
    let Some((x, y)) = a.iter().zip(b).find(|(x, y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    match (x, y) {
        (0xf0.., 0xee | 0xef) => Ordering::Less,
        (0xee | 0xef, 0xf0..) => Ordering::Greater,
        _ => x.cmp(y),
    }
}

/// Whether a number may appear: finite, and small enough that no integer was rounded away.
fn in_range(number: f64) -> bool {
    // Every double of a larger magnitude is integral, so this one comparison is the whole rule.
    number.abs() <= MAX_INTEGER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn keys_sort_by_utf16_code_units() {
        let samples = [
            "",
            "a",
            "aa",
            "b",
            "\u{7f}",
            "\u{80}",
            "\u{7ff}",
            "\u{800}",
            "\u{d7ff}",
            "\u{e000}",
            "\u{fb33}",
            "\u{ffff}",
            "\u{10000}",
            "\u{1f600}",
            "\u{10ffff}",
            "a\u{e000}",
            "a\u{10000}",
        ];
        for a in samples {
            for b in samples {
                assert_eq!(compare_keys(a.as_bytes(), b.as_bytes()), utf16(a).cmp(&utf16(b)), "{a:?} {b:?}");
            }
        }
    }
}

//! Messages that tell which they are, and whose every byte is known.

use std::sync::OnceLock;

use bytes::Bytes;

/// Longer than the longest message of any run, and a period that no fragment size divides.
const PATTERN: usize = 64 * 1024 + 4099;

fn pattern() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| (0..PATTERN as u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 21) as u8).collect())
}

fn body(number: u64, length: usize) -> &'static [u8] {
    let start = (number as usize).wrapping_mul(31) % 4096;
    &pattern()[start..start + length]
}

/// The message of that number. One shorter than eight bytes cannot tell its number; it is a part of the pattern.
pub fn message(number: u64, size: usize) -> Bytes {
    if size < 8 {
        return Bytes::copy_from_slice(body(number, size));
    }
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(body(number, size - 8));
    Bytes::from(bytes)
}

/// Whether these bytes are that message, all of it.
pub fn is_message(bytes: &[u8], number: u64, size: usize) -> bool {
    if bytes.len() != size {
        return false;
    }
    match bytes.split_first_chunk::<8>() {
        None => bytes == body(number, size),
        Some((head, rest)) => u64::from_be_bytes(*head) == number && rest == body(number, size - 8),
    }
}

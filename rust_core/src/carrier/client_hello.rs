//! A look at the dialer's first message before rustls answers it.
//!
//! rustls ignores an offer to resume or to send early data when it cannot take it up, and goes on with a full
//! handshake. RTT-4 wants both off, so a dialer that tries is not one of ours and is told so.

use super::error::CarrierErrorCode;

/// Largest record of a ClientHello, in bytes. Ours have about 250; a hybrid key share would add 1.2 KiB.
const LONGEST: usize = 4 << 10;

const RECORD_HEADER: usize = 5;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;

/// Collects the first record of a dialer until it is whole.
#[derive(Debug, Default)]
pub(super) struct HelloCheck {
    record: Vec<u8>,
}

impl HelloCheck {
    /// Take the next bytes of the stream. `Ok(true)` once a whole hello was looked at and may go on.
    ///
    /// What does not parse is left to rustls, which refuses it.
    ///
    /// # Errors
    /// `damaged` for anything but one record of bounded length that holds one whole ClientHello, and
    /// `resumption` for one that offers a pre-shared key or early data.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<bool, CarrierErrorCode> {
        let wanted = RECORD_HEADER + LONGEST - self.record.len();
        self.record.extend_from_slice(&bytes[..bytes.len().min(wanted)]);
        let Some((header, body)) = self.record.split_at_checked(RECORD_HEADER) else {
            return match self.record.first() {
                Some(22) | None => Ok(false),
                Some(_) => Err(CarrierErrorCode::Damaged),
            };
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != 22 || length > LONGEST {
            return Err(CarrierErrorCode::Damaged);
        }
        let Some(message) = body.get(..length) else {
            return Ok(false);
        };
        let whole = matches!(message, [1, 0, high, low, hello @ ..]
            if hello.len() == usize::from(u16::from_be_bytes([*high, *low])));
        if !whole {
            return Err(CarrierErrorCode::Damaged);
        }
        match resumes(&message[4..]) {
            Some(true) => Err(CarrierErrorCode::Resumption),
            _ => Ok(true),
        }
    }
}

/// Whether the body of a ClientHello offers a pre-shared key or early data; none if it does not parse.
fn resumes(hello: &[u8]) -> Option<bool> {
    let (_version_and_random, rest) = hello.split_at_checked(2 + 32)?;
    let (length, rest) = rest.split_first()?;
    let (_session_id, rest) = rest.split_at_checked(usize::from(*length))?;
    let (_cipher_suites, rest) = split_u16(rest)?;
    let (length, rest) = rest.split_first()?;
    let (_compressions, rest) = rest.split_at_checked(usize::from(*length))?;
    let (mut extensions, _) = split_u16(rest)?;
    while let Some((kind, rest)) = extensions.split_first_chunk() {
        if [PRE_SHARED_KEY, EARLY_DATA].contains(&u16::from_be_bytes(*kind)) {
            return Some(true);
        }
        (_, extensions) = split_u16(rest)?;
    }
    Some(false)
}

/// A block with a 16-bit length before it, and what follows.
fn split_u16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3; 34];
        body.extend([2, 9, 9, 0, 2, 0x13, 1, 1, 0]);
        body.extend(u16::try_from(extensions.len()).expect("short").to_be_bytes());
        body.extend(extensions);
        let length = u16::try_from(body.len()).expect("short");
        let mut record = vec![22, 3, 1];
        record.extend((length + 4).to_be_bytes());
        record.extend([1, 0]);
        record.extend(length.to_be_bytes());
        record.extend(body);
        record
    }

    /// The verdict comes with the last byte of the hello, in any fragmentation.
    #[test]
    fn whole_hello_is_recognised_at_its_last_byte() {
        let record = hello(&[0, 16, 0, 1, 7, 0, 43, 0, 0]);
        let mut check = HelloCheck::default();
        for (index, byte) in record.iter().enumerate() {
            assert_eq!(check.advance(&[*byte]), Ok(index + 1 == record.len()), "byte {index}");
        }
        assert_eq!(HelloCheck::default().advance(&[&record[..], b"more"].concat()), Ok(true));
    }

    /// RTT-4: pre-shared keys and early data are refused wherever they stand.
    #[test]
    fn resumption_is_refused() {
        for kind in [41, 42] {
            let record = hello(&[0, 16, 0, 1, 7, 0, kind, 0, 0]);
            assert_eq!(HelloCheck::default().advance(&record), Err(CarrierErrorCode::Resumption));
        }
    }

    /// A declared length is neither trusted nor allocated.
    #[test]
    fn what_is_no_hello_is_refused_with_bounded_memory() {
        let mut trickle = HelloCheck::default();
        assert_eq!(trickle.advance(&[22, 3, 1, 0x10, 0]), Ok(false));
        assert!(trickle.record.capacity() < 64);
        for junk in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[21, 3, 3],
            &[22, 3, 1, 0x10, 1],
            &[22, 3, 1, 0, 4, 2, 0, 0, 0],
            &[22, 3, 1, 0, 4, 1, 1, 0, 0],
            &[22, 3, 1, 0, 4, 1, 0, 0, 1],
            &[22, 3, 1, 0, 0],
        ] {
            assert_eq!(HelloCheck::default().advance(junk), Err(CarrierErrorCode::Damaged), "{junk:?}");
        }
    }
}

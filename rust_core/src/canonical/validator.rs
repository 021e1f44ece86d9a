//! Walks bytes that must already be canonical: one pass, no tree, no allocation but the list of spans.
//!
//! It answers only yes or no. What is wrong with a "no" is the strict parser's question, so every doubt here
//! may simply be a "no".

use std::cmp::Ordering;
use std::ops::Range;

use super::{MAX_DEPTH, Member, compare_written_keys, in_range};

/// No canonical number is longer: sign, 17 digits, point, "e-", three digits.
const MAX_NUMBER_LEN: usize = 25;
/// Integers of up to this many digits fit an `u64` without a thought.
const MAX_INTEGER_DIGITS: usize = 16;

/// The members of a canonical top-level object, `Some(None)` for any other canonical value, `None` if `bytes`
/// are not canonical.
pub(super) fn walk(bytes: &[u8]) -> Option<Option<Vec<Member>>> {
    std::str::from_utf8(bytes).ok()?;
    let mut walker = Walker { bytes, at: 0 };
    let members = if bytes.first() == Some(&b'{') {
        let mut members = Vec::with_capacity(12);
        walker.object(1, |member| members.push(member))?;
        Some(members)
    } else {
        walker.value(0)?;
        None
    };
    (walker.at == bytes.len()).then_some(members)
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walker<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(depth + 1, drop),
            b'[' => self.array(depth + 1),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => None,
        }
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.value(depth)?;
            let next = self.peek()?;
            self.at += 1;
            match next {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    fn object(&mut self, depth: usize, mut found: impl FnMut(Member)) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let mut previous: Option<Range<usize>> = None;
        loop {
            let key = self.string()?;
            if previous.is_some_and(|previous| !self.is_before(previous, key.clone())) {
                return None;
            }
            self.expect(b':')?;
            let start = self.at;
            self.value(depth)?;
            previous = Some(key.clone());
            found(Member { key, value: start..self.at });
            let next = self.peek()?;
            self.at += 1;
            match next {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Whether the first key sorts strictly before the second: equal keys are duplicates.
    fn is_before(&self, first: Range<usize>, second: Range<usize>) -> bool {
        compare_written_keys(&self.bytes[first], &self.bytes[second]) == Ordering::Less
    }

    /// Reads a string and gives what lies between its quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            self.at += plain_len(&self.bytes[self.at..]);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(start..self.at - 1);
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// The escapes that canonical form uses: the seven short ones, and `\u00xx` for other control characters.
    fn escape(&mut self) -> Option<()> {
        let rest = &self.bytes[self.at + 1..];
        self.at += match *rest {
            [b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => 2,
            [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => 6,
            [b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return None,
        };
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let rest = &self.bytes[self.at..];
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e');
        let len = rest.iter().take(MAX_NUMBER_LEN + 1).take_while(|byte| is_part(byte)).count();
        if len > MAX_NUMBER_LEN {
            return None;
        }
        let token = &rest[..len];
        let digits = token.strip_prefix(b"-").unwrap_or(token);
        let canonical = if digits.len() <= MAX_INTEGER_DIGITS && digits.iter().all(u8::is_ascii_digit) {
            is_canonical_integer(digits, token.len() > digits.len())
        } else {
            is_canonical_number(token)
        };
        canonical.then(|| self.at += len)
    }
}

fn is_canonical_integer(digits: &[u8], negative: bool) -> bool {
    match digits {
        [] => false,
        [b'0'] => !negative,
        [b'0', ..] => false,
        _ => {
            let value = digits.iter().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
            value < 1 << 53
        }
    }
}

fn is_canonical_number(token: &[u8]) -> bool {
    let number = std::str::from_utf8(token).ok().and_then(|text| text.parse::<f64>().ok());
    number.is_some_and(|number| {
        in_range(number) && ryu_js::Buffer::new().format_finite(number).as_bytes() == token
    })
}

/// How many bytes at the start of `bytes` are neither a quote, nor a backslash, nor a control character.
/// Eight at a time: strings are most of an envelope.
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let special = zero_bytes(word ^ (ONES * u64::from(b'"')))
            | zero_bytes(word ^ (ONES * u64::from(b'\\')))
            | (word.wrapping_sub(ONES * 0x20) & !word & HIGHS);
        // A borrow can mark bytes above a special one falsely, never below: the lowest mark is always true.
        if special != 0 {
            return index * 8 + (special.trailing_zeros() / 8) as usize;
        }
    }
    let plain = tail.iter().take_while(|byte| **byte >= 0x20 && !matches!(byte, b'"' | b'\\')).count();
    words.len() * 8 + plain
}

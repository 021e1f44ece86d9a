//! A strict JSON reader that builds a tree: for input that still has to be brought into canonical form.

use std::borrow::Cow;

use super::{CanonicalError, MAX_DEPTH, compare_keys, in_range};

/// A JSON value. The members of an object are in canonical order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(f64),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// Reads exactly one value.
pub(super) fn parse(bytes: &[u8]) -> Result<Value<'_>, CanonicalError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| CanonicalError::Syntax { what: "invalid UTF-8", offset: error.valid_up_to() })?;
    let mut parser = Parser { text, at: 0 };
    parser.skip_space();
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at == text.len() { Ok(value) } else { parser.fail("bytes after the value") }
}

/// See [`super::unescape`].
pub(super) fn unescape(terminated: &str) -> Option<Cow<'_, str>> {
    let mut parser = Parser { text: terminated, at: 0 };
    let text = parser.string().ok()?;
    (parser.at == terminated.len()).then_some(text)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Parsed<T> = Result<T, CanonicalError>;

impl<'a> Parser<'a> {
    fn fail<T>(&self, what: &'static str) -> Parsed<T> {
        Err(CanonicalError::Syntax { what, offset: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Parsed<Value<'a>> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => {
                self.at += 1;
                Ok(Value::String(self.string()?))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.literal("null", Value::Null),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            _ => self.fail("no value"),
        }
    }

    fn literal(&mut self, word: &'static str, value: Value<'a>) -> Parsed<Value<'a>> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail("no value");
        }
        self.at += word.len();
        Ok(value)
    }

    fn open(&mut self, depth: usize) -> Parsed<()> {
        if depth > MAX_DEPTH {
            return self.fail("nested too deeply");
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Parsed<Value<'a>> {
        self.open(depth)?;
        let mut items = Vec::new();
        if self.eat(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_space();
            if self.eat(b']') {
                return Ok(Value::Array(items));
            }
            if !self.eat(b',') {
                return self.fail("neither ',' nor ']'");
            }
            self.skip_space();
        }
    }

    fn object(&mut self, depth: usize) -> Parsed<Value<'a>> {
        let start = self.at;
        self.open(depth)?;
        let mut members = Vec::new();
        if self.eat(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            if !self.eat(b'"') {
                return self.fail("no key");
            }
            let key = self.string()?;
            self.skip_space();
            if !self.eat(b':') {
                return self.fail("no ':'");
            }
            self.skip_space();
            members.push((key, self.value(depth)?));
            self.skip_space();
            if self.eat(b'}') {
                break;
            }
            if !self.eat(b',') {
                return self.fail("neither ',' nor '}'");
            }
            self.skip_space();
        }
        members.sort_by(|(a, _), (b, _)| compare_keys(a.as_bytes(), b.as_bytes()));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(CanonicalError::Syntax { what: "duplicate key in the object", offset: start });
        }
        Ok(Value::Object(members))
    }

    /// The rest of a string whose opening quote has been read.
    fn string(&mut self) -> Parsed<Cow<'a, str>> {
        let mut decoded: Option<String> = None;
        let mut run = self.at;
        loop {
            match self.peek() {
                None => return self.fail("unterminated string"),
                Some(b'"') => {
                    let tail = &self.text[run..self.at];
                    self.at += 1;
                    return Ok(match decoded {
                        None => Cow::Borrowed(tail),
                        Some(head) => Cow::Owned(head + tail),
                    });
                }
                Some(b'\\') => {
                    let head = decoded.get_or_insert_default();
                    head.push_str(&self.text[run..self.at]);
                    self.at += 1;
                    let character = self.escape()?;
                    decoded.get_or_insert_default().push(character);
                    run = self.at;
                }
                Some(..0x20) => return self.fail("control character in a string"),
                Some(_) => self.at += 1,
            }
        }
    }

    /// The character of an escape whose backslash has been read.
    fn escape(&mut self) -> Parsed<char> {
        let Some(letter) = self.peek() else {
            return self.fail("unterminated string");
        };
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return self.fail("unknown escape"),
        })
    }

    fn unicode_escape(&mut self) -> Parsed<char> {
        let first = self.code_unit()?;
        let code = match first {
            0xd800..0xdc00 if self.text[self.at..].starts_with("\\u") => {
                self.at += 2;
                let second = self.code_unit()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return self.fail("lone surrogate");
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            _ => first,
        };
        match char::from_u32(code) {
            Some(character) => Ok(character),
            None => self.fail("lone surrogate"),
        }
    }

    fn code_unit(&mut self) -> Parsed<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        match digits {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {
                let unit = u32::from_str_radix(&self.text[self.at..self.at + 4], 16);
                self.at += 4;
                unit.or_else(|_| self.fail("no four hexadecimal digits"))
            }
            _ => self.fail("no four hexadecimal digits"),
        }
    }

    fn number(&mut self) -> Parsed<Value<'a>> {
        let start = self.at;
        self.eat(b'-');
        if self.eat(b'0') {
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return self.fail("leading zero");
            }
        } else {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        match self.text[start..self.at].parse::<f64>() {
            Ok(number) if in_range(number) => Ok(Value::Number(number)),
            _ => Err(CanonicalError::Syntax { what: "number out of range", offset: start }),
        }
    }

    fn digits(&mut self) -> Parsed<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail("no digit") } else { Ok(()) }
    }
}

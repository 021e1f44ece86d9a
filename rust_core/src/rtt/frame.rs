//! Frames on a carrier after its opening: what each is made of, byte by byte (RTT-14, section 5).
//!
//! Every frame is `type (1) flags (1) length (4)` and a body of `length` bytes. A numbered frame has the flag
//! `NUMBERED` and begins its body with its sequence number (8). All integers are big-endian.

use super::code::Code;
use super::limits::Window;
use super::wire::{Put, Reader};

/// Type, flags and length.
pub const HEADER_BYTES: usize = 6;
/// What a DATA frame of the first fragment adds to its payload: header, seq, channel, total length.
pub const DATA_OVERHEAD: usize = HEADER_BYTES + 8 + 4 + 4;
/// A message that must be cut is cut to fill a record only if at least this much of it goes in.
pub(crate) const MIN_FRAGMENT: usize = 1024;
/// No body but that of DATA and of an opening frame is longer than this.
pub const MAX_SMALL_BODY: u32 = 1024;

/// Flag: the body begins with a sequence number.
pub const NUMBERED: u8 = 0x80;
/// Flag of DATA: the first fragment of a message, which tells the total length.
pub const FIRST: u8 = 0x01;
/// Flag of DATA: the last fragment of a message.
pub const LAST: u8 = 0x02;

/// Frame types (section 5). `0x00-0x3F` are core, `0x40-0x7F` optional (RTT-16).
pub mod kind {
    pub const START: u8 = 0x01;
    pub const STARTED: u8 = 0x02;
    pub const RESUME: u8 = 0x03;
    pub const RESUMED: u8 = 0x04;
    pub const CONFIRM: u8 = 0x05;
    pub const REFUSED: u8 = 0x06;
    pub const OPEN: u8 = 0x10;
    pub const DATA: u8 = 0x11;
    pub const END: u8 = 0x12;
    pub const RESET: u8 = 0x13;
    pub const SHUTDOWN: u8 = 0x14;
    pub const CREDIT: u8 = 0x20;
    pub const ACK: u8 = 0x21;
    pub const PING: u8 = 0x22;
    pub const PONG: u8 = 0x23;
    pub const CLOSE: u8 = 0x24;
}

/// The longest name of a channel, in bytes.
pub const MAX_NAME: usize = 64;
/// The longest reason text of CLOSE, in bytes.
pub const MAX_REASON: usize = 256;

/// A frame that carries the next sequence number of its direction; it is kept until it is acknowledged.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Numbered<'a> {
    /// The sender opens a channel and says what it is ready to hold of it.
    Open { channel: u32, kind: u8, name: &'a str, credit: Window, max_message: u32 },
    /// A fragment of a message; `total` is there on the first.
    Data { channel: u32, total: Option<u32>, last: bool, payload: &'a [u8] },
    /// No more messages in this direction.
    End { channel: u32 },
    /// Both directions of the channel end now.
    Reset { channel: u32, code: Code },
    /// No more messages on any channel from this side.
    Shutdown { code: Code },
    /// An optional frame this build does not know: counted, acknowledged, skipped (RTT-16).
    Unknown,
}

/// A frame on an opened carrier.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Frame<'a> {
    /// A numbered frame and its sequence number.
    Numbered(u64, Numbered<'a>),
    /// What the receiver granted since the channel opened: absolute, never decreasing.
    Credit { channel: u32, messages: u64, bytes: u64 },
    /// Every numbered frame up to this sequence number arrived.
    Ack { cursor: u64 },
    /// Asks for a PONG with the same token.
    Ping { token: [u8; 8] },
    /// Answers a PING.
    Pong { token: [u8; 8] },
    /// The session ends now.
    Close { code: Code, reason: &'a str },
    /// An optional frame this build does not know, without a sequence number: skipped (RTT-16).
    Unknown,
}

/// The fields of a frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The frame type.
    pub kind: u8,
    /// The flags.
    pub flags: u8,
    /// Bytes of the body.
    pub length: u32,
}

impl Header {
    /// Reads a header; `None` while fewer than six bytes are there.
    pub fn peek(bytes: &[u8]) -> Option<Header> {
        let head = bytes.first_chunk::<HEADER_BYTES>()?;
        Some(Header {
            kind: head[0],
            flags: head[1],
            length: u32::from_be_bytes([head[2], head[3], head[4], head[5]]),
        })
    }

    /// Refuses what can be refused before the body is there, so that nobody waits for, or stores, a body that
    /// is too long (RTT-17).
    pub fn check(&self, frame_payload: u32) -> Result<(), Code> {
        let (flags, most) = match self.kind {
            kind::DATA => (NUMBERED | FIRST | LAST, frame_payload + (DATA_OVERHEAD - HEADER_BYTES) as u32),
            kind::OPEN | kind::END | kind::RESET | kind::SHUTDOWN => (NUMBERED, MAX_SMALL_BODY),
            kind::CREDIT | kind::ACK | kind::PING | kind::PONG | kind::CLOSE => (0, MAX_SMALL_BODY),
            kind::START..=kind::REFUSED => return Err(Code::OUT_OF_STATE),
            0x40..=0x7f => (self.flags & NUMBERED, frame_payload),
            _ => return Err(Code::UNKNOWN_FRAME),
        };
        if self.flags & !flags != 0 || (flags ^ self.flags) & NUMBERED != 0 {
            return Err(Code::UNKNOWN_FLAG);
        }
        if self.length > most {
            return Err(Code::FRAME_TOO_LARGE);
        }
        Ok(())
    }
}

/// Decodes the body of a frame whose header passed `Header::check`.
pub fn decode<'a>(header: Header, body: &'a [u8]) -> Result<Frame<'a>, Code> {
    let mut reader = Reader::new(body);
    if header.flags & NUMBERED != 0 {
        let seq = reader.u64()?;
        if seq == 0 {
            return Err(Code::MALFORMED);
        }
        return Ok(Frame::Numbered(seq, decode_numbered(header, reader)?));
    }
    let frame = match header.kind {
        kind::CREDIT => {
            Frame::Credit { channel: reader.u32()?, messages: reader.u64()?, bytes: reader.u64()? }
        }
        kind::ACK => Frame::Ack { cursor: reader.u64()? },
        kind::PING => Frame::Ping { token: reader.array()? },
        kind::PONG => Frame::Pong { token: reader.array()? },
        kind::CLOSE => {
            let code = Code(reader.u16()?);
            let reason = reader.rest();
            if reason.len() > MAX_REASON {
                return Err(Code::MALFORMED);
            }
            Frame::Close { code, reason: std::str::from_utf8(reason).map_err(|_| Code::MALFORMED)? }
        }
        _ => {
            reader.rest();
            Frame::Unknown
        }
    };
    reader.finish()?;
    Ok(frame)
}

fn decode_numbered<'a>(header: Header, mut reader: Reader<'a>) -> Result<Numbered<'a>, Code> {
    let frame = match header.kind {
        kind::DATA => {
            let channel = reader.u32()?;
            let total = if header.flags & FIRST != 0 { Some(reader.u32()?) } else { None };
            return Ok(Numbered::Data {
                channel,
                total,
                last: header.flags & LAST != 0,
                payload: reader.rest(),
            });
        }
        kind::OPEN => {
            let (channel, kind) = (reader.u32()?, reader.u8()?);
            let credit = Window { messages: reader.u32()?, bytes: reader.u32()? };
            let max_message = reader.u32()?;
            let name = reader.rest();
            let printable =
                (1..=MAX_NAME).contains(&name.len()) && name.iter().all(|byte| (0x20..0x7f).contains(byte));
            let name = std::str::from_utf8(name).ok().filter(|_| printable).ok_or(Code::MALFORMED)?;
            Numbered::Open { channel, kind, name, credit, max_message }
        }
        kind::END => Numbered::End { channel: reader.u32()? },
        kind::RESET => Numbered::Reset { channel: reader.u32()?, code: Code(reader.u16()?) },
        kind::SHUTDOWN => Numbered::Shutdown { code: Code(reader.u16()?) },
        _ => {
            reader.rest();
            Numbered::Unknown
        }
    };
    reader.finish()?;
    Ok(frame)
}

/// Appends a numbered frame.
pub fn encode_numbered(out: &mut Vec<u8>, seq: u64, frame: &Numbered<'_>) {
    match *frame {
        Numbered::Data { channel, total, last, payload } => {
            let flags = NUMBERED | if total.is_some() { FIRST } else { 0 } | if last { LAST } else { 0 };
            let length = 12 + if total.is_some() { 4 } else { 0 } + payload.len();
            put_header(out, kind::DATA, flags, length);
            out.put_u64(seq);
            out.put_u32(channel);
            if let Some(total) = total {
                out.put_u32(total);
            }
            out.extend_from_slice(payload);
        }
        Numbered::Open { channel, kind, name, credit, max_message } => {
            put_header(out, kind::OPEN, NUMBERED, 8 + 4 + 1 + 12 + name.len());
            out.put_u64(seq);
            out.put_u32(channel);
            out.put_u8(kind);
            out.put_u32(credit.messages);
            out.put_u32(credit.bytes);
            out.put_u32(max_message);
            out.extend_from_slice(name.as_bytes());
        }
        Numbered::End { channel } => {
            put_header(out, kind::END, NUMBERED, 12);
            out.put_u64(seq);
            out.put_u32(channel);
        }
        Numbered::Reset { channel, code } => {
            put_header(out, kind::RESET, NUMBERED, 14);
            out.put_u64(seq);
            out.put_u32(channel);
            out.put_u16(code.0);
        }
        Numbered::Shutdown { code } => {
            put_header(out, kind::SHUTDOWN, NUMBERED, 10);
            out.put_u64(seq);
            out.put_u16(code.0);
        }
        Numbered::Unknown => unreachable!("this build writes no frame it does not know"),
    }
}

/// Appends a frame without a sequence number.
pub fn encode(out: &mut Vec<u8>, frame: &Frame<'_>) {
    match *frame {
        Frame::Numbered(seq, ref numbered) => encode_numbered(out, seq, numbered),
        Frame::Credit { channel, messages, bytes } => {
            put_header(out, kind::CREDIT, 0, 20);
            out.put_u32(channel);
            out.put_u64(messages);
            out.put_u64(bytes);
        }
        Frame::Ack { cursor } => {
            put_header(out, kind::ACK, 0, 8);
            out.put_u64(cursor);
        }
        Frame::Ping { token } => {
            put_header(out, kind::PING, 0, 8);
            out.extend_from_slice(&token);
        }
        Frame::Pong { token } => {
            put_header(out, kind::PONG, 0, 8);
            out.extend_from_slice(&token);
        }
        Frame::Close { code, reason } => {
            put_header(out, kind::CLOSE, 0, 2 + reason.len());
            out.put_u16(code.0);
            out.extend_from_slice(reason.as_bytes());
        }
        Frame::Unknown => unreachable!("this build writes no frame it does not know"),
    }
}

/// Appends a frame header.
pub(crate) fn put_header(out: &mut Vec<u8>, kind: u8, flags: u8, length: usize) {
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(length as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roundtrip(frame: Frame<'_>) {
        let mut bytes = Vec::new();
        encode(&mut bytes, &frame);
        let header = Header::peek(&bytes).unwrap();
        header.check(16 * 1024).unwrap();
        assert_eq!(header.length as usize, bytes.len() - HEADER_BYTES);
        assert_eq!(decode(header, &bytes[HEADER_BYTES..]), Ok(frame));
        // RTT-17: no prefix of a frame with a shortened length is taken for a frame, DATA and texts aside,
        // whose last field is as long as the frame says.
        let variable = matches!(header.kind, kind::DATA | kind::OPEN | kind::CLOSE);
        for end in HEADER_BYTES..bytes.len() {
            let short = Header { length: (end - HEADER_BYTES) as u32, ..header };
            assert!(variable || decode(short, &bytes[HEADER_BYTES..end]) == Err(Code::MALFORMED));
        }
    }

    #[test]
    fn every_frame_survives_the_wire() {
        let credit = Window { messages: 3, bytes: 70_000 };
        roundtrip(Frame::Numbered(
            1,
            Numbered::Open { channel: 1, kind: 2, name: "web4", credit, max_message: 9 },
        ));
        roundtrip(Frame::Numbered(
            2,
            Numbered::Data { channel: 1, total: Some(3), last: true, payload: b"abc" },
        ));
        roundtrip(Frame::Numbered(
            u64::MAX,
            Numbered::Data { channel: 1, total: None, last: false, payload: b"" },
        ));
        roundtrip(Frame::Numbered(4, Numbered::End { channel: 7 }));
        roundtrip(Frame::Numbered(5, Numbered::Reset { channel: 7, code: Code::CANCELLED }));
        roundtrip(Frame::Numbered(6, Numbered::Shutdown { code: Code::NORMAL }));
        roundtrip(Frame::Credit { channel: 0, messages: 256, bytes: 1 << 40 });
        roundtrip(Frame::Ack { cursor: 9 });
        roundtrip(Frame::Ping { token: *b"12345678" });
        roundtrip(Frame::Pong { token: *b"87654321" });
        roundtrip(Frame::Close { code: Code::NORMAL, reason: "bye \u{1f44b}" });
    }

    #[test]
    fn headers_are_judged_before_their_bodies() {
        let check = |kind, flags, length| Header { kind, flags, length }.check(16 * 1024);
        assert_eq!(check(kind::DATA, NUMBERED | FIRST, 16 * 1024 + 16), Ok(()));
        assert_eq!(check(kind::DATA, NUMBERED | FIRST, 16 * 1024 + 17), Err(Code::FRAME_TOO_LARGE));
        assert_eq!(check(kind::DATA, FIRST, 20), Err(Code::UNKNOWN_FLAG));
        assert_eq!(check(kind::ACK, NUMBERED, 8), Err(Code::UNKNOWN_FLAG));
        assert_eq!(check(kind::ACK, 0x04, 8), Err(Code::UNKNOWN_FLAG));
        assert_eq!(check(kind::START, 0, 8), Err(Code::OUT_OF_STATE));
        assert_eq!(check(0x3f, 0, 8), Err(Code::UNKNOWN_FRAME));
        assert_eq!(check(0x40, 0, 8), Ok(()));
        assert_eq!(check(0x40, NUMBERED, 8), Ok(()));
        assert_eq!(check(0x40, 0x01, 8), Err(Code::UNKNOWN_FLAG));
        assert_eq!(check(0x80, 0, 8), Err(Code::UNKNOWN_FRAME));
        assert_eq!(check(kind::CLOSE, 0, u32::MAX), Err(Code::FRAME_TOO_LARGE));
    }

    #[test]
    fn sequence_zero_does_not_exist() {
        let mut bytes = Vec::new();
        encode_numbered(&mut bytes, 0, &Numbered::End { channel: 1 });
        assert_eq!(decode(Header::peek(&bytes).unwrap(), &bytes[HEADER_BYTES..]), Err(Code::MALFORMED));
    }
}

//! The frames that open a carrier. Their shape never changes; they grow by extensions only (RTT-15, RTT-16).

use std::fmt;

use super::code::Code;
use super::frame::{HEADER_BYTES, Header, kind, put_header};
use super::limits::{KindLimits, Limits, Window};
use super::wire::{Put, Reader};

/// The first byte each side writes on a carrier (RTT-15).
pub const OPENING_VERSION: u8 = 0x01;
/// The frame versions this build speaks, highest first.
pub const FRAME_VERSIONS: &[u8] = &[1];
/// No opening frame has a longer body.
pub const MAX_OPENING_BODY: u32 = 8 * 1024;
const MAX_VERSIONS: usize = 16;
const MAX_EXTENSIONS: usize = 16;

/// Names a session for both ends, and nobody else's.
pub type SessionId = [u8; 16];
/// Names one start of an endpoint (RTT-35).
pub type BootId = [u8; 16];
/// A secret that resumes a session once (RTT-32). Compared in constant time, and never shown.
#[derive(Clone, Copy)]
pub struct ResumeTicket(pub [u8; 32]);

impl PartialEq for ResumeTicket {
    fn eq(&self, other: &ResumeTicket) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        std::hint::black_box(pairs.fold(0, |difference, (ours, theirs)| difference | (ours ^ theirs))) == 0
    }
}

impl Eq for ResumeTicket {}

impl fmt::Debug for ResumeTicket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ResumeTicket(..)")
    }
}

/// Something a later version may say in an opening frame (RTT-16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// What it is about.
    pub id: u16,
    /// Whether a peer that does not know it must refuse.
    pub critical: bool,
    /// Its content.
    pub content: Vec<u8>,
}

/// An opening frame. Owned: there is one of each in the life of a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpeningFrame {
    /// The initiator asks for a new session.
    Start {
        versions: Vec<u8>,
        boot_id: BootId,
        limits: Limits,
        resume_window_ms: u32,
        extensions: Vec<Extension>,
    },
    /// The acceptor grants it.
    Started {
        version: u8,
        session_id: SessionId,
        boot_id: BootId,
        ticket: ResumeTicket,
        limits: Limits,
        resume_window_ms: u32,
        extensions: Vec<Extension>,
    },
    /// The initiator asks to go on with a session on this carrier.
    Resume {
        versions: Vec<u8>,
        session_id: SessionId,
        boot_id: BootId,
        ticket: ResumeTicket,
        epoch: u32,
        cursor: u64,
        extensions: Vec<Extension>,
    },
    /// The acceptor grants that.
    Resumed {
        version: u8,
        boot_id: BootId,
        epoch: u32,
        cursor: u64,
        ticket: ResumeTicket,
        extensions: Vec<Extension>,
    },
    /// The initiator has the answer: the session or epoch is open (RTT-37).
    Confirm { session_id: SessionId, epoch: u32 },
    /// The acceptor refuses.
    Refused { code: Code, boot_id: BootId, retry_after_ms: u32 },
}

impl OpeningFrame {
    /// Reads the frame at the front of `bytes`: `None` while it is not complete; else it and the bytes used.
    pub fn parse(bytes: &[u8]) -> Result<Option<(OpeningFrame, usize)>, Code> {
        let Some(header) = Header::peek(bytes) else { return Ok(None) };
        match header.kind {
            kind::START..=kind::REFUSED => {}
            kind::OPEN..=kind::SHUTDOWN | kind::CREDIT..=kind::CLOSE => return Err(Code::OUT_OF_STATE),
            _ => return Err(Code::UNKNOWN_FRAME),
        }
        if header.flags != 0 {
            return Err(Code::UNKNOWN_FLAG);
        }
        if header.length > MAX_OPENING_BODY {
            return Err(Code::FRAME_TOO_LARGE);
        }
        let end = HEADER_BYTES + header.length as usize;
        let Some(body) = bytes.get(HEADER_BYTES..end) else { return Ok(None) };
        Ok(Some((Self::decode(header.kind, body)?, end)))
    }

    fn decode(frame_kind: u8, body: &[u8]) -> Result<OpeningFrame, Code> {
        let mut reader = Reader::new(body);
        let reader = &mut reader;
        let frame = match frame_kind {
            kind::START => OpeningFrame::Start {
                versions: read_versions(reader)?,
                boot_id: reader.array()?,
                limits: read_limits(reader)?,
                resume_window_ms: reader.u32()?,
                extensions: read_extensions(reader)?,
            },
            kind::STARTED => OpeningFrame::Started {
                version: reader.u8()?,
                session_id: reader.array()?,
                boot_id: reader.array()?,
                ticket: ResumeTicket(reader.array()?),
                limits: read_limits(reader)?,
                resume_window_ms: reader.u32()?,
                extensions: read_extensions(reader)?,
            },
            kind::RESUME => OpeningFrame::Resume {
                versions: read_versions(reader)?,
                session_id: reader.array()?,
                boot_id: reader.array()?,
                ticket: ResumeTicket(reader.array()?),
                epoch: reader.u32()?,
                cursor: reader.u64()?,
                extensions: read_extensions(reader)?,
            },
            kind::RESUMED => OpeningFrame::Resumed {
                version: reader.u8()?,
                boot_id: reader.array()?,
                epoch: reader.u32()?,
                cursor: reader.u64()?,
                ticket: ResumeTicket(reader.array()?),
                extensions: read_extensions(reader)?,
            },
            kind::CONFIRM => OpeningFrame::Confirm { session_id: reader.array()?, epoch: reader.u32()? },
            _ => OpeningFrame::Refused {
                code: Code(reader.u16()?),
                boot_id: reader.array()?,
                retry_after_ms: reader.u32()?,
            },
        };
        std::mem::replace(reader, Reader::new(&[])).finish()?;
        Ok(frame)
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(192);
        let frame_kind = match self {
            OpeningFrame::Start { versions, boot_id, limits, resume_window_ms, extensions } => {
                put_versions(&mut body, versions);
                body.extend_from_slice(boot_id);
                put_limits(&mut body, limits);
                body.put_u32(*resume_window_ms);
                put_extensions(&mut body, extensions);
                kind::START
            }
            OpeningFrame::Started {
                version,
                session_id,
                boot_id,
                ticket,
                limits,
                resume_window_ms,
                extensions,
            } => {
                body.put_u8(*version);
                body.extend_from_slice(session_id);
                body.extend_from_slice(boot_id);
                body.extend_from_slice(&ticket.0);
                put_limits(&mut body, limits);
                body.put_u32(*resume_window_ms);
                put_extensions(&mut body, extensions);
                kind::STARTED
            }
            OpeningFrame::Resume { versions, session_id, boot_id, ticket, epoch, cursor, extensions } => {
                put_versions(&mut body, versions);
                body.extend_from_slice(session_id);
                body.extend_from_slice(boot_id);
                body.extend_from_slice(&ticket.0);
                body.put_u32(*epoch);
                body.put_u64(*cursor);
                put_extensions(&mut body, extensions);
                kind::RESUME
            }
            OpeningFrame::Resumed { version, boot_id, epoch, cursor, ticket, extensions } => {
                body.put_u8(*version);
                body.extend_from_slice(boot_id);
                body.put_u32(*epoch);
                body.put_u64(*cursor);
                body.extend_from_slice(&ticket.0);
                put_extensions(&mut body, extensions);
                kind::RESUMED
            }
            OpeningFrame::Confirm { session_id, epoch } => {
                body.extend_from_slice(session_id);
                body.put_u32(*epoch);
                kind::CONFIRM
            }
            OpeningFrame::Refused { code, boot_id, retry_after_ms } => {
                body.put_u16(code.0);
                body.extend_from_slice(boot_id);
                body.put_u32(*retry_after_ms);
                kind::REFUSED
            }
        };
        put_header(out, frame_kind, 0, body.len());
        out.extend_from_slice(&body);
    }
}

fn read_versions(reader: &mut Reader<'_>) -> Result<Vec<u8>, Code> {
    let count = usize::from(reader.u8()?);
    if count == 0 || count > MAX_VERSIONS {
        return Err(Code::MALFORMED);
    }
    reader.take(count).map(<[u8]>::to_vec)
}

fn put_versions(body: &mut Vec<u8>, versions: &[u8]) {
    body.put_u8(versions.len() as u8);
    body.extend_from_slice(versions);
}

fn read_limits(reader: &mut Reader<'_>) -> Result<Limits, Code> {
    let (frame_payload, channels) = (reader.u32()?, reader.u32()?);
    let mut kinds = Limits::default().kinds;
    for limits in &mut kinds {
        *limits = KindLimits {
            max_message: reader.u32()?,
            window: Window { messages: reader.u32()?, bytes: reader.u32()? },
        };
    }
    let limits = Limits { frame_payload, channels, kinds };
    if limits.fault().is_some() { Err(Code::MALFORMED) } else { Ok(limits) }
}

fn put_limits(body: &mut Vec<u8>, limits: &Limits) {
    body.put_u32(limits.frame_payload);
    body.put_u32(limits.channels);
    for kind in &limits.kinds {
        body.put_u32(kind.max_message);
        body.put_u32(kind.window.messages);
        body.put_u32(kind.window.bytes);
    }
}

fn read_extensions(reader: &mut Reader<'_>) -> Result<Vec<Extension>, Code> {
    let count = usize::from(reader.u8()?);
    if count > MAX_EXTENSIONS {
        return Err(Code::MALFORMED);
    }
    let mut extensions: Vec<Extension> = Vec::new();
    for _ in 0..count {
        let (id, critical, length) = (reader.u16()?, reader.u8()?, reader.u16()?);
        if critical > 1 || extensions.iter().any(|known| known.id == id) {
            return Err(Code::MALFORMED);
        }
        let content = reader.take(usize::from(length))?.to_vec();
        extensions.push(Extension { id, critical: critical == 1, content });
    }
    Ok(extensions)
}

fn put_extensions(body: &mut Vec<u8>, extensions: &[Extension]) {
    body.put_u8(extensions.len() as u8);
    for extension in extensions {
        body.put_u16(extension.id);
        body.put_u8(u8::from(extension.critical));
        body.put_u16(extension.content.len() as u16);
        body.extend_from_slice(&extension.content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<OpeningFrame> {
        let extensions = vec![Extension { id: 7, critical: false, content: b"later".to_vec() }];
        let limits = Limits::default();
        vec![
            OpeningFrame::Start {
                versions: vec![1, 2],
                boot_id: [1; 16],
                limits,
                resume_window_ms: 0,
                extensions: extensions.clone(),
            },
            OpeningFrame::Started {
                version: 1,
                session_id: [2; 16],
                boot_id: [3; 16],
                ticket: ResumeTicket([4; 32]),
                limits,
                resume_window_ms: 600_000,
                extensions: vec![],
            },
            OpeningFrame::Resume {
                versions: vec![1],
                session_id: [2; 16],
                boot_id: [1; 16],
                ticket: ResumeTicket([4; 32]),
                epoch: 1,
                cursor: 77,
                extensions: extensions.clone(),
            },
            OpeningFrame::Resumed {
                version: 1,
                boot_id: [3; 16],
                epoch: 1,
                cursor: 5,
                ticket: ResumeTicket([5; 32]),
                extensions,
            },
            OpeningFrame::Confirm { session_id: [2; 16], epoch: 0 },
            OpeningFrame::Refused { code: Code::BUSY, boot_id: [3; 16], retry_after_ms: 250 },
        ]
    }

    #[test]
    fn every_opening_frame_survives_the_wire_and_no_prefix_does() {
        for frame in samples() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            assert_eq!(OpeningFrame::parse(&bytes), Ok(Some((frame, bytes.len()))));
            for end in 0..bytes.len() {
                assert_eq!(OpeningFrame::parse(&bytes[..end]), Ok(None));
            }
            // A length that disagrees with the fields, either way (RTT-17).
            for length in [bytes.len() - HEADER_BYTES - 1, bytes.len() - HEADER_BYTES + 1] {
                let mut wrong = bytes.clone();
                wrong[2..6].copy_from_slice(&(length as u32).to_be_bytes());
                wrong.push(0);
                assert_eq!(OpeningFrame::parse(&wrong), Err(Code::MALFORMED));
            }
        }
    }

    #[test]
    fn only_opening_frames_open() {
        assert_eq!(OpeningFrame::parse(&[kind::DATA, 0x80, 0, 0, 0, 0]), Err(Code::OUT_OF_STATE));
        assert_eq!(OpeningFrame::parse(&[0x41, 0, 0, 0, 0, 0]), Err(Code::UNKNOWN_FRAME));
        assert_eq!(OpeningFrame::parse(&[kind::START, 1, 0, 0, 0, 0]), Err(Code::UNKNOWN_FLAG));
        assert_eq!(OpeningFrame::parse(&[kind::START, 0, 0xff, 0, 0, 0]), Err(Code::FRAME_TOO_LARGE));
    }
}

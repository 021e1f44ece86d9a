//! The vectors of the wire format (RTT-14): `tests/vectors/rtt/*.json` are what this build writes and refuses, and
//! `docs/reference/rtt-wire.md` says the same. Anything stale fails; after a change that is meant, write them anew:
//!
//! ```text
//! WEB4_WRITE_VECTORS=1 cargo test --test rtt_vectors
//! ```

mod session_pair;

use bytes::Bytes;
use serde_json::{Value, json};
use session_pair::Scripted;
use web4_core::rtt::frame::{self, Frame, HEADER_BYTES, Header, Numbered};
use web4_core::rtt::opening_frame::{Extension, OpeningFrame};
use web4_core::rtt::{
    ChannelId, Code, Kind, Limits, Opening, OpeningStep, Options, Policy, ResumeTicket, Session, Window,
};

fn path(name: &str) -> String {
    format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares a file with what it should hold, or writes it.
fn up_to_date(name: &str, about: &str, vectors: Vec<Value>) {
    let file = path(&format!("tests/vectors/rtt/{name}.json"));
    let mut text = serde_json::to_string_pretty(&json!({ "about": about, "vectors": vectors })).unwrap();
    text.push('\n');
    if std::env::var_os("WEB4_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(path("tests/vectors/rtt")).unwrap();
        std::fs::write(&file, &text).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{name}.json is stale: WEB4_WRITE_VECTORS=1 cargo test --test rtt_vectors");
}

fn session_frame(name: &str, kind: &str, frame: Frame<'_>, fields: Value) -> Value {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, &frame);
    let header = Header::peek(&bytes).unwrap();
    header.check(16 * 1024).unwrap();
    assert_eq!(frame::decode(header, &bytes[HEADER_BYTES..]), Ok(frame));
    json!({ "name": name, "frame": kind, "hex": hex(&bytes), "fields": fields })
}

fn optional_frame(name: &str, bytes: &[u8], fields: Value) -> Value {
    let header = Header::peek(bytes).unwrap();
    header.check(16 * 1024).unwrap();
    let frame = frame::decode(header, &bytes[HEADER_BYTES..]).unwrap();
    assert!(matches!(frame, Frame::Unknown | Frame::Numbered(_, Numbered::Unknown)));
    json!({ "name": name, "frame": "optional", "hex": hex(bytes), "fields": fields })
}

#[test]
fn rtt_session_frame_vectors_are_current() {
    let open = Numbered::Open {
        channel: 1,
        kind: Kind::Knowledge as u8,
        name: "facts",
        credit: Window { messages: 1024, bytes: 1024 * 1024 },
        max_message: 1024 * 1024,
    };
    let data = |total, last, payload| Numbered::Data { channel: 1, total, last, payload };
    up_to_date(
        "session_frames",
        "Frames of an open session, one each, with what they say. Octet strings in hex, texts as texts.",
        vec![
            session_frame(
                "open",
                "OPEN",
                Frame::Numbered(1, open),
                json!({ "seq": 1, "channel": 1, "kind": 2, "credit_messages": 1024, "credit_bytes": 1_048_576,
                        "max_message": 1_048_576, "name": "facts" }),
            ),
            session_frame(
                "a whole message",
                "DATA",
                Frame::Numbered(2, data(Some(5), true, b"hello")),
                json!({ "seq": 2, "channel": 1, "first": true, "last": true, "total": 5,
                        "payload": hex(b"hello") }),
            ),
            session_frame(
                "an empty message",
                "DATA",
                Frame::Numbered(3, data(Some(0), true, b"")),
                json!({ "seq": 3, "channel": 1, "first": true, "last": true, "total": 0, "payload": "" }),
            ),
            session_frame(
                "the first fragment",
                "DATA",
                Frame::Numbered(4, data(Some(9), false, b"abcd")),
                json!({ "seq": 4, "channel": 1, "first": true, "last": false, "total": 9,
                        "payload": hex(b"abcd") }),
            ),
            session_frame(
                "a middle fragment",
                "DATA",
                Frame::Numbered(5, data(None, false, b"efgh")),
                json!({ "seq": 5, "channel": 1, "first": false, "last": false, "payload": hex(b"efgh") }),
            ),
            session_frame(
                "the last fragment, at the last number there is",
                "DATA",
                Frame::Numbered(u64::MAX, data(None, true, b"i")),
                json!({ "seq": u64::MAX, "channel": 1, "first": false, "last": true, "payload": hex(b"i") }),
            ),
            session_frame(
                "end",
                "END",
                Frame::Numbered(6, Numbered::End { channel: 1 }),
                json!({ "seq": 6, "channel": 1 }),
            ),
            session_frame(
                "reset",
                "RESET",
                Frame::Numbered(7, Numbered::Reset { channel: 2, code: Code::CANCELLED }),
                json!({ "seq": 7, "channel": 2, "code": Code::CANCELLED.0 }),
            ),
            session_frame(
                "shutdown",
                "SHUTDOWN",
                Frame::Numbered(8, Numbered::Shutdown { code: Code::NORMAL }),
                json!({ "seq": 8, "code": 0 }),
            ),
            session_frame(
                "credit",
                "CREDIT",
                Frame::Credit { channel: 0, messages: 384, bytes: (1 << 40) + 5 },
                json!({ "channel": 0, "messages": 384, "bytes": (1u64 << 40) + 5 }),
            ),
            session_frame("ack", "ACK", Frame::Ack { cursor: 300 }, json!({ "cursor": 300 })),
            session_frame(
                "ping",
                "PING",
                Frame::Ping { token: [1, 2, 3, 4, 5, 6, 7, 8] },
                json!({ "token": "0102030405060708" }),
            ),
            session_frame(
                "pong",
                "PONG",
                Frame::Pong { token: [1, 2, 3, 4, 5, 6, 7, 8] },
                json!({ "token": "0102030405060708" }),
            ),
            session_frame(
                "close",
                "CLOSE",
                Frame::Close { code: Code::APPLICATION, reason: "adi\u{f3}s" },
                json!({ "code": 1, "reason": "adi\u{f3}s" }),
            ),
            session_frame(
                "close without a word",
                "CLOSE",
                Frame::Close { code: Code::SEQUENCE_GAP, reason: "" },
                json!({ "code": 0x0307, "reason": "" }),
            ),
            optional_frame(
                "an optional frame nobody knows",
                &[0x40, 0, 0, 0, 0, 3, 1, 2, 3],
                json!({ "type": 0x40, "content": "010203" }),
            ),
            optional_frame(
                "an optional frame with a number",
                &[0x7f, 0x80, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9, 0xff],
                json!({ "type": 0x7f, "seq": 9, "content": "ff" }),
            ),
        ],
    );
}

fn limits_json(limits: &Limits) -> Value {
    let kinds: Vec<Value> = limits
        .kinds
        .iter()
        .map(|kind| {
            json!({ "max_message": kind.max_message, "messages": kind.window.messages,
                    "bytes": kind.window.bytes })
        })
        .collect();
    json!({ "frame_payload": limits.frame_payload, "channels": limits.channels, "kinds": kinds })
}

fn opening_frame(name: &str, kind: &str, frame: OpeningFrame, fields: Value) -> Value {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    assert_eq!(OpeningFrame::parse(&bytes), Ok(Some((frame, bytes.len()))));
    json!({ "name": name, "frame": kind, "hex": hex(&bytes), "fields": fields })
}

#[test]
fn rtt_opening_frame_vectors_are_current() {
    let limits = Limits::default();
    let extensions = vec![
        Extension { id: 7, critical: false, content: b"later".to_vec() },
        Extension { id: 0x0102, critical: true, content: vec![] },
    ];
    let extensions_json = json!([
        { "id": 7, "critical": false, "content": hex(b"later") },
        { "id": 258, "critical": true, "content": "" },
    ]);
    let (boot_id, session_id, ticket) = ([0x11; 16], [0x33; 16], [0x44; 32]);
    up_to_date(
        "opening_frames",
        "Opening frames, without the version byte before the first of each side. Octet strings in hex.",
        vec![
            opening_frame(
                "start",
                "START",
                OpeningFrame::Start {
                    versions: vec![1],
                    boot_id,
                    limits,
                    resume_window_ms: 0,
                    extensions: vec![],
                },
                json!({ "versions": [1], "boot_id": hex(&boot_id), "limits": limits_json(&limits),
                        "resume_window_ms": 0, "extensions": [] }),
            ),
            opening_frame(
                "start of a later version, with extensions",
                "START",
                OpeningFrame::Start {
                    versions: vec![3, 2, 1],
                    boot_id,
                    limits,
                    resume_window_ms: 600_000,
                    extensions: extensions.clone(),
                },
                json!({ "versions": [3, 2, 1], "boot_id": hex(&boot_id), "limits": limits_json(&limits),
                        "resume_window_ms": 600_000, "extensions": extensions_json }),
            ),
            opening_frame(
                "started",
                "STARTED",
                OpeningFrame::Started {
                    version: 1,
                    session_id,
                    boot_id: [0x22; 16],
                    ticket: ResumeTicket(ticket),
                    limits,
                    resume_window_ms: 0,
                    extensions: vec![],
                },
                json!({ "version": 1, "session_id": hex(&session_id), "boot_id": hex(&[0x22; 16]),
                        "ticket": hex(&ticket), "limits": limits_json(&limits), "resume_window_ms": 0,
                        "extensions": [] }),
            ),
            opening_frame(
                "resume",
                "RESUME",
                OpeningFrame::Resume {
                    versions: vec![1],
                    session_id,
                    boot_id,
                    ticket: ResumeTicket(ticket),
                    epoch: 1,
                    cursor: 77,
                    extensions: extensions.clone(),
                },
                json!({ "versions": [1], "session_id": hex(&session_id), "boot_id": hex(&boot_id),
                        "ticket": hex(&ticket), "epoch": 1, "cursor": 77, "extensions": extensions_json }),
            ),
            opening_frame(
                "resumed",
                "RESUMED",
                OpeningFrame::Resumed {
                    version: 1,
                    boot_id: [0x22; 16],
                    epoch: 1,
                    cursor: 1 << 33,
                    ticket: ResumeTicket([0x55; 32]),
                    extensions: vec![],
                },
                json!({ "version": 1, "boot_id": hex(&[0x22; 16]), "epoch": 1, "cursor": 1u64 << 33,
                        "ticket": hex(&[0x55; 32]), "extensions": [] }),
            ),
            opening_frame(
                "confirm",
                "CONFIRM",
                OpeningFrame::Confirm { session_id, epoch: 0 },
                json!({ "session_id": hex(&session_id), "epoch": 0 }),
            ),
            opening_frame(
                "refused",
                "REFUSED",
                OpeningFrame::Refused { code: Code::BUSY, boot_id: [0x22; 16], retry_after_ms: 250 },
                json!({ "code": Code::BUSY.0, "boot_id": hex(&[0x22; 16]), "retry_after_ms": 250 }),
            ),
        ],
    );
}

/// A frame that a session of the default limits refuses, whatever came before.
fn refused(name: &str, bytes: &[u8], code: Code) -> Value {
    let mut peer = Scripted::new(&Options::default());
    assert_eq!(peer.raw(bytes), Err(code), "{name}");
    json!({ "name": name, "phase": "session", "hex": hex(bytes), "code": code.0, "word": code.word() })
}

/// A frame that no opening takes.
fn refused_opening(name: &str, bytes: &[u8], code: Code) -> Value {
    assert_eq!(OpeningFrame::parse(bytes), Err(code), "{name}");
    json!({ "name": name, "phase": "opening", "hex": hex(bytes), "code": code.0, "word": code.word() })
}

fn spoilt(frame: &OpeningFrame, at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

fn spoilt_open(name: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x10, 0x80, 0, 0, 0, 25 + name.len() as u8];
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 64, 0, 4, 0, 0, 0, 1, 0, 0]);
    bytes.extend(name);
    bytes
}

#[test]
fn rtt_refused_frame_vectors_are_current() {
    let mut long_close = vec![0x24, 0, 0, 0, 1, 3, 0, 0];
    long_close.extend([b'r'; 257]);
    let start = |extensions: Vec<Extension>| OpeningFrame::Start {
        versions: vec![1],
        boot_id: [0x11; 16],
        limits: Limits::default(),
        resume_window_ms: 0,
        extensions,
    };
    let two = vec![
        Extension { id: 1, critical: false, content: vec![] },
        Extension { id: 2, critical: false, content: vec![] },
    ];
    // Where the fields of that START lie: header 6, count and versions 2, boot id 16, limits 44, window 4, extensions.
    let (versions, limits, extensions) = (6, 24, 72);
    up_to_date(
        "refused_frames",
        "Input that is a violation by itself, and the code it gets. `session`: with a frame payload of 16384.",
        vec![
            refused(
                "a field is missing a byte",
                &[0x21, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
                Code::MALFORMED,
            ),
            refused("a byte too many", &[0x21, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0], Code::MALFORMED),
            refused("no sequence number", &[0x12, 0x80, 0, 0, 0, 3, 0, 0, 0], Code::MALFORMED),
            refused(
                "sequence number zero",
                &[0x12, 0x80, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                Code::MALFORMED,
            ),
            refused("a name of nothing", &spoilt_open(b""), Code::MALFORMED),
            refused("a name of 65 characters", &spoilt_open(&[b'x'; 65]), Code::MALFORMED),
            refused("a name that cannot be printed", &spoilt_open(b"a\x7f"), Code::MALFORMED),
            refused("a name beyond ASCII", &spoilt_open("\u{e9}".as_bytes()), Code::MALFORMED),
            refused("a reason of 257 bytes", &long_close, Code::MALFORMED),
            refused("a reason that is not UTF-8", &[0x24, 0, 0, 0, 0, 4, 0, 0, 0xc3, 0x28], Code::MALFORMED),
            refused("a core type without a meaning", &[0x3f, 0, 0, 0, 0, 0], Code::UNKNOWN_FRAME),
            refused("a core type between others", &[0x15, 0x80, 0, 0, 0, 12], Code::UNKNOWN_FRAME),
            refused("type zero", &[0x00, 0, 0, 0, 0, 0], Code::UNKNOWN_FRAME),
            refused("a reserved type", &[0x80, 0, 0, 0, 0, 0], Code::UNKNOWN_FRAME),
            refused("DATA without a number", &[0x11, 0x03, 0, 0, 0, 21], Code::UNKNOWN_FLAG),
            refused("ACK with a number", &[0x21, 0x80, 0, 0, 0, 8], Code::UNKNOWN_FLAG),
            refused("a flag without a meaning", &[0x11, 0x87, 0, 0, 0, 21], Code::UNKNOWN_FLAG),
            refused("an optional frame with a flag", &[0x40, 0x01, 0, 0, 0, 0], Code::UNKNOWN_FLAG),
            refused("START in a session", &[0x01, 0, 0, 0, 0, 0], Code::OUT_OF_STATE),
            refused("REFUSED in a session", &[0x06, 0, 0, 0, 0, 22], Code::OUT_OF_STATE),
            refused("DATA of 16385 bytes", &[0x11, 0x81, 0, 0, 0x40, 0x11], Code::FRAME_TOO_LARGE),
            refused("an optional frame of 16385 bytes", &[0x40, 0, 0, 0, 0x40, 0x01], Code::FRAME_TOO_LARGE),
            refused("CLOSE of 1025 bytes", &[0x24, 0, 0, 0, 4, 1], Code::FRAME_TOO_LARGE),
            refused("OPEN of four gigabytes", &[0x10, 0x80, 0xff, 0xff, 0xff, 0xff], Code::FRAME_TOO_LARGE),
            refused_opening("DATA in an opening", &[0x11, 0x80, 0, 0, 0, 0], Code::OUT_OF_STATE),
            refused_opening("an optional frame in an opening", &[0x40, 0, 0, 0, 0, 0], Code::UNKNOWN_FRAME),
            refused_opening("an opening frame with a flag", &[0x01, 0x80, 0, 0, 0, 0], Code::UNKNOWN_FLAG),
            refused_opening(
                "an opening frame of 8193 bytes",
                &[0x01, 0, 0, 0, 0x20, 0x01],
                Code::FRAME_TOO_LARGE,
            ),
            refused_opening("no version", &spoilt(&start(vec![]), versions, &[0]), Code::MALFORMED),
            refused_opening("seventeen versions", &spoilt(&start(vec![]), versions, &[17]), Code::MALFORMED),
            refused_opening(
                "a frame payload of 4095",
                &spoilt(&start(vec![]), limits, &[0, 0, 0x0f, 0xff]),
                Code::MALFORMED,
            ),
            refused_opening(
                "a frame payload of 65537",
                &spoilt(&start(vec![]), limits, &[0, 1, 0, 1]),
                Code::MALFORMED,
            ),
            refused_opening(
                "no channel",
                &spoilt(&start(vec![]), limits + 4, &[0, 0, 0, 0]),
                Code::MALFORMED,
            ),
            refused_opening(
                "65537 channels",
                &spoilt(&start(vec![]), limits + 4, &[0, 1, 0, 1]),
                Code::MALFORMED,
            ),
            refused_opening(
                "no message",
                &spoilt(&start(vec![]), limits + 8, &[0, 0, 0, 0]),
                Code::MALFORMED,
            ),
            refused_opening(
                "messages beyond 64 MiB",
                &spoilt(&start(vec![]), limits + 8, &[4, 0, 0, 1]),
                Code::MALFORMED,
            ),
            refused_opening(
                "a window of no message",
                &spoilt(&start(vec![]), limits + 12, &[0, 0, 0, 0]),
                Code::MALFORMED,
            ),
            refused_opening(
                "a window below a message",
                &spoilt(&start(vec![]), limits + 16, &[0, 0, 0xff, 0xff]),
                Code::MALFORMED,
            ),
            refused_opening(
                "seventeen extensions",
                &spoilt(&start(vec![]), extensions, &[17]),
                Code::MALFORMED,
            ),
            refused_opening(
                "critical is neither 0 nor 1",
                &spoilt(&start(two.clone()), extensions + 3, &[2]),
                Code::MALFORMED,
            ),
            refused_opening(
                "an extension twice",
                &spoilt(&start(two.clone()), extensions + 6, &[0, 1]),
                Code::MALFORMED,
            ),
            refused_opening(
                "an extension beyond the frame",
                &spoilt(&start(two), extensions + 9, &[0, 1]),
                Code::MALFORMED,
            ),
        ],
    );
}

/// A session that opened and carried one message: both ends of it, and what each of them wrote (initiator first).
struct Opened {
    written: [Vec<u8>; 2],
    sessions: [Session; 2],
    facts: ChannelId,
}

fn opened() -> Opened {
    let options = Options::default();
    let (mut initiator, mut acceptor) = (Vec::new(), Vec::new());
    let mut dial = Opening::initiate(&options, [0x11; 16], &mut initiator);
    let mut accept = Opening::accept(&options, [0x22; 16]);
    assert!(matches!(accept.receive(&initiator, &mut acceptor), Ok(OpeningStep::Asked { .. })));
    accept.answer([0x33; 16], ResumeTicket([0x44; 32]), &mut acceptor);
    let start = initiator.len();
    let Ok(OpeningStep::Open(dialled)) = dial.receive(&acceptor, &mut initiator) else { panic!("open") };
    let step = accept.receive(&initiator[start..], &mut acceptor);
    let Ok(OpeningStep::Open(accepted)) = step else { panic!("open") };
    let mut here = Session::new(dialled.session_id, dialled.agreement, &options, 0);
    let mut there = Session::new(accepted.session_id, accepted.agreement, &options, 0);
    here.allow_resume(dialled.ticket);
    there.allow_resume(accepted.ticket);
    let facts = here.open_channel(Kind::Knowledge, "facts", Policy::Block).unwrap();
    send(&mut here, facts, b"hello");
    let before = initiator.len();
    write(&mut here, &mut initiator);
    there.receive_plaintext(&initiator[before..], 0).unwrap();
    there.handle_timeout(options.ack_delay);
    write(&mut there, &mut acceptor);
    Opened { written: [initiator, acceptor], sessions: [here, there], facts }
}

fn send(session: &mut Session, channel: ChannelId, message: &'static [u8]) {
    session.send(channel, vec![Bytes::from_static(message)], true, 1).unwrap();
}

fn write(session: &mut Session, out: &mut Vec<u8>) {
    while session.transmit(out) {}
}

/// The same session, a cut, and another carrier: what was written before the cut and after `opened`, of which only the
/// acceptor's arrives; and everything on the second carrier. The initiator's comes first.
fn resumed() -> [Vec<u8>; 4] {
    let options = Options::default();
    let Opened { written, sessions: [mut here, mut there], facts } = opened();
    let now = options.ack_delay;
    let acknowledgement = written[1].len() - HEADER_BYTES - 8;
    here.receive_plaintext(&written[1][acknowledgement..], now).unwrap();
    assert_eq!(&there.receive(facts).unwrap()[..], b"hello");

    let (mut cut, mut arrived) = (Vec::new(), Vec::new());
    send(&mut there, facts, b"noted");
    write(&mut there, &mut arrived);
    let draft = here.open_channel(Kind::Knowledge, "draft", Policy::Block).unwrap();
    send(&mut here, facts, b"world");
    send(&mut here, draft, b"maybe");
    write(&mut here, &mut cut);
    here.receive_plaintext(&arrived, now).unwrap();
    here.carrier_lost(now);
    there.carrier_lost(now);
    here.reset_channel(draft, Code::CANCELLED);
    send(&mut here, facts, b"again");

    let (mut initiator, mut acceptor) = (Vec::new(), Vec::new());
    let request = here.ask_resume().unwrap();
    let mut dial = Opening::resume(&options, [0x11; 16], request, &mut initiator);
    let mut accept = Opening::accept(&options, [0x22; 16]);
    let step = accept.receive(&initiator, &mut acceptor);
    assert_eq!(step, Ok(OpeningStep::AskedResume(request)));
    let grant = there.grant_resume(&request, ResumeTicket([0x55; 32]), now).unwrap();
    accept.answer_resume(grant, &mut acceptor);
    let start = initiator.len();
    let step = dial.receive(&acceptor, &mut initiator);
    let Ok(OpeningStep::Resumed(granted)) = step else { panic!("resumed") };
    let step = accept.receive(&initiator[start..], &mut acceptor);
    let Ok(OpeningStep::Resumed(confirmed)) = step else { panic!("resumed") };
    here.resume(&granted.resumed, now).unwrap();
    there.resume(&confirmed.resumed, now).unwrap();
    let before = initiator.len();
    write(&mut here, &mut initiator);
    write(&mut there, &mut acceptor);
    there.receive_plaintext(&initiator[before..], now).unwrap();
    there.handle_timeout(2 * now);
    write(&mut there, &mut acceptor);
    assert_eq!(&there.receive(facts).unwrap()[..], b"world");
    assert_eq!(&there.receive(facts).unwrap()[..], b"again");
    [cut, arrived, initiator, acceptor]
}

#[test]
fn rtt_transcript_vector_is_current() {
    let [initiator, acceptor] = opened().written;
    up_to_date(
        "transcript",
        "All plaintext of both sides while a session opens and one message goes over it.",
        vec![
            json!({ "side": "initiator", "hex": hex(&initiator),
                    "frames": ["START", "CONFIRM", "OPEN", "DATA"] }),
            json!({ "side": "acceptor", "hex": hex(&acceptor), "frames": ["STARTED", "ACK"] }),
        ],
    );
}

#[test]
fn rtt_resume_transcript_vector_is_current() {
    let part = |carrier: u32, side: &str, arrives: bool, bytes: &[u8], frames: &[&str]| json!({ "carrier": carrier, "side": side, "arrives": arrives, "hex": hex(bytes), "frames": frames });
    let [cut, arrived, initiator, acceptor] = resumed();
    up_to_date(
        "resume_transcript",
        "The session of transcript.json goes on: what is written on its first carrier until that is cut, and all \
         plaintext of the second. What does not arrive is written again.",
        vec![
            part(0, "acceptor", true, &arrived, &["CREDIT", "DATA"]),
            part(0, "initiator", false, &cut, &["OPEN", "DATA", "DATA"]),
            part(
                1,
                "initiator",
                true,
                &initiator,
                &["RESUME", "CONFIRM", "OPEN", "DATA", "RESET", "CREDIT", "CREDIT", "RESET", "DATA"],
            ),
            part(1, "acceptor", true, &acceptor, &["RESUMED", "CREDIT", "CREDIT", "ACK"]),
        ],
    );
}

/// The reference page is kept by hand; its numbers are not.
#[test]
fn rtt_wire_page_is_current() {
    let page = std::fs::read_to_string(path("docs/reference/rtt-wire.md")).unwrap();
    for (code, word) in Code::ALL {
        let row = format!("| `{:#06x}` | `{word}` |", code.0);
        assert!(page.contains(&row), "the page has no row {row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `0x0") && line.matches('`').count() >= 4);
    assert_eq!(rows.count(), Code::ALL.len(), "the page lists a code that does not exist");
    // The worked examples are the transcripts, in order.
    let (_, examples) = page.split_once("## A worked example").expect("a worked example");
    let (opening, resume) = examples.split_once("## A worked example of a resume").expect("another one");
    for (side, bytes) in ["initiator", "acceptor"].into_iter().zip(opened().written) {
        assert_eq!(written_after(opening, &format!("{side} writes")), hex(&bytes), "the {side}");
    }
    let sides =
        ["the initiator wrote on", "the acceptor wrote there", "initiator writes:", "acceptor writes there:"];
    for (side, bytes) in sides.into_iter().zip(resumed()) {
        assert_eq!(written_after(resume, side), hex(&bytes), "{side}, around a resume");
    }
}

/// The hexadecimal digits of the first block of code after a line that contains `mark`, without its comments.
fn written_after(text: &str, mark: &str) -> String {
    text.lines()
        .skip_while(|line| !line.contains(mark))
        .skip_while(|line| !line.starts_with("```"))
        .skip(1)
        .take_while(|line| !line.starts_with("```"))
        .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
        .collect()
}

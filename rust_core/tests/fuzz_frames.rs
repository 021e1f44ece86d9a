//! Fuzzes the openings and the session on the stable toolchain: random bytes, structured frames, and mutations.
//!
//! `WEB4_FUZZ_ITERATIONS` (default 20 000) and `WEB4_FUZZ_SEED` (default: a fixed one) are read from the environment;
//! both are printed, so that a failure can be repeated:
//!
//! ```text
//! WEB4_FUZZ_ITERATIONS=1000000 cargo test --release --test fuzz_frames -- --nocapture
//! ```
//!
//! What is asserted: no panic; no more memory than a small multiple of the input; the verdict does not depend on how
//! the input is cut; nothing is delivered but the contents of sound frames, judged by a second decoder in this file;
//! nothing opens but a sound opening.

mod counting;
mod session_pair;

use std::collections::BTreeMap;

use bytes::Bytes;
use counting::Counting;
use session_pair::*;
use web4_core::rtt::frame::{self, FIRST, Frame, LAST, NUMBERED, Numbered};
use web4_core::rtt::opening_frame::OpeningFrame;
use web4_core::rtt::{
    Agreement, Code, Event, Kind, Opening, OpeningStep, Options, Policy, ResumeTicket, Session, State, Window,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a session with its channels may cost beside its input.
const FIXED_MEMORY: usize = 512 * 1024;
/// A message without bytes costs a frame of 22 and a vector; growing doubles for a moment.
const MEMORY_PER_BYTE: usize = 8;

fn bounded<R>(input: usize, what: &dyn Fn() -> String, work: impl FnOnce() -> R) -> R {
    let (outcome, used) = counting::peak(work);
    assert!(used <= FIXED_MEMORY + MEMORY_PER_BYTE * input, "{used} bytes for {input}: {}", what());
    outcome
}

/// The numbers that parsers stumble over.
const INTERESTING: [u32; 14] = [0, 1, 2, 3, 5, 6, 7, 63, 255, 1024, 1025, 16 * 1024, u32::MAX - 1, u32::MAX];

fn interesting(random: &mut Random) -> u32 {
    match random.below(3) {
        0 => INTERESTING[random.below(INTERESTING.len() as u64) as usize],
        1 => random.below(16) as u32,
        _ => random.next() as u32,
    }
}

/// Frames that are sound each for itself, and often in their place.
fn structured(random: &mut Random) -> Vec<u8> {
    let (mut bytes, mut seq, mut opened) = (Vec::new(), 0, 0);
    for _ in 0..random.below(40) {
        if random.below(12) > 0 {
            seq += 1;
        }
        let channel = match random.below(8) {
            0 => interesting(random),
            1 => 2,
            2..4 => 0,
            _ => 2 * (random.below(u64::from(opened).max(1)) as u32) + 1,
        };
        let payload = vec![random.next() as u8; random.below(300) as usize];
        let numbered = match random.below(16) {
            0..3 => {
                opened += 1;
                let credit =
                    Window { messages: 1 + interesting(random) % 9, bytes: 1024 + interesting(random) % 99 };
                let max_message = 1 + interesting(random) % 1025;
                let kind = random.below(4) as u8;
                Numbered::Open { channel: 2 * opened - 1, kind, name: "fuzz", credit, max_message }
            }
            3..9 => {
                let whole = random.below(3) > 0;
                let total = (whole || random.below(2) == 0).then_some(payload.len() as u32);
                let total = total.map(|total| if whole { total } else { total + random.below(400) as u32 });
                Numbered::Data { channel, total, last: whole || random.below(2) == 0, payload: &payload }
            }
            9 => Numbered::End { channel },
            10 => Numbered::Reset { channel, code: Code(random.next() as u16) },
            11 if random.below(8) == 0 => Numbered::Shutdown { code: Code::NORMAL },
            _ => {
                seq -= u64::from(seq > 0);
                let frame = match random.below(8) {
                    0..3 => Frame::Ack { cursor: random.below(5) },
                    3..5 => {
                        let messages = u64::from(interesting(random));
                        Frame::Credit { channel, messages, bytes: messages << random.below(40) }
                    }
                    5 => Frame::Ping { token: random.next().to_be_bytes() },
                    6 => Frame::Pong { token: random.next().to_be_bytes() },
                    _ if random.below(6) == 0 => Frame::Close { code: Code::NORMAL, reason: "fuzz" },
                    _ => {
                        bytes.extend([0x40 + random.below(64) as u8, 0, 0, 0, 0, 2, 1, 2]);
                        continue;
                    }
                };
                frame::encode(&mut bytes, &frame);
                continue;
            }
        };
        frame::encode_numbered(&mut bytes, seq.max(1), &numbered);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let length = bytes.len() as u64;
        let at = random.below(length) as usize;
        let end = (at + 1 + random.below(24) as usize).min(bytes.len());
        match random.below(8) {
            _ if bytes.is_empty() => bytes.extend(interesting(random).to_be_bytes()),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let value = interesting(random).to_be_bytes();
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => bytes.truncate(at),
            6 => bytes.splice(at..at, random.bytes(random.0 as usize % 9)).for_each(drop),
            _ => bytes.swap(at, end - 1),
        }
    }
}

/// What a second decoder makes of an input: the contents of sound DATA frames by channel and in order, and whether
/// every frame that is complete is sound for itself. It knows nothing but the table of frames.
#[derive(Debug, Default)]
struct Judged {
    contents: BTreeMap<u32, Vec<u8>>,
    sound: bool,
    closed: bool,
}

fn judge(mut input: &[u8]) -> Judged {
    let mut judged = Judged { sound: true, ..Judged::default() };
    while input.len() >= 6 {
        let (kind, flags) = (input[0], input[1]);
        let length = u32::from_be_bytes(input[2..6].try_into().unwrap()) as usize;
        let numbered = flags & NUMBERED != 0;
        let lengths = match (kind, flags & !NUMBERED, numbered) {
            (0x10, 0, true) => 26..=89,
            (0x11, flags, true) if flags & FIRST != 0 && flags & !(FIRST | LAST) == 0 => 16..=16 + 16 * 1024,
            (0x11, 0 | LAST, true) => 12..=12 + 16 * 1024,
            (0x12, 0, true) => 12..=12,
            (0x13, 0, true) => 14..=14,
            (0x14, 0, true) => 10..=10,
            (0x20, 0, false) => 20..=20,
            (0x21..=0x23, 0, false) => 8..=8,
            (0x24, 0, false) => 2..=258,
            (0x40..=0x7f, 0, true) => 8..=16 * 1024,
            (0x40..=0x7f, 0, false) => 0..=16 * 1024,
            _ => {
                judged.sound = false;
                return judged;
            }
        };
        let Some(body) = input.get(6..6 + length) else { return judged };
        let seq_is_zero = numbered && body.len() >= 8 && body[..8] == [0; 8];
        if !lengths.contains(&length) || seq_is_zero {
            judged.sound = false;
            return judged;
        }
        if kind == 0x24 {
            judged.closed = true;
            judged.sound = std::str::from_utf8(&body[2..]).is_ok();
            return judged;
        }
        if kind == 0x11 {
            let channel = u32::from_be_bytes(body[8..12].try_into().unwrap());
            let payload = &body[if flags & FIRST != 0 { 16 } else { 12 }..];
            judged.contents.entry(channel).or_default().extend(payload);
        }
        input = &input[6 + length..];
    }
    judged
}

/// A session in the middle of its life: a channel of its own, messages that wait for acknowledgement and for credit.
fn session(options: &Options) -> Session {
    let agreement = Agreement { initiator: false, limits: options.limits, resume_window_ms: 0 };
    let mut session = Session::new([7; 16], agreement, options, 0);
    let id = session.open_channel(Kind::Knowledge, "mine", Policy::DropOldest).expect("room");
    session.send(id, vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")], false, 0).expect("room");
    session.transmit(&mut Vec::new());
    session.send(id, vec![Bytes::from(vec![3; 900]); 4], false, 0).expect("room");
    session
}

/// Everything about the outcome that must not depend on how the input was cut.
#[derive(Debug, PartialEq)]
struct Outcome {
    verdict: Result<(), Code>,
    state: State,
    received: BTreeMap<u32, Vec<Vec<u8>>>,
    events: Vec<Event>,
    lost: usize,
}

fn feed(options: &Options, input: &[u8], cuts: u64, random: &mut Random) -> Outcome {
    let mut session = session(options);
    let (mut verdict, mut rest) = (Ok(()), input);
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.len().min(1 + random.below(cuts) as usize));
        rest = more;
        let outcome = session.receive_plaintext(piece, 1);
        assert_eq!(outcome.is_err(), outcome.is_err() && verdict.is_ok(), "one violation is enough");
        verdict = verdict.and(outcome);
    }
    let events: Vec<Event> = std::iter::from_fn(|| session.poll_event()).collect();
    let ids = (0..200).chain([u32::MAX - 1, u32::MAX]);
    let mut received = BTreeMap::new();
    for id in ids {
        if let Some(stats) = session.channel_stats(id) {
            assert!(stats.balances(), "RTT-42: {stats:?}");
        }
        let messages: Vec<_> = std::iter::from_fn(|| session.receive(id).ok()).collect();
        if !messages.is_empty() {
            received.insert(id, messages);
        }
    }
    let mut out = Vec::new();
    while session.transmit(&mut out) {}
    let (frames, _) = parse(&out);
    if let Err(code) = verdict {
        assert_eq!(session.state(), State::Closed);
        assert_eq!(frames.last(), Some(&Wrote::Close { code, reason: String::new() }));
        assert!((0x0301..=0x030f).contains(&code.0), "{code:?}");
    }
    session.handle_timeout(u64::MAX);
    assert!(session.closed().is_some());
    Outcome { verdict, state: session.state(), received, events, lost: session.take_lost().len() }
}

fn fuzz_session(random: &mut Random, what: &dyn Fn() -> String) -> bool {
    let options = small_options();
    let mut input = match random.below(5) {
        0 => random.bytes(random.0 as usize % 200),
        _ => structured(random),
    };
    mutate(&mut input, random);
    let whole = bounded(input.len(), what, || feed(&options, &input, u64::MAX, &mut Random(0)));
    let cuts = 1 + random.below(20);
    let pieces = bounded(input.len(), what, || feed(&options, &input, cuts, random));
    assert_eq!(whole, pieces, "{}", what());
    let judged = judge(&input);
    if !judged.sound && !judged.closed {
        // It may have found something worse before.
        assert!(whole.verdict.is_err() || whole.events.contains(&Event::Closed), "accepted: {}", what());
    }
    for (channel, messages) in &whole.received {
        let contents = judged.contents.get(channel).cloned().unwrap_or_default();
        let mut rest = &contents[..];
        for message in messages.iter().filter(|message| !message.is_empty()) {
            let at = rest.windows(message.len()).position(|window| window == &message[..]);
            let at = at.unwrap_or_else(|| panic!("delivered what was not sent: {}", what()));
            rest = &rest[at + message.len()..];
        }
    }
    whole.verdict.is_ok() && !input.is_empty()
}

fn small_options() -> Options {
    let mut options = small();
    for limits in &mut options.limits.kinds {
        limits.window.messages = 8;
    }
    options
}

/// One side of an opening under fuzz: the bytes are right, mutated, or random.
fn fuzz_opening(random: &mut Random, what: &dyn Fn() -> String) -> bool {
    let options = Options::default();
    let (mut start, mut answer, mut confirm) = (Vec::new(), Vec::new(), Vec::new());
    let mut initiator = Opening::initiate(&options, [1; 16], &mut start);
    let mut acceptor = Opening::accept(&options, [2; 16]);
    assert_eq!(acceptor.receive(&start, &mut answer), Ok(OpeningStep::Asked { boot_id: [1; 16] }));
    acceptor.answer([7; 16], ResumeTicket([8; 32]), &mut answer);
    let (mut opening, mut input) = match random.below(3) {
        0 => (Opening::accept(&options, [2; 16]), start.clone()),
        1 => (initiator, answer),
        _ => {
            assert!(matches!(initiator.receive(&answer, &mut confirm), Ok(OpeningStep::Open(_))));
            (acceptor, confirm.clone())
        }
    };
    match random.below(8) {
        0 => input = random.bytes(random.0 as usize % 300),
        1 => input.extend(random.bytes(random.0 as usize % 300)),
        2 => {
            input.truncate(1);
            input.extend(structured(random));
        }
        _ => {}
    }
    mutate(&mut input, random);
    let cuts = if random.below(2) == 0 { u64::MAX } else { 1 + random.below(20) };
    bounded(input.len(), what, || drive(&mut opening, &input, cuts, &confirm, random, what))
}

fn drive(
    opening: &mut Opening,
    input: &[u8],
    cuts: u64,
    confirm: &[u8],
    random: &mut Random,
    what: &dyn Fn() -> String,
) -> bool {
    let (mut rest, mut used, mut out) = (input, 0, Vec::new());
    let mut accepted = false;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.len().min(1 + random.below(cuts) as usize));
        (rest, used) = (more, used + piece.len());
        match opening.receive(piece, &mut out) {
            Ok(OpeningStep::Wait) => {}
            Err(code) => {
                let refusal = (0x0100..=0x0108).contains(&code.0);
                assert!(refusal || (0x0300..=0x0306).contains(&code.0), "{code:?}: {}", what());
                return false;
            }
            Ok(OpeningStep::Asked { boot_id }) => {
                let frame = sound(&input[1..used], 0, what);
                assert!(matches!(frame, OpeningFrame::Start { boot_id: named, .. } if named == boot_id));
                return true;
            }
            Ok(OpeningStep::AskedResume(request)) => {
                let frame = sound(&input[1..used], 0, what);
                let named = |id: [u8; 16]| id == request.session_id;
                assert!(matches!(frame, OpeningFrame::Resume { session_id, .. } if named(session_id)));
                return true;
            }
            Ok(OpeningStep::Resumed(_)) => panic!("nothing was to be resumed: {}", what()),
            Ok(OpeningStep::Refused { .. }) => {
                assert!(matches!(sound(&input[1..used], 0, what), OpeningFrame::Refused { .. }));
                return true;
            }
            Ok(OpeningStep::Open(opened)) => {
                assert!(!accepted, "once");
                accepted = true;
                if opened.agreement.initiator {
                    let frame = sound(&input[1..used], opened.rest.len(), what);
                    assert!(matches!(frame, OpeningFrame::Started { version: 1, .. }));
                    assert_eq!(opened.agreement.limits.fault(), None);
                } else {
                    assert_eq!(&input[..confirm.len()], confirm, "{}", what());
                }
            }
        }
    }
    accepted
}

/// The one frame of an opening, which must be exactly what its fields encode to: there is one form of each.
fn sound(bytes: &[u8], behind: usize, what: &dyn Fn() -> String) -> OpeningFrame {
    let (frame, used) = OpeningFrame::parse(bytes).expect("sound").expect("complete");
    let mut again = Vec::new();
    frame.encode(&mut again);
    assert_eq!(again, bytes[..used], "{}", what());
    assert_eq!(used + behind, bytes.len(), "{}", what());
    frame
}

fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
        Err(_) => default,
    }
}

#[test]
fn rtt_fuzz_parser() {
    let iterations = from_environment("WEB4_FUZZ_ITERATIONS", 20_000);
    let seed = from_environment("WEB4_FUZZ_SEED", 0x5eed);
    println!("WEB4_FUZZ_SEED={seed} WEB4_FUZZ_ITERATIONS={iterations}");
    let mut sound = [0u64; 2];
    for iteration in 0..iterations {
        let what = || format!("WEB4_FUZZ_SEED={seed}, iteration {iteration}");
        let mut random = Random(seed ^ iteration.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.next();
        let opening = random.below(4) == 0;
        let accepted =
            if opening { fuzz_opening(&mut random, &what) } else { fuzz_session(&mut random, &what) };
        sound[usize::from(opening)] += u64::from(accepted);
    }
    println!("accepted to the end: {} sessions, {} openings", sound[0], sound[1]);
    // A fuzzer whose inputs are all refused at once tests one line.
    let share = |part: u64| iterations < 1000 || (part > iterations / 100 && part < iterations * 3 / 4);
    assert!(share(sound[0]) && share(sound[1]), "{sound:?} of {iterations}");
}

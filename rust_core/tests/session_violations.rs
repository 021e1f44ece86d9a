//! Every violation there is: the right code in CLOSE, the session closed, nothing panics, nothing goes on (RTT-53).

mod session_pair;

use bytes::Bytes;
use session_pair::*;
use web4_core::rtt::frame::{FIRST, Frame, LAST, NUMBERED, Numbered, kind};
use web4_core::rtt::{
    CHANNEL_ZERO, Code, Kind, Nothing, Opening, OpeningStep, Options, Policy, ResumeTicket, State, Window,
};

type Attack = fn(&mut Scripted) -> Result<(), Code>;

fn fragment<'a>(total: Option<u32>, last: bool, payload: &'a [u8]) -> Numbered<'a> {
    Numbered::Data { channel: CHANNEL_ZERO, total, last, payload }
}

fn open_named(channel: u32, name: &str) -> Numbered<'_> {
    let credit = Window { messages: 4, bytes: 4096 };
    Numbered::Open { channel, kind: 0, name, credit, max_message: 1024 }
}

/// Each attack ends in exactly one violation; what comes before it is allowed. The peer is the initiator.
const ATTACKS: &[(Code, &str, Attack)] = &[
    (Code::MALFORMED, "a truncated field", |peer| peer.raw(&[kind::ACK, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0])),
    (Code::MALFORMED, "a byte too many", |peer| {
        peer.raw(&[kind::PONG, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }),
    (Code::MALFORMED, "no room for a sequence number", |peer| {
        peer.raw(&[kind::END, NUMBERED, 0, 0, 0, 2, 0, 0])
    }),
    (Code::MALFORMED, "sequence number zero", |peer| {
        peer.frame(Frame::Numbered(0, Numbered::End { channel: 1 }))
    }),
    (Code::MALFORMED, "a name of nothing", |peer| peer.numbered(open_named(1, ""))),
    (Code::MALFORMED, "a name that cannot be printed", |peer| peer.numbered(open_named(1, "a\tb"))),
    (Code::MALFORMED, "a name that is too long", |peer| {
        peer.numbered(open_named(1, "x23456789 123456789 123456789 123456789 123456789 123456789 12345"))
    }),
    (Code::MALFORMED, "a reason that is no text", |peer| peer.raw(&[kind::CLOSE, 0, 0, 0, 0, 3, 0, 0, 0xff])),
    (Code::MALFORMED, "a reason that is too long", |peer| {
        let reason = "r".repeat(257);
        peer.frame(Frame::Close { code: Code::NORMAL, reason: &reason })
    }),
    (Code::UNKNOWN_FRAME, "a core type without a meaning", |peer| peer.raw(&[0x25, 0, 0, 0, 0, 0])),
    (Code::UNKNOWN_FRAME, "a reserved type", |peer| peer.raw(&[0x80, 0, 0, 0, 0, 0])),
    (Code::UNKNOWN_FLAG, "an unnumbered DATA", |peer| peer.raw(&[kind::DATA, FIRST | LAST, 0, 0, 0, 0])),
    (Code::UNKNOWN_FLAG, "a numbered PING", |peer| peer.raw(&[kind::PING, NUMBERED, 0, 0, 0, 16])),
    (Code::UNKNOWN_FLAG, "a fragment flag on END", |peer| {
        peer.raw(&[kind::END, NUMBERED | LAST, 0, 0, 0, 12])
    }),
    (Code::OUT_OF_STATE, "a second START", |peer| peer.raw(&[kind::START, 0, 0, 0, 0, 0])),
    (Code::OUT_OF_STATE, "a second CONFIRM", |peer| peer.raw(&[kind::CONFIRM, 0, 0, 0, 0, 20])),
    (Code::FRAME_TOO_LARGE, "DATA beyond the agreed payload, before its body is there", |peer| {
        peer.raw(&[kind::DATA, NUMBERED | FIRST, 0, 0, 0x40, 17])
    }),
    (Code::FRAME_TOO_LARGE, "the same by the payload alone", |peer| {
        peer.numbered(fragment(Some(1), true, b"x")).unwrap();
        let payload = vec![0; 16 * 1024 + 1];
        peer.numbered(fragment(None, false, &payload))
    }),
    (Code::FRAME_TOO_LARGE, "a small frame of four gigabytes", |peer| {
        peer.raw(&[kind::CLOSE, 0, 0xff, 0xff, 0xff, 0xff])
    }),
    (Code::MESSAGE_TOO_LARGE, "a message larger than its kind allows", |peer| {
        peer.numbered(fragment(Some(1025), false, &[0; 1000]))
    }),
    (Code::MESSAGE_TOO_LARGE, "larger than the opener said itself", |peer| {
        let credit = Window { messages: 1, bytes: 10 };
        peer.numbered(Numbered::Open { channel: 1, kind: 1, name: "n", credit, max_message: 10 }).unwrap();
        peer.message(1, &[0; 11])
    }),
    (Code::SEQUENCE_GAP, "a skipped number", |peer| {
        peer.message(CHANNEL_ZERO, b"one").unwrap();
        peer.seq += 1;
        peer.message(CHANNEL_ZERO, b"three")
    }),
    (Code::BAD_CURSOR, "beyond what was written", |peer| {
        peer.session.send(CHANNEL_ZERO, vec![Bytes::from_static(b"one")], false, 0).unwrap();
        peer.frame(Frame::Ack { cursor: 1 })
    }),
    (Code::BAD_CURSOR, "below an earlier one", |peer| {
        peer.session.send(CHANNEL_ZERO, vec![Bytes::new(), Bytes::new()], false, 0).unwrap();
        peer.wrote();
        peer.frame(Frame::Ack { cursor: 2 }).unwrap();
        peer.frame(Frame::Ack { cursor: 2 }).unwrap();
        peer.frame(Frame::Ack { cursor: 1 })
    }),
    (Code::CREDIT_OVERRUN, "a message too many", |peer| {
        (0..4).try_for_each(|_| peer.message(CHANNEL_ZERO, b"")).unwrap();
        peer.message(CHANNEL_ZERO, b"")
    }),
    (Code::CREDIT_OVERRUN, "a byte too many, seen at the first fragment", |peer| {
        peer.open(1, Kind::State).unwrap();
        peer.message(1, &[0; 1024]).unwrap();
        peer.message(1, &[0; 1024]).unwrap();
        peer.numbered(Numbered::Data { channel: 1, total: Some(1), last: false, payload: b"" })
    }),
    (Code::BAD_CREDIT, "fewer messages", |peer| {
        peer.frame(Frame::Credit { channel: CHANNEL_ZERO, messages: 5, bytes: 8192 }).unwrap();
        peer.frame(Frame::Credit { channel: CHANNEL_ZERO, messages: 4, bytes: 8192 })
    }),
    (Code::BAD_CREDIT, "fewer bytes", |peer| {
        peer.frame(Frame::Credit { channel: CHANNEL_ZERO, messages: 5, bytes: 4095 })
    }),
    (Code::BAD_CHANNEL, "an id out of turn", |peer| peer.open(3, Kind::State)),
    (Code::BAD_CHANNEL, "an id of the other side", |peer| peer.open(2, Kind::State)),
    (Code::BAD_CHANNEL, "an id twice", |peer| {
        peer.open(1, Kind::State).unwrap();
        peer.open(1, Kind::State)
    }),
    (Code::BAD_CHANNEL, "channel 0 opened", |peer| peer.open(CHANNEL_ZERO, Kind::Control)),
    (Code::BAD_CHANNEL, "channel 0 ended", |peer| peer.numbered(Numbered::End { channel: CHANNEL_ZERO })),
    (Code::BAD_CHANNEL, "channel 0 reset", |peer| {
        peer.numbered(Numbered::Reset { channel: CHANNEL_ZERO, code: Code::CANCELLED })
    }),
    (Code::BAD_CHANNEL, "DATA for no channel", |peer| peer.message(1, b"")),
    (Code::BAD_CHANNEL, "END of no channel", |peer| peer.numbered(Numbered::End { channel: 7 })),
    (Code::BAD_CHANNEL, "RESET of no channel", |peer| {
        peer.numbered(Numbered::Reset { channel: 2, code: Code::CANCELLED })
    }),
    (Code::BAD_CHANNEL, "CREDIT for no channel", |peer| {
        peer.frame(Frame::Credit { channel: u32::MAX, messages: 9, bytes: 9999 })
    }),
    (Code::BAD_CHANNEL, "a channel whose OPEN is not written yet", |peer| {
        assert_eq!(peer.session.open_channel(Kind::State, "mine", Policy::Error), Ok(2));
        peer.message(2, b"")
    }),
    (Code::BAD_FRAGMENT, "a middle without a beginning", |peer| peer.numbered(fragment(None, false, b"x"))),
    (Code::BAD_FRAGMENT, "a beginning within a message", |peer| {
        peer.numbered(fragment(Some(4), false, b"ab")).unwrap();
        peer.numbered(fragment(Some(4), false, b"ab"))
    }),
    (Code::BAD_FRAGMENT, "more than declared", |peer| {
        peer.numbered(fragment(Some(4), false, b"abc")).unwrap();
        peer.numbered(fragment(None, true, b"de"))
    }),
    (Code::BAD_FRAGMENT, "less than declared", |peer| peer.numbered(fragment(Some(4), true, b"abc"))),
    (Code::BAD_FRAGMENT, "an empty fragment", |peer| peer.numbered(fragment(Some(4), false, b""))),
    (Code::BAD_FRAGMENT, "END within a message", |peer| {
        peer.open(1, Kind::State).unwrap();
        peer.numbered(Numbered::Data { channel: 1, total: Some(4), last: false, payload: b"ab" }).unwrap();
        peer.numbered(Numbered::End { channel: 1 })
    }),
    (Code::BAD_FRAGMENT, "SHUTDOWN within a message", |peer| {
        peer.numbered(fragment(Some(4), false, b"ab")).unwrap();
        peer.numbered(Numbered::Shutdown { code: Code::NORMAL })
    }),
    (Code::PING_FLOOD, "twenty-one PINGs within a second", |peer| {
        for _ in 0..3 {
            peer.now += 950_000_000;
            (0..10).try_for_each(|_| peer.frame(Frame::Ping { token: [0; 8] })).unwrap();
            peer.now += 50_000_000;
            (0..10).try_for_each(|_| peer.frame(Frame::Ping { token: [0; 8] })).unwrap();
            peer.now += SECOND;
        }
        (0..20).try_for_each(|_| peer.frame(Frame::Ping { token: [0; 8] })).unwrap();
        peer.now += SECOND - 1;
        peer.frame(Frame::Ping { token: [0; 8] })
    }),
    (Code::AFTER_END, "DATA after END", |peer| {
        peer.open(1, Kind::State).unwrap();
        peer.numbered(Numbered::End { channel: 1 }).unwrap();
        peer.message(1, b"")
    }),
    (Code::AFTER_END, "END twice", |peer| {
        peer.open(1, Kind::State).unwrap();
        peer.numbered(Numbered::End { channel: 1 }).unwrap();
        peer.numbered(Numbered::End { channel: 1 })
    }),
    (Code::AFTER_END, "DATA after SHUTDOWN", |peer| {
        peer.numbered(Numbered::Shutdown { code: Code::NORMAL }).unwrap();
        peer.message(CHANNEL_ZERO, b"")
    }),
    (Code::AFTER_END, "OPEN after SHUTDOWN", |peer| {
        peer.numbered(Numbered::Shutdown { code: Code::NORMAL }).unwrap();
        peer.open(1, Kind::State)
    }),
    (Code::AFTER_END, "SHUTDOWN twice, RESET between", |peer| {
        peer.open(1, Kind::State).unwrap();
        peer.numbered(Numbered::Shutdown { code: Code::NORMAL }).unwrap();
        peer.numbered(Numbered::Reset { channel: 1, code: Code::CANCELLED }).unwrap();
        peer.numbered(Numbered::Shutdown { code: Code::NORMAL })
    }),
    (Code::OPEN_FLOOD, "more channels than any sound peer opens", |peer| {
        for channel in (1..256).step_by(2) {
            peer.open(channel, Kind::State).unwrap();
        }
        peer.open(257, Kind::State)
    }),
];

#[test]
fn every_violation_closes_with_its_code() {
    for (code, name, attack) in ATTACKS {
        let mut peer = Scripted::new(&small());
        assert_eq!(attack(&mut peer), Err(*code), "{name}");
        let closed = peer.session.closed().expect("closed").clone();
        assert_eq!((closed.reason, closed.code), ("protocol_error", *code), "{name}");
        let frames = peer.wrote();
        let close = Wrote::Close { code: *code, reason: String::new() };
        assert_eq!(frames.last(), Some(&close), "{name}");
        assert_eq!(peer.session.state(), State::Closed);
        // Nothing goes on after it.
        let before = peer.session.stats();
        assert_eq!(attack_again(&mut peer), Ok(()), "{name}");
        peer.pass(60 * SECOND);
        assert_eq!(peer.session.stats(), before, "{name}");
        assert_eq!((peer.wrote(), peer.session.deadline()), (vec![], None), "{name}");
    }
}

fn attack_again(peer: &mut Scripted) -> Result<(), Code> {
    peer.raw(&[0xff; 100])?;
    peer.frame(Frame::Ping { token: [1; 8] })?;
    peer.message(CHANNEL_ZERO, b"late")
}

/// The same bytes, one at a time: the verdict does not depend on how they are cut.
#[test]
fn violations_do_not_depend_on_fragmentation() {
    let header = [kind::DATA, NUMBERED | FIRST, 0, 0, 0x40, 17];
    let mut peer = Scripted::new(&Options::default());
    for byte in &header[..5] {
        peer.raw(&[*byte]).unwrap();
    }
    assert_eq!(peer.raw(&header[5..]), Err(Code::FRAME_TOO_LARGE));
}

#[test]
fn every_violation_code_of_a_session_is_provoked() {
    let provoked = |code: &Code| ATTACKS.iter().any(|(other, ..)| other == code);
    for (code, word) in Code::ALL {
        // The opening has its own; see below.
        assert_eq!(provoked(code), code.0 >= 0x0300 && *code != Code::BAD_OPENING, "{word}");
    }
}

fn started(options: &Options) -> (Opening, Opening, Vec<u8>) {
    let (mut start, mut answer) = (Vec::new(), Vec::new());
    let initiator = Opening::initiate(options, [1; 16], &mut start);
    let mut acceptor = Opening::accept(options, [2; 16]);
    assert!(matches!(acceptor.receive(&start, &mut answer), Ok(OpeningStep::Asked { .. })));
    acceptor.answer([7; 16], ResumeTicket([8; 32]), &mut answer);
    (initiator, acceptor, answer)
}

/// rtt_state_table, its first half: what each side of an opening takes in each of its states.
#[test]
fn openings_take_nothing_but_what_their_state_allows() {
    let options = Options::default();
    let frame = |kind: u8, length: u32| {
        let mut bytes = vec![1, kind, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(vec![0; length as usize]);
        bytes
    };
    let mut out = Vec::new();
    let cases = [
        (vec![0x02], Code::BAD_OPENING),
        (vec![0x16, 3, 1], Code::BAD_OPENING),
        (b"GET / HTTP/1.1".to_vec(), Code::BAD_OPENING),
        (frame(kind::CONFIRM, 20), Code::OUT_OF_STATE),
        (frame(kind::DATA, 0), Code::OUT_OF_STATE),
        (frame(kind::PING, 8), Code::OUT_OF_STATE),
        (frame(kind::START, 0), Code::MALFORMED),
        (frame(0x07, 0), Code::UNKNOWN_FRAME),
        (frame(0x15, 0), Code::UNKNOWN_FRAME),
        (frame(0x40, 0), Code::UNKNOWN_FRAME),
        (frame(kind::START, 8193)[..7].to_vec(), Code::FRAME_TOO_LARGE),
    ];
    for (bytes, code) in cases {
        // Expecting START, asking for STARTED, and with CONFIRM outstanding.
        let confirming = started(&options);
        let asking = Opening::initiate(&options, [1; 16], &mut Vec::new());
        for (name, mut opening) in [
            ("expecting", Opening::accept(&options, [2; 16])),
            ("asking", asking),
            ("answered", confirming.1),
        ] {
            let bytes =
                if name == "answered" && code != Code::BAD_OPENING { &bytes[1..] } else { &bytes[..] };
            let expected = match (name, code) {
                ("answered", Code::BAD_OPENING) => continue,
                ("answered", Code::OUT_OF_STATE) if bytes[0] == kind::CONFIRM => Code::OUT_OF_STATE,
                (_, code) => code,
            };
            out.clear();
            assert_eq!(opening.receive(bytes, &mut out), Err(expected), "{name}, {bytes:02x?}");
            // It is over: whatever comes now is not looked at.
            let mut start = Vec::new();
            Opening::initiate(&options, [1; 16], &mut start);
            assert_eq!(opening.receive(&start, &mut out), Ok(OpeningStep::Wait), "{name}");
            assert_eq!(out, [], "{name}");
        }
    }

    // The right frames at the wrong side.
    let (_, _, answer) = started(&options);
    assert_eq!(Opening::accept(&options, [2; 16]).receive(&answer, &mut out), Err(Code::OUT_OF_STATE));
    let mut start = Vec::new();
    let mut initiator = Opening::initiate(&options, [1; 16], &mut start);
    assert_eq!(initiator.receive(&start, &mut out), Err(Code::OUT_OF_STATE));
    // A byte between START and its answer.
    let mut acceptor = Opening::accept(&options, [2; 16]);
    assert!(matches!(acceptor.receive(&start, &mut out), Ok(OpeningStep::Asked { .. })));
    assert_eq!(acceptor.receive(&[0], &mut out), Err(Code::OUT_OF_STATE));
    let mut with_more = start.clone();
    with_more.push(0);
    assert_eq!(Opening::accept(&options, [2; 16]).receive(&with_more, &mut out), Err(Code::OUT_OF_STATE));
    // CONFIRM of another session, or of another epoch, opens nothing.
    let (mut initiator, _, answer) = started(&options);
    let mut confirm = Vec::new();
    assert!(matches!(initiator.receive(&answer, &mut confirm), Ok(OpeningStep::Open(_))));
    for position in [6, confirm.len() - 1] {
        let (_, mut acceptor, _) = started(&options);
        let mut wrong = confirm.clone();
        wrong[position] ^= 1;
        assert_eq!(acceptor.receive(&wrong, &mut out), Err(Code::OUT_OF_STATE));
        assert_eq!(acceptor.receive(&confirm, &mut out), Ok(OpeningStep::Wait), "too late");
    }
    let (_, mut acceptor, _) = started(&options);
    confirm.extend(b"frames");
    let Ok(OpeningStep::Open(opened)) = acceptor.receive(&confirm, &mut out) else { panic!("it is right") };
    assert_eq!(opened.rest, b"frames");
}

/// RTT-15, RTT-16, RTT-33: what is refused with words.
#[test]
fn openings_refuse_with_the_code_that_says_why() {
    use web4_core::rtt::Limits;
    use web4_core::rtt::opening_frame::{Extension, OpeningFrame};
    let options = Options::default();
    let start = |versions: &[u8], critical| OpeningFrame::Start {
        versions: versions.to_vec(),
        boot_id: [1; 16],
        limits: Limits::default(),
        resume_window_ms: 600_000,
        extensions: vec![Extension { id: 9, critical, content: vec![1, 2, 3] }],
    };
    let resume = |versions: &[u8]| OpeningFrame::Resume {
        versions: versions.to_vec(),
        session_id: [7; 16],
        boot_id: [1; 16],
        ticket: ResumeTicket([8; 32]),
        epoch: 1,
        cursor: 0,
        extensions: vec![],
    };
    let cases = [
        (start(&[1], false), None),
        (start(&[9, 1], false), None),
        (start(&[2, 9], false), Some(Code::VERSION)),
        (start(&[1], true), Some(Code::EXTENSION)),
        (resume(&[9]), Some(Code::VERSION)),
    ];
    for (frame, refused) in cases {
        let (mut bytes, mut out) = (vec![1], Vec::new());
        frame.encode(&mut bytes);
        let mut acceptor = Opening::accept(&options, [2; 16]);
        let step = acceptor.receive(&bytes, &mut out);
        let Some(code) = refused else {
            assert_eq!(step, Ok(OpeningStep::Asked { boot_id: [1; 16] }));
            continue;
        };
        assert_eq!(step, Err(code));
        let mut initiator = Opening::initiate(&options, [1; 16], &mut Vec::new());
        let told = initiator.receive(&out, &mut Vec::new());
        assert_eq!(told, Ok(OpeningStep::Refused { code, boot_id: [2; 16], retry_after_ms: 0 }));
    }
    // `busy` says when to come back.
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    let mut initiator = Opening::initiate(&options, [1; 16], &mut bytes);
    let mut acceptor = Opening::accept(&options, [2; 16]);
    assert!(matches!(acceptor.receive(&bytes, &mut out), Ok(OpeningStep::Asked { .. })));
    acceptor.refuse(Code::BUSY, 250, &mut out);
    let told = initiator.receive(&out, &mut Vec::new());
    assert_eq!(told, Ok(OpeningStep::Refused { code: Code::BUSY, boot_id: [2; 16], retry_after_ms: 250 }));
}

/// Section 15: what the peer sends on a channel that it, or we, have reset is ignored, and nothing is delivered.
#[test]
fn rtt_nothing_arrives_after_a_reset() {
    for by_peer in [true, false] {
        let mut peer = Scripted::new(&small());
        peer.open(1, Kind::Knowledge).unwrap();
        peer.message(1, b"before").unwrap();
        if by_peer {
            peer.numbered(Numbered::Reset { channel: 1, code: Code::CANCELLED }).unwrap();
        } else {
            peer.session.reset_channel(1, Code::CANCELLED);
        }
        peer.message(1, b"after").unwrap();
        peer.numbered(Numbered::End { channel: 1 }).unwrap();
        assert_eq!(peer.session.readable(1), usize::from(by_peer));
        if by_peer {
            assert_eq!(peer.session.receive(1), Ok(b"before".to_vec()));
            let reset = Nothing::Reset { code: Code::CANCELLED, by_peer: true };
            assert_eq!(peer.session.receive(1), Err(reset));
        }
    }
}

/// RTT-38: credit that was due when a channel was reset is not granted any more.
#[test]
fn rtt_no_credit_after_a_reset() {
    let mut peer = Scripted::new(&small());
    peer.open(1, Kind::Knowledge).unwrap();
    for _ in 0..4 {
        peer.message(1, b"").unwrap();
    }
    for _ in 0..4 {
        peer.session.receive(1).unwrap();
    }
    assert!(peer.session.grants_credit());
    peer.numbered(Numbered::Reset { channel: 1, code: Code::CANCELLED }).unwrap();
    let wrote = peer.wrote();
    assert!(!wrote.iter().any(|frame| matches!(frame, Wrote::Credit { .. })), "{wrote:?}");
}

/// RTT-15, RTT-16: an answer that names a version nobody asked for, or requires an extension, is not confirmed.
#[test]
fn rtt_answers_that_cannot_be_confirmed() {
    for code in [Code::VERSION, Code::EXTENSION] {
        let (mut initiator, _, mut answer) = started(&Options::default());
        if code == Code::VERSION {
            answer[1 + 6] = 9;
        } else {
            // One extension, critical, empty; the frame grows by it.
            *answer.last_mut().unwrap() = 1;
            answer.extend([0, 7, 1, 0, 0]);
            answer[6] += 5;
        }
        let mut out = Vec::new();
        assert_eq!(initiator.receive(&answer, &mut out), Err(code));
        assert!(out.is_empty(), "no CONFIRM");
    }
}

/// A carrier that is gone leaves nothing to be written, not even the CLOSE that was due.
#[test]
fn nothing_is_due_on_a_lost_carrier() {
    let mut peer = Scripted::new(&Options::default());
    peer.session.abort(Code::APPLICATION, "bye");
    assert!(peer.session.wants_write());
    peer.session.carrier_lost(0);
    assert!(!peer.session.wants_write());
    assert_eq!((peer.wrote(), peer.session.closed().unwrap().reason), (vec![], "local"));
}

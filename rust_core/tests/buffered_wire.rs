//! A wire without a descriptor (RTT-66): the driver feeds and drains it, and it is bounded in both directions.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use bytes::Bytes;
use web4_core::carrier::{Carrier, Expect, TlsConfig};
use web4_core::link::{
    BUFFERED_LIMIT, Buffered, OpeningLink, Progress, Purpose, SessionLink, Wire, WireFull,
};
use web4_core::rtt::{Code, Kind, Options, Policy, ResumeTicket};

const RECORD: usize = 16 * 1024 + 64;
/// Records that are encrypted before the wire takes them.
const ENCRYPTED_AHEAD: usize = 4 * RECORD;

fn openings(dialed: Wire, accepted: Wire) -> (OpeningLink, OpeningLink) {
    let (alice, bob) = (TlsConfig::from_seed(&[1; 32]).unwrap(), TlsConfig::from_seed(&[2; 32]).unwrap());
    let options = Options::default();
    let dialer = Carrier::dial(&alice, Expect::Fingerprint(bob.fingerprint())).unwrap();
    let acceptor = Carrier::accept(&bob).unwrap();
    (
        OpeningLink::new(dialer, dialed, Purpose::Start, &options, [1; 16]),
        OpeningLink::new(acceptor, accepted, Purpose::Accept, &options, [2; 16]),
    )
}

fn buffered(max_write: Option<usize>) -> Wire {
    Wire::Buffered(Buffered::new(max_write))
}

/// Two sessions, opened by moving what either link gives out to the other in pieces of `piece` bytes.
fn opened(max_write: Option<usize>, piece: usize) -> (SessionLink, SessionLink) {
    let (mut here, mut there) = openings(buffered(max_write), buffered(max_write));
    let (mut ours, mut theirs) = (Progress::Waiting, Progress::Waiting);
    for _ in 0..100 {
        if (ours, theirs) == (Progress::Open, Progress::Open) {
            break;
        }
        ours = moved(&mut there, &mut here, ours, piece);
        if theirs == Progress::Asked {
            there.answer([3; 16], ResumeTicket([4; 32]));
        }
        theirs = moved(&mut here, &mut there, theirs, piece);
    }
    (here.into_session(0).unwrap(), there.into_session(0).unwrap())
}

fn moved(from: &mut OpeningLink, to: &mut OpeningLink, mut progress: Progress, piece: usize) -> Progress {
    if progress == Progress::Waiting {
        progress = to.advance().unwrap();
    }
    loop {
        let output = from.take_output();
        if output.is_empty() {
            return progress;
        }
        for part in output.chunks(piece) {
            to.feed(part).unwrap();
            progress = to.advance().unwrap();
        }
    }
}

/// Everything that `from` says goes to `to`; how much that was.
fn pumped(from: &mut SessionLink, to: &mut SessionLink) -> usize {
    let mut total = 0;
    loop {
        let output = from.take_output();
        if output.is_empty() {
            return total;
        }
        total += output.len();
        to.feed(&output).unwrap();
        to.advance(0);
    }
}

#[test]
fn sessions_open_and_talk_over_buffered_wires() {
    for (max_write, piece) in [(None, usize::MAX), (None, 1), (Some(1), 1), (Some(100), 37)] {
        let (mut here, mut there) = opened(max_write, piece);
        let channel = here.session().open_channel(Kind::Knowledge, "facts", Policy::Block).unwrap();
        let message = Bytes::from(vec![7; 300_000]);
        here.session().send(channel, vec![message.clone()], false, 0).unwrap();
        here.write();
        assert!(here.has_output());
        pumped(&mut here, &mut there);
        assert_eq!(there.session().receive(channel), Ok(message.to_vec()));
        assert!(!here.has_output());
    }
}

#[test]
fn no_write_is_longer_than_allowed_and_none_waits_behind_much() {
    for max_write in [50, 5_000, BUFFERED_LIMIT] {
        let (mut here, mut there) = opened(Some(max_write), usize::MAX);
        let channel = here.session().open_channel(Kind::Knowledge, "facts", Policy::Block).unwrap();
        here.session().send(channel, vec![Bytes::from(vec![7; 500_000])], false, 0).unwrap();
        here.write();
        let flying = here.take_output();
        assert_eq!(flying.len(), max_write);
        // What is taken is not written yet: nothing more comes out, however often it is tried.
        here.write();
        assert!(here.is_blocked() && !here.has_output());
        // A control message goes before the rest, behind what was encrypted already.
        here.session().send(0, vec![Bytes::from_static(b"now")], false, 0).unwrap();
        here.write();
        let mut behind = flying.len();
        there.feed(&flying).unwrap();
        there.advance(0);
        while there.session().readable(0) == 0 {
            let next = here.take_output();
            assert!(!next.is_empty() && next.len() <= max_write);
            behind += next.len();
            there.feed(&next).unwrap();
            there.advance(0);
        }
        // Its own record counts: it is only read when that is whole.
        assert!(behind <= max_write + ENCRYPTED_AHEAD + RECORD, "{behind} bytes at {max_write}");
    }
}

#[test]
fn a_wire_takes_in_no_more_than_it_holds() {
    let (mut here, _there) = opened(None, usize::MAX);
    here.feed(&vec![0; BUFFERED_LIMIT]).unwrap();
    assert_eq!(here.feed(&[0]), Err(WireFull));
    let (mut opening, _) = openings(buffered(None), buffered(None));
    assert_eq!(opening.feed(&vec![0; BUFFERED_LIMIT + 1]), Err(WireFull));
}

#[test]
fn the_last_words_outlive_the_wire() {
    // RTT-61: CLOSE is said even while a write is under way, and what is under way is not said twice.
    for busy in [false, true] {
        let (mut here, mut there) = opened(None, usize::MAX);
        let channel = here.session().open_channel(Kind::Knowledge, "facts", Policy::Block).unwrap();
        let mut flying = Vec::new();
        if busy {
            here.session().send(channel, vec![Bytes::from(vec![7; 900_000])], false, 0).unwrap();
            here.write();
            flying = here.take_output();
        }
        here.session().abort(Code::APPLICATION, "enough");
        here.write();
        assert!(here.is_detached());
        assert_eq!(here.take_output(), b"");
        let farewell = here.take_farewell();
        assert!(here.take_farewell().is_empty());
        let farewell = farewell.concat();
        assert!(farewell.len() <= BUFFERED_LIMIT + ENCRYPTED_AHEAD + 1024);
        for part in flying.chunks(BUFFERED_LIMIT).chain(farewell.chunks(BUFFERED_LIMIT)) {
            there.feed(part).unwrap();
            there.advance(0);
        }
        let closed = there.session().closed().expect("it was told");
        assert_eq!((closed.reason, closed.text.as_str()), ("peer", "enough"));
    }
}

#[test]
fn the_end_of_a_stream_is_told_by_the_driver() {
    let (mut here, mut there) = opened(None, usize::MAX);
    pumped(&mut here, &mut there);
    here.feed_end();
    here.advance(0);
    assert!(here.is_detached());
    assert_eq!(here.session().suspension(), Some("connection_lost"));
}

#[test]
fn a_socket_is_written_in_pieces_of_at_most_max_write() {
    // A datagram socket shows each write for itself.
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let socket = Wire::Socket { descriptor: ours.as_raw_fd(), max_write: 50 };
    let (mut opening, _) = openings(socket, buffered(None));
    opening.advance().unwrap();
    assert!(opening.flush());
    theirs.set_nonblocking(true).unwrap();
    let (mut buffer, mut sizes) = ([0; 4096], Vec::new());
    while let Ok(size) = theirs.recv(&mut buffer) {
        sizes.push(size);
    }
    assert!(sizes.len() > 1 && sizes.iter().all(|size| *size <= 50), "{sizes:?}");
    // And without a bound, at once.
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let socket = Wire::Socket { descriptor: ours.as_raw_fd(), max_write: usize::MAX };
    let (mut opening, _) = openings(socket, buffered(None));
    opening.advance().unwrap();
    assert!(opening.flush());
    assert_eq!(theirs.read(&mut buffer).unwrap(), sizes.iter().sum::<usize>());
}

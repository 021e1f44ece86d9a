//! The life of a session: its states, its end, its clock (sections 4, 8 and 11).

mod session_pair;

use bytes::Bytes;
use session_pair::*;
use web4_core::rtt::frame::{Frame, Numbered};
use web4_core::rtt::{
    CHANNEL_ZERO, Code, Event, Kind, MILLISECOND, Nothing, Offered, Options, Policy, SendError, State,
};

/// RTT-13: a graceful end delivers everything, however the wire cuts and delays, and both sides end as `local`.
#[test]
fn rtt_shutdown_drains() {
    for seed in 0..40 {
        let wire = Wire { delay: 3 * MILLISECOND, piece: 1 + (seed as usize * 97) % 5000 };
        let mut pair = Pair::with(&Options::default(), &Options::default(), wire, seed);
        let id = pair.session(INITIATOR).open_channel(Kind::Knowledge, "facts", Policy::Block).unwrap();
        for number in 0..200u32 {
            let size = 1 + Random(seed ^ u64::from(number)).below(4000) as usize;
            pair.send(INITIATOR, id, &vec![number as u8; size]);
            pair.send(ACCEPTOR, CHANNEL_ZERO, &number.to_be_bytes());
        }
        let now = pair.now;
        pair.session(INITIATOR).shutdown(now);
        let refused = pair.session(INITIATOR).send(id, vec![Bytes::new()], true, 1);
        assert_eq!(refused, Err(SendError::SessionClosed));
        pair.advance(200 * MILLISECOND);
        assert!(pair.events(ACCEPTOR).contains(&Event::PeerShutdown));
        assert_eq!(pair.session(INITIATOR).state(), State::Closing);
        let now = pair.now;
        pair.session(ACCEPTOR).shutdown(now);
        pair.advance(SECOND);
        for side in [INITIATOR, ACCEPTOR] {
            assert_eq!(pair.session(side).closed().unwrap().reason, "local", "seed {seed}");
            assert!(pair.session(side).take_lost().is_empty());
        }
        let received = pair.receive_all(ACCEPTOR, id);
        assert_eq!(received.len(), 200);
        assert!(received.iter().enumerate().all(|(number, message)| message[0] == number as u8));
        assert_eq!(pair.receive_all(INITIATOR, CHANNEL_ZERO).len(), 200);
        assert_eq!(pair.nothing(ACCEPTOR, id), Nothing::Ended);
    }
}

/// RTT-13: what the drain timeout left is reported, exactly: unsent what was never written, unknown what was.
#[test]
fn rtt_shutdown_drains_or_reports() {
    let mut peer = Scripted::new(&small());
    peer.open(1, Kind::Knowledge).unwrap();
    let grant =
        Numbered::Open { channel: 3, kind: 2, name: "tight", credit: window(2, 1024), max_message: 1024 };
    peer.numbered(grant).unwrap();
    let messages = (0..4).map(|number| Bytes::from(vec![number; 10])).collect();
    assert_eq!(peer.session.send(3, messages, false, 0), Ok(Offered::AllAccepted));
    peer.session.shutdown(peer.now);
    peer.wrote();
    // Two had credit and are written; the peer acknowledges the first of them.
    peer.frame(Frame::Ack { cursor: 1 }).unwrap();
    assert!(!peer.wrote().contains(&Wrote::Shutdown), "messages without credit hold SHUTDOWN back");
    peer.pass(5 * SECOND);
    assert_eq!(peer.session.closed().unwrap().reason, "local");
    let lost: Vec<_> =
        peer.session.take_lost().iter().map(|lost| (lost.message.index, lost.message.unsent)).collect();
    assert_eq!(lost, [(1, false), (2, true), (3, true)]);
    assert!(matches!(peer.wrote()[..], [.., Wrote::Close { code: Code::NORMAL, .. }]));
}

/// RTT-13: the end waits for our last acknowledgement, also when the peer was the first to shut down.
#[test]
fn rtt_shutdown_waits_for_what_is_unacknowledged() {
    for acknowledged in [true, false] {
        let mut peer = Scripted::new(&Options::default());
        peer.session.send(CHANNEL_ZERO, vec![Bytes::from_static(b"last words")], false, 0).unwrap();
        peer.session.shutdown(peer.now);
        assert!(peer.wrote().contains(&Wrote::Shutdown));
        peer.numbered(Numbered::Shutdown { code: Code::NORMAL }).unwrap();
        assert_eq!(peer.session.state(), State::Closing);
        if acknowledged {
            peer.ack_all().unwrap();
        } else {
            peer.pass(5 * SECOND);
        }
        assert_eq!(peer.session.closed().unwrap().reason, "local");
        assert_eq!(peer.session.take_lost().len(), usize::from(!acknowledged));
    }
}

/// SHUTDOWN is the last numbered frame but RESET: OPEN and END of every channel go before it, even when the resend
/// buffer has no room for them at first.
#[test]
fn rtt_shutdown_comes_after_opens_and_ends() {
    let options = Options { resend_reserve: 16 * 1024, resend_bytes: 40 * 1024, ..Options::default() };
    let mut peer = Scripted::with(&options, true);
    let id = peer.session.open_channel(Kind::Knowledge, "facts", Policy::Block).unwrap();
    peer.session.send(id, vec![Bytes::from(vec![0; 16_000])], false, 0).unwrap();
    peer.session.end_channel(id);
    let late = peer.session.open_channel(Kind::State, "late", Policy::Error).unwrap();
    peer.session.shutdown(peer.now);
    let mut frames = peer.wrote();
    assert!(!frames.contains(&Wrote::Shutdown) && !frames.contains(&Wrote::End { channel: id }));
    peer.ack_all().unwrap();
    frames.extend(peer.wrote());
    assert_eq!(frames.last(), Some(&Wrote::Shutdown));
    assert!(frames.contains(&Wrote::End { channel: id }));
    assert!(frames.iter().any(|frame| matches!(frame, Wrote::Open { channel, .. } if *channel == late)));
    // After it, releasing a channel resets it; there is nothing to END.
    peer.session.release_channel(late);
    assert_eq!(peer.wrote(), [Wrote::Reset { channel: late, code: Code::CANCELLED }]);
}

/// RTT-43, RTT-44, RTT-54: PING after one interval, death after three; the timeout directly precedes the end.
#[test]
fn rtt_heartbeat_dead_peer() {
    let mut pair = Pair::new(&Options::default());
    pair.sides[ACCEPTOR].held = true;
    let id = pair.session(INITIATOR).open_channel(Kind::State, "mood", Policy::DropOldest).unwrap();
    pair.events(INITIATOR);
    // Own writes all the time mask nothing.
    for _ in 0..14 {
        pair.advance(SECOND);
        pair.session(INITIATOR).send(id, vec![Bytes::from_static(b"still here")], false, 0).unwrap();
        assert_eq!(pair.events(INITIATOR), []);
    }
    assert_eq!(pair.session(INITIATOR).stats().pings_sent, 2);
    pair.advance(SECOND);
    let events = pair.events(INITIATOR);
    assert_eq!(events, [Event::HeartbeatTimeout, Event::Closed]);
    let closed = pair.session(INITIATOR).closed().unwrap();
    assert_eq!((closed.reason, closed.code), ("heartbeat_timeout", Code::HEARTBEAT_TIMEOUT));
    let lost = pair.session(INITIATOR).take_lost();
    assert_eq!(lost.len(), 14, "accepted, and never acknowledged");
    pair.advance(60 * SECOND);
    assert_eq!(pair.events(INITIATOR), []);
}

/// RTT-43: an idle session lives on heartbeats alone, a few frames a minute.
#[test]
fn rtt_heartbeat_keeps_an_idle_session() {
    let wire = Wire { delay: 20 * MILLISECOND, piece: 3 };
    let mut pair = Pair::with(&Options::default(), &Options::default(), wire, 1);
    pair.advance(3600 * SECOND);
    for side in [INITIATOR, ACCEPTOR] {
        assert_eq!(pair.session(side).state(), State::Open);
        let stats = pair.session(side).stats();
        assert!(stats.frames_sent <= 2 * 3600 / 5, "{stats:?}");
    }
}

/// RTT-43: nothing but bytes of the peer prove life; an empty read does not.
#[test]
fn rtt_heartbeat_is_not_masked_by_empty_reads() {
    let mut peer = Scripted::new(&Options::default());
    let deadline = peer.session.deadline();
    peer.now = SECOND;
    peer.raw(b"").unwrap();
    assert_eq!(peer.session.deadline(), deadline);
    // One byte of a frame is a byte.
    peer.raw(&[0x22]).unwrap();
    assert_eq!(peer.session.deadline(), Some(6 * SECOND));
}

/// RTT-27: at the latest after 25 ms, 64 frames or 256 KiB; and on any write that happens before.
#[test]
fn rtt_ack_rules() {
    let mut peer = Scripted::new(&Options::default());
    peer.message(CHANNEL_ZERO, b"one").unwrap();
    peer.now = 10 * MILLISECOND;
    peer.message(CHANNEL_ZERO, b"two").unwrap();
    assert!(!peer.session.wants_write());
    assert_eq!(peer.session.deadline(), Some(25 * MILLISECOND));
    peer.pass(14 * MILLISECOND);
    assert_eq!(peer.wrote(), []);
    peer.pass(MILLISECOND);
    assert_eq!(peer.wrote(), [Wrote::Ack { cursor: 2 }]);

    for _ in 0..63 {
        peer.message(CHANNEL_ZERO, b"").unwrap();
    }
    assert!(!peer.session.wants_write());
    peer.message(CHANNEL_ZERO, b"").unwrap();
    assert_eq!(peer.wrote(), [Wrote::Ack { cursor: 66 }]);

    peer.open(1, Kind::Knowledge).unwrap();
    for _ in 0..16 {
        assert!(!peer.session.wants_write());
        peer.message(1, &[0; 16 * 1024]).unwrap();
    }
    assert_eq!(peer.wrote(), [Wrote::Ack { cursor: 83 }]);

    peer.message(1, b"ride").unwrap();
    peer.session.send(CHANNEL_ZERO, vec![Bytes::from_static(b"a write anyway")], false, 0).unwrap();
    assert!(matches!(peer.wrote()[..], [Wrote::Ack { cursor: 84 }, Wrote::Data { .. }]));
    // What came twice is counted and changes nothing (RTT-50).
    peer.seq -= 1;
    peer.message(1, b"ride").unwrap();
    assert_eq!(peer.session.stats().replayed, 1);
    peer.pass(SECOND);
    assert_eq!(peer.wrote(), [Wrote::Ack { cursor: 84 }], "the peer does not know that it arrived");
    assert_eq!(peer.session.readable(1), 17);
}

/// RTT-25: what was received stays readable after the end; then the end says why.
#[test]
fn received_messages_outlive_the_session() {
    let mut pair = Pair::new(&Options::default());
    let id = pair.channel(INITIATOR, Kind::Knowledge, Policy::Block);
    pair.send(INITIATOR, id, b"read me");
    pair.settle();
    pair.cut();
    assert_eq!(pair.receive_all(ACCEPTOR, id), [b"read me"]);
    assert_eq!(pair.nothing(ACCEPTOR, id), Nothing::SessionClosed);
    assert_eq!(pair.session(ACCEPTOR).closed().unwrap().reason, "connection_lost");
}

/// A side that has shut down may still be talked to: channels opened after that are readable to their end at once.
#[test]
fn channels_opened_after_the_peers_shutdown_have_ended() {
    let mut pair = Pair::new(&Options::default());
    let now = pair.now;
    pair.session(ACCEPTOR).shutdown(now);
    pair.settle();
    let id = pair.channel(INITIATOR, Kind::Knowledge, Policy::Block);
    pair.send(INITIATOR, id, b"you are leaving");
    pair.settle();
    assert_eq!(pair.receive_all(ACCEPTOR, id), [b"you are leaving"]);
    assert_eq!(pair.nothing(INITIATOR, id), Nothing::Ended);
    pair.session(INITIATOR).release_channel(id);
    pair.session(ACCEPTOR).release_channel(id);
    pair.advance(SECOND);
    for side in [INITIATOR, ACCEPTOR] {
        assert_eq!(pair.session(side).channel_stats(id), None);
    }
    let now = pair.now;
    pair.session(INITIATOR).shutdown(now);
    pair.advance(SECOND);
    assert_eq!(pair.session(ACCEPTOR).closed().unwrap().reason, "local");
}

fn window(messages: u32, bytes: u32) -> web4_core::rtt::Window {
    web4_core::rtt::Window { messages, bytes }
}

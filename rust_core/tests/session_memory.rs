//! What a session costs while nothing happens (RTT-52).

mod counting;
mod session_pair;

use counting::Counting;
use session_pair::*;
use web4_core::rtt::frame::Numbered;
use web4_core::rtt::{Agreement, CHANNEL_ZERO, Kind, Options, Policy, Session};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn rtt_session_memory() {
    an_idle_session_is_small();
    a_declared_length_is_not_allocated();
}

/// RTT-52: limits are ceilings. An idle session is small when it opens, and again after it was busy.
fn an_idle_session_is_small() {
    let options = Options::default();
    let agreement = Agreement { initiator: true, limits: options.limits, resume_window_ms: 0 };
    let before = counting::in_use();
    let session = Box::new(Session::new([7; 16], agreement, &options, 0));
    let fresh = counting::in_use() - before;
    println!("a fresh session: {fresh} bytes");
    assert!(fresh <= 2048, "{fresh}");
    drop(session);

    let mut pair = Pair::new(&options);
    pair.advance(20 * SECOND);
    for side in &mut pair.sides {
        side.forget_history();
    }
    let before = counting::in_use();
    let ids = Kind::ALL.map(|kind| pair.channel(INITIATOR, kind, Policy::Error));
    for round in 0..200 {
        for id in ids.into_iter().chain([CHANNEL_ZERO]) {
            for side in [INITIATOR, ACCEPTOR] {
                for size in 0..60 {
                    pair.send(side, id, &vec![7; size * (round % 7)]);
                }
            }
        }
        // Everything is written before anything is acknowledged or read.
        pair.transmit();
        pair.settle();
        for id in ids.into_iter().chain([CHANNEL_ZERO]) {
            assert_eq!(pair.receive_all(INITIATOR, id).len(), 60);
            assert_eq!(pair.receive_all(ACCEPTOR, id).len(), 60);
        }
        pair.settle();
        pair.advance(30_000_000);
    }
    for side in [INITIATOR, ACCEPTOR] {
        for id in ids {
            pair.session(side).release_channel(id);
        }
    }
    pair.advance(60 * SECOND);
    pair.events(INITIATOR);
    pair.events(ACCEPTOR);
    for side in &mut pair.sides {
        side.forget_history();
    }
    let kept = counting::in_use().saturating_sub(before);
    println!("two idle sessions keep {kept} bytes of busier times");
    assert!(kept <= 2048, "{kept}");
}

/// RTT-17: a declared length costs nothing before its bytes arrive, on no fragment of the message.
fn a_declared_length_is_not_allocated() {
    let mut peer = Scripted::new(&Options::default());
    peer.open(1, Kind::Knowledge).unwrap();
    let before = counting::in_use();
    let part = |total| Numbered::Data { channel: 1, total, last: false, payload: &[7; 8] };
    peer.numbered(part(Some(1024 * 1024))).unwrap();
    for _ in 0..4 {
        peer.numbered(part(None)).unwrap();
    }
    let used = counting::in_use().saturating_sub(before);
    assert!(used <= 4096, "{used}");
}

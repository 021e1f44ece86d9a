//! What is measured agrees with what happened, measured by other means (RTT-51, RTT-59, RTT-71).

mod session_pair;

use session_pair::*;
use web4_core::rtt::frame::{Frame, Numbered};
use web4_core::rtt::{
    CHANNEL_ZERO, Event, Histogram, Kind, MILLISECOND, Meter, Nanos, Options, Policy, Session,
};

fn meter(session: &Session) -> Meter {
    let mut meter = Meter::default();
    meter.add_session(session);
    meter
}

fn quantile(sorted: &[Nanos], share: f64) -> Nanos {
    sorted[((share * sorted.len() as f64).ceil() as usize).max(1) - 1]
}

/// A quantile is the middle of a bucket, whose width is 1/32 of its lower bound.
fn assert_close(told: Nanos, exact: Nanos) {
    assert!(told.abs_diff(exact) <= exact / 64 + 1, "{told} for {exact}");
}

/// RTT-59: whatever is recorded, quantiles are within the stated error, merging is recording, memory is bounded.
#[test]
fn histograms_keep_their_promise() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let (mut whole, mut parts) = (Histogram::default(), [Histogram::default(), Histogram::default()]);
        // Evenly over the powers of two from 1 us to 60 s, or all within one of them.
        let (least, powers) = if seed % 2 == 0 { (10, 25) } else { (10 + random.below(25), 1) };
        let mut exact: Vec<Nanos> = (0..1 + random.below(2000))
            .map(|_| {
                let power = least + random.below(powers);
                (1 << power) + random.below(1 << power)
            })
            .collect();
        for (number, duration) in exact.iter().enumerate() {
            whole.record(*duration);
            parts[number % 2].record(*duration);
        }
        let [mut merged, other] = parts;
        merged.merge(&other);
        assert_eq!(merged, whole, "seed {seed}");
        assert_eq!((whole.count(), whole.sum()), (exact.len() as u64, exact.iter().sum()));
        exact.sort_unstable();
        for share in [0.0, 0.01, 0.5, 0.95, 0.99, 1.0] {
            assert_close(whole.quantile(share).expect("something was recorded"), quantile(&exact, share));
        }
        let buckets: Vec<_> = whole.buckets().collect();
        assert!(buckets.len() <= 834);
        assert!(buckets.windows(2).all(|pair| pair[0].to <= pair[1].from));
        assert_eq!(buckets.iter().map(|bucket| u64::from(bucket.count)).sum::<u64>(), whole.count());
    }
    let mut outside = Histogram::default();
    outside.record(0);
    outside.record(u64::MAX);
    assert_eq!((outside.count(), outside.buckets().count()), (2, 2));
    assert_eq!(Histogram::default().quantile(0.5), None);
}

/// Acknowledgements over a wire with delays from 20 to 80 ms each way: p50 and p95 are those of a second clock, which
/// looks every 100 us.
#[test]
fn rtt_metrics_agree() {
    const STEP: Nanos = MILLISECOND / 10;
    let wire = Wire { delay: 20 * MILLISECOND, piece: usize::MAX };
    let options = Options::default();
    let mut pair = Pair::with(&options, &options, wire, 7);
    pair.advance(SECOND);
    let mut random = Random(7);
    let mut measured = Vec::new();
    for ticket in 0..400 {
        pair.advance(random.below(300) * MILLISECOND);
        let began = pair.now;
        pair.send(INITIATOR, CHANNEL_ZERO, b"timed");
        assert!(!pair.session(INITIATOR).flush(CHANNEL_ZERO, ticket).unwrap());
        // The other side sometimes answers before its acknowledgement is due, or is silent until it is.
        while !pair.events(INITIATOR).contains(&Event::FlushDone(ticket)) {
            pair.advance(STEP);
            assert!(pair.now - began < SECOND, "it is acknowledged");
            pair.receive_all(ACCEPTOR, CHANNEL_ZERO);
            if random.below(100) == 0 {
                pair.receive_all(INITIATOR, CHANNEL_ZERO);
                pair.send(ACCEPTOR, CHANNEL_ZERO, b"");
            }
        }
        measured.push(pair.now - began);
    }
    measured.sort_unstable();
    let told = meter(pair.session(INITIATOR)).acknowledgement;
    assert_eq!(told.count(), measured.len() as u64);
    for share in [0.5, 0.95, 0.99] {
        let exact = quantile(&measured, share);
        let told = told.quantile(share).expect("it was measured");
        assert!(told.abs_diff(exact) <= exact / 64 + 2 * STEP, "{share}: {told} for {exact}");
    }
}

/// RTT-43, RTT-59: a PONG counts when it answers the latest PING, once; any other is ignored.
#[test]
fn only_the_answer_to_a_ping_is_timed() {
    let options = Options { heartbeat: SECOND, ..Options::default() };
    let mut peer = Scripted::new(&options);
    peer.frame(Frame::Pong { token: [0; 8] }).unwrap();
    peer.pass(SECOND);
    let [Wrote::Ping { token }] = peer.wrote()[..] else { panic!("a PING") };
    peer.now += 30 * MILLISECOND;
    peer.frame(Frame::Pong { token: [9; 8] }).unwrap();
    assert_eq!(meter(&peer.session).heartbeat.count(), 0);
    peer.now += 10 * MILLISECOND;
    peer.frame(Frame::Pong { token }).unwrap();
    peer.frame(Frame::Pong { token }).unwrap();
    let heartbeat = meter(&peer.session).heartbeat;
    assert_eq!((heartbeat.count(), heartbeat.sum()), (1, 40 * MILLISECOND));
    assert_close(heartbeat.quantile(0.5).unwrap(), 40 * MILLISECOND);
}

/// A driver that does not say when it wrote has no latencies; one that never could, none that are wrong.
#[test]
fn what_is_not_timed_is_not_measured() {
    let mut peer = Scripted::new(&Options::default());
    for known in [false, true, false] {
        peer.session.send(CHANNEL_ZERO, vec!["x".into()], false, 0).unwrap();
        peer.wrote();
        assert!(peer.session.wants_time());
        peer.session.written_at(known.then_some(peer.now));
        assert!(!peer.session.wants_time());
        peer.now += MILLISECOND;
        // Saying it again, later, does not move it.
        peer.session.written_at(Some(peer.now));
        peer.now += MILLISECOND;
        peer.ack_all().unwrap();
    }
    let told = meter(&peer.session).acknowledgement;
    assert_eq!((told.count(), told.sum()), (1, 2 * MILLISECOND));
}

/// RTT-59: per kind and each way, the same at both ends, and kept when channels and sessions go.
#[test]
fn totals_outlive_channels_and_sessions() {
    let mut pair = Pair::new(&Options::default());
    for round in 0..3 {
        let id = pair.channel(INITIATOR, Kind::Knowledge, Policy::Error);
        pair.send(INITIATOR, id, &vec![7; 40_000]);
        pair.send(INITIATOR, id, b"");
        pair.settle();
        assert_eq!(meter(pair.session(ACCEPTOR)).kinds[2].unread, 2);
        assert_eq!(meter(pair.session(ACCEPTOR)).kinds[2].unread_bytes, 40_000);
        pair.receive_all(ACCEPTOR, id);
        for side in [INITIATOR, ACCEPTOR] {
            pair.session(side).release_channel(id);
        }
        pair.advance(SECOND);
        for side in [INITIATOR, ACCEPTOR] {
            assert_eq!(pair.session(side).channel_stats(id), None, "it is forgotten");
        }
        let sent = meter(pair.session(INITIATOR)).kinds[Kind::Knowledge as usize];
        let received = meter(pair.session(ACCEPTOR)).kinds[Kind::Knowledge as usize];
        assert_eq!((sent.messages_sent, sent.bytes_sent), (2 * (round + 1), 40_000 * (round + 1)));
        assert_eq!(received.messages_received, sent.messages_sent);
        assert_eq!(received.bytes_received, sent.bytes_sent);
        assert_eq!(received.frames_received, sent.frames_sent);
        assert_eq!((received.unread, received.unread_bytes, sent.queued), (0, 0, 0));
    }
    let before = meter(pair.session(INITIATOR));
    pair.session(INITIATOR).abort(web4_core::rtt::Code::NORMAL, "");
    let mut both = meter(pair.session(INITIATOR));
    assert_eq!(both.kinds, before.kinds);
    both.merge(&before);
    assert_eq!(both.kinds[2].bytes_sent, 2 * before.kinds[2].bytes_sent);
    assert_eq!(both.acknowledgement.count(), 2 * before.acknowledgement.count());
    assert_eq!(both.frames_sent, 2 * before.frames_sent);
}

/// RTT-51: limits inside a session are counted by their names, whoever hits them; the resend buffer once each time that
/// it fills.
#[test]
fn limits_are_counted_when_hit() {
    let options = Options { resend_bytes: 64 * 1024, resend_reserve: 16 * 1024, ..small() };
    let mut peer = Scripted::new(&options);
    peer.open(1, Kind::Knowledge).unwrap();
    peer.numbered(Numbered::Open {
        channel: 3,
        kind: 2,
        name: "n",
        credit: web4_core::rtt::Window { messages: 1, bytes: 1 },
        max_message: 1024,
    })
    .unwrap();
    let large = peer.session.send(1, vec![vec![0; 1025].into()], false, 0);
    assert!(large.is_err());
    assert!(peer.message(1, &[0; 1025]).is_err());
    let mut told = meter(&peer.session).limits;
    told.sort_unstable();
    assert_eq!(told, [("bad_window", 1), ("message_too_large", 2)]);
    assert!(told.iter().all(|(name, _)| Session::LIMITS.contains(name)));

    let mut options = Options { resend_bytes: 64 * 1024, resend_reserve: 16 * 1024, ..Options::default() };
    options.limits.kinds[2].window.messages = 4096;
    let mut peer = Scripted::new(&options);
    peer.open(1, Kind::Knowledge).unwrap();
    for times in 1..=3 {
        for _ in 0..64 {
            peer.session.send(1, vec![vec![0; 1024].into()], false, 0).unwrap();
        }
        peer.wrote();
        peer.wrote();
        assert_eq!(meter(&peer.session).limits, [("resend_buffer", times)]);
        for _ in 0..8 {
            peer.ack_all().unwrap();
            peer.wrote();
        }
        assert_eq!(peer.session.channel_stats(1).unwrap().queued, 0);
    }
}

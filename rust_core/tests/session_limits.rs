//! Limits, credit, priority and the memory a peer can make a session use (sections 6, 7, 8, 10 and 15).

mod session_pair;

use bytes::Bytes;
use session_pair::*;
use web4_core::rtt::frame::{Frame, NUMBERED, Numbered};
use web4_core::rtt::{
    CHANNEL_ZERO, Code, Event, Kind, MILLISECOND, Nothing, Offered, OpenError, Options, Outcome, Policy,
    RECORD_BYTES, SendError, State, Window,
};

/// RTT-16: unknown optional frames are skipped by their length and, if numbered, acknowledged; an unknown core frame,
/// a type from 0x80 and a flag without a meaning are violations.
#[test]
fn rtt_extension_rules() {
    let mut peer = Scripted::new(&Options::default());
    peer.raw(&[0x40, 0, 0, 0, 0, 3, 1, 2, 3]).unwrap();
    peer.raw(&[0x7f, 0, 0, 0, 0, 0]).unwrap();
    peer.raw(&[0x41, NUMBERED, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]).unwrap();
    peer.seq = 1;
    assert_eq!(peer.session.stats().skipped, 3);
    // In pieces it is skipped as well, and what follows is read.
    peer.raw(&[0x40, 0, 0, 0, 0]).unwrap();
    peer.raw(&[4, 0, 0]).unwrap();
    peer.raw(&[0, 0, 0x22, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    assert_eq!(peer.session.stats().skipped, 4);
    assert_eq!(peer.wrote(), [Wrote::Ack { cursor: 1 }, Wrote::Pong { token: [1, 2, 3, 4, 5, 6, 7, 8] }]);
    peer.message(CHANNEL_ZERO, b"goes on").unwrap();

    let cases: [(&[u8], Code); 7] = [
        (&[0x3f, 0, 0, 0, 0, 0], Code::UNKNOWN_FRAME),
        (&[0x00, 0, 0, 0, 0, 0], Code::UNKNOWN_FRAME),
        (&[0x80, 0, 0, 0, 0, 0], Code::UNKNOWN_FRAME),
        (&[0xff, NUMBERED, 0, 0, 0, 0], Code::UNKNOWN_FRAME),
        (&[0x40, 0x01, 0, 0, 0, 0], Code::UNKNOWN_FLAG),
        (&[0x40, NUMBERED, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1], Code::MALFORMED),
        (&[0x40, 0, 0, 0, 0x40, 1], Code::FRAME_TOO_LARGE),
    ];
    for (bytes, code) in cases {
        let mut peer = Scripted::new(&Options::default());
        assert_eq!(peer.raw(bytes), Err(code), "{bytes:02x?}");
        assert_eq!(peer.session.state(), State::Closed);
    }
}

/// A channel too many, an oversized message, a closed channel, an unknown kind, a bad window: five different errors,
/// here and on the wire, and the session lives.
#[test]
fn rtt_limits_distinct() {
    let mut pair = Pair::new(&Options::default());
    let ids: Vec<_> = (1..64).map(|_| pair.channel(INITIATOR, Kind::State, Policy::Error)).collect();
    let one_more = pair.session(INITIATOR).open_channel(Kind::State, "65", Policy::Error);
    assert_eq!(one_more, Err(OpenError::TooManyChannels));
    let remote = pair.session(ACCEPTOR).open_channel(Kind::State, "65", Policy::Error);
    assert_eq!(remote, Err(OpenError::TooManyChannels));

    let oversize = vec![Bytes::from(vec![0; 64 * 1024 + 1])];
    assert_eq!(pair.session(INITIATOR).send(ids[0], oversize, false, 0), Err(SendError::MessageTooLarge));
    pair.session(INITIATOR).release_channel(ids[1]);
    let closed = pair.session(INITIATOR).send(ids[1], vec![Bytes::new()], false, 0);
    assert_eq!(closed, Err(SendError::ChannelClosed));
    assert_eq!(
        pair.session(INITIATOR).send(999, vec![Bytes::new()], false, 0),
        Err(SendError::ChannelClosed)
    );
    for name in ["", "\u{e9}", "line\n", &"x".repeat(65)] {
        assert_eq!(
            pair.session(INITIATOR).open_channel(Kind::State, name, Policy::Error),
            Err(OpenError::BadName)
        );
    }
    pair.send(INITIATOR, ids[2], b"alive");
    pair.settle();
    assert_eq!(pair.receive_all(ACCEPTOR, ids[2]), [b"alive"]);

    // On the wire.
    let mut peer = Scripted::new(&small());
    let open = |channel, kind, bytes, messages, max_message| Numbered::Open {
        channel,
        kind,
        name: "n",
        credit: Window { messages, bytes },
        max_message,
    };
    peer.numbered(open(1, 3, 4096, 4, 1024)).unwrap();
    peer.numbered(open(3, 1, 1023, 4, 1024)).unwrap();
    peer.numbered(open(5, 1, 4096, 0, 1024)).unwrap();
    peer.numbered(open(7, 1, 4096, 4, 1025)).unwrap();
    peer.numbered(open(9, 1, 4096, 4, 0)).unwrap();
    // Whatever they send there before they hear of it is ignored, and so is their own reset.
    peer.message(1, b"under way").unwrap();
    peer.frame(Frame::Credit { channel: 3, messages: 9, bytes: 9999 }).unwrap();
    let mut resets = peer.wrote();
    resets.retain(|frame| matches!(frame, Wrote::Reset { .. }));
    let reset = |channel, code| Wrote::Reset { channel, code };
    // The refused unknown kind counts as control, which is written first.
    assert_eq!(resets[0], reset(1, Code::UNKNOWN_KIND));
    assert_eq!(resets[1..], [3, 5, 7, 9].map(|channel| reset(channel, Code::BAD_WINDOW)));
    for channel in (11..11 + 2 * 63).step_by(2) {
        peer.open(channel, Kind::State).unwrap();
    }
    peer.open(137, Kind::State).unwrap();
    assert_eq!(peer.wrote(), [Wrote::Ack { cursor: 70 }, reset(137, Code::TOO_MANY_CHANNELS)]);
    assert_eq!(peer.session.state(), State::Open);
    let opened = peer.events();
    assert_eq!(opened.len(), 63);
    assert!(opened.iter().all(|event| matches!(event, Event::ChannelOpened(_))));
}

/// RTT-38: a remote reader that stalls bounds the sender's memory, the policy acts, other channels flow.
#[test]
fn rtt_credit_slow_reader() {
    let options = small();
    let mut pair = Pair::new(&options);
    let slow = pair.channel(INITIATOR, Kind::Knowledge, Policy::DropOldest);
    let quick = pair.channel(INITIATOR, Kind::Knowledge, Policy::Block);
    for number in 0..1000u32 {
        let message = vec![Bytes::copy_from_slice(&number.to_be_bytes())];
        pair.session(INITIATOR).send(slow, message, false, 0).unwrap();
        pair.send(INITIATOR, quick, b"flows");
        pair.advance(30_000_000);
        assert_eq!(pair.receive_all(ACCEPTOR, quick).len(), 1);
        let stats = pair.session(INITIATOR).channel_stats(slow).unwrap();
        assert!(stats.balances() && stats.queued <= 4 && stats.in_flight == 0);
        assert!(pair.session(ACCEPTOR).readable(slow) <= 4, "RTT-65: at most the credit");
    }
    let stats = pair.session(INITIATOR).channel_stats(slow).unwrap();
    assert_eq!((stats.acknowledged, stats.dropped_oldest, stats.queued), (4, 992, 4));
    // The reader comes back: the first four, and then the latest.
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let some = pair.receive_all(ACCEPTOR, slow);
        numbers.extend(some.iter().map(|message| u32::from_be_bytes(message[..].try_into().unwrap())));
        pair.settle();
    }
    assert_eq!(numbers, [0, 1, 2, 3, 996, 997, 998, 999]);
}

/// RTT-38: messages without bytes use credit too; credit comes back when half a window is free, as absolute totals.
#[test]
fn rtt_credit_counts_empty_messages() {
    let mut peer = Scripted::new(&small());
    peer.open(1, Kind::Knowledge).unwrap();
    for _ in 0..4 {
        peer.message(1, b"").unwrap();
    }
    assert_eq!(peer.session.receive(1), Ok(vec![]));
    assert!(!peer.session.wants_write());
    assert_eq!(peer.session.receive(1), Ok(vec![]));
    let ack = Wrote::Ack { cursor: 5 };
    assert_eq!(peer.wrote(), [ack, Wrote::Credit { channel: 1, messages: 6, bytes: 4096 }]);
    peer.message(1, &[0; 1000]).unwrap();
    peer.message(1, b"").unwrap();
    assert_eq!(peer.message(1, b""), Err(Code::CREDIT_OVERRUN));
}

/// RTT-38: a small message that was taken leaves less credit than the largest message needs, and far less than half a
/// window is free again. The sender must not wait for ever; a grant rides on the acknowledgement if one is due.
#[test]
fn rtt_credit_is_enough_for_the_largest_message_once_all_is_taken() {
    for (small, large) in [(1, 1024 * 1024), (400_000, 1024 * 1024), (1024 * 1024, 1)] {
        let mut pair = Pair::new(&Options::default());
        let id = pair.channel(INITIATOR, Kind::Knowledge, Policy::Block);
        pair.settle();
        let mut taken = 0;
        for size in [small, large, small, large] {
            pair.send(INITIATOR, id, &vec![7; size]);
            pair.settle();
            // Time enough for an acknowledgement, far too little for a heartbeat.
            pair.advance(25 * MILLISECOND);
            pair.settle();
            taken += pair.receive_all(ACCEPTOR, id).len();
            pair.settle();
        }
        pair.advance(50 * MILLISECOND);
        taken += pair.receive_all(ACCEPTOR, id).len();
        assert_eq!(taken, 4, "{small} {large}");
    }
    let mut options = small();
    options.limits.kinds[Kind::Knowledge as usize].window.bytes = 1100;
    let mut peer = Scripted::new(&options);
    peer.open(1, Kind::Knowledge).unwrap();
    peer.message(1, &[0; 100]).unwrap();
    let credit = |messages, bytes| Wrote::Credit { channel: 1, messages, bytes };
    assert_eq!(peer.wrote(), []);
    peer.session.receive(1).unwrap();
    assert!(!peer.session.grants_credit(), "an acknowledgement is due anyway");
    peer.pass(25 * MILLISECOND);
    assert_eq!(peer.wrote(), [Wrote::Ack { cursor: 2 }, credit(5, 1200)]);
    peer.message(1, &[0; 100]).unwrap();
    peer.pass(25 * MILLISECOND);
    assert_eq!(peer.wrote(), [Wrote::Ack { cursor: 3 }], "it was not taken yet");
    peer.session.receive(1).unwrap();
    assert!(peer.session.grants_credit(), "nothing else is due");
    assert_eq!(peer.wrote(), [credit(6, 1300)]);
    assert!(!peer.session.grants_credit());
}

/// RTT-38: a sender starts a message only if the whole of it fits the credit.
#[test]
fn rtt_credit_starts_no_message_it_cannot_finish() {
    let mut peer = Scripted::new(&Options::default());
    let credit = Window { messages: 10, bytes: 100_000 };
    let open = Numbered::Open { channel: 1, kind: 2, name: "n", credit, max_message: 100_000 };
    peer.numbered(open).unwrap();
    let messages = vec![Bytes::from(vec![1; 60_000]), Bytes::from(vec![2; 40_001]), Bytes::from(vec![3; 1])];
    peer.session.send(1, messages, false, 0).unwrap();
    let sent = |frames: &[Wrote]| -> usize {
        let payload = |frame: &Wrote| if let Wrote::Data { payload, .. } = frame { payload.len() } else { 0 };
        frames.iter().map(payload).sum()
    };
    assert_eq!(sent(&peer.wrote()), 60_000);
    peer.frame(Frame::Credit { channel: 1, messages: 10, bytes: 100_001 }).unwrap();
    assert_eq!(sent(&peer.wrote()), 40_001, "and the next does not overtake it");
    peer.frame(Frame::Credit { channel: 1, messages: 10, bytes: u64::MAX }).unwrap();
    assert_eq!(sent(&peer.wrote()), 1);
}

/// RTT-28: acknowledgements withheld. Memory is bounded, policies act, control passes, nothing is discarded.
#[test]
fn rtt_resend_buffer_full() {
    let options = Options { resend_bytes: 256 * 1024, resend_reserve: 64 * 1024, ..Options::default() };
    let mut peer = Scripted::with(&options, true);
    let id = peer.session.open_channel(Kind::Knowledge, "facts", Policy::DropNewest).unwrap();
    let mut written = Vec::new();
    let (mut accepted, mut dropped) = (0, 0);
    for _ in 0..2000 {
        match peer.session.send(id, vec![Bytes::from(vec![9; 1000])], false, 0).unwrap() {
            Offered::AllAccepted => accepted += 1,
            Offered::Each(outcomes) => {
                assert_eq!(outcomes, [Outcome::DroppedNewest]);
                dropped += 1;
            }
            Offered::Waiting => unreachable!(),
        }
        written.extend(peer.wrote());
        assert!(peer.session.stats().resend_bytes <= 192 * 1024);
        assert!(peer.session.channel_stats(id).unwrap().balances());
        // The peer withholds acknowledgements, not credit.
        peer.frame(Frame::Credit { channel: id, messages: 1 << 32, bytes: 1 << 40 }).unwrap();
    }
    assert!(accepted > 1024 && dropped > 0);
    let held = peer.session.stats().resend_bytes;
    // Control has a reserve of its own, less than a record of it.
    let mut control = 0;
    for _ in 0..60 {
        peer.session.send(CHANNEL_ZERO, vec![Bytes::from(vec![1; 1000])], false, 0).unwrap();
        control += peer.wrote().len();
    }
    assert!(control * 1022 > 64 * 1024 - RECORD_BYTES - 1022, "{control}");
    let bytes = peer.session.stats().resend_bytes;
    assert!(bytes <= 256 * 1024 && bytes > held);
    // Then everything goes on, nothing is missing.
    for _ in 0..20 {
        peer.ack_all().unwrap();
        written.extend(peer.wrote());
    }
    let delivered = written
        .iter()
        .filter(|frame| matches!(frame, Wrote::Data { channel, last: true, .. } if *channel == id));
    assert_eq!(delivered.count(), accepted);
    let stats = peer.session.channel_stats(id).unwrap();
    assert_eq!((stats.acknowledged, stats.queued, stats.in_flight), (accepted as u64, 0, 0));
}

/// RTT-20, RTT-21: whatever the backlog, a control message is written with the next record; knowledge and state share
/// the rest 1:2, also after one of them had the wire for itself.
#[test]
fn rtt_control_under_flood() {
    for backlog in [10, 1000] {
        let options = Options { resend_bytes: 64 * 1024 * 1024, ..Options::default() };
        let mut peer = Scripted::with(&options, true);
        let facts = peer.session.open_channel(Kind::Knowledge, "facts", Policy::DropNewest).unwrap();
        let mood = peer.session.open_channel(Kind::State, "mood", Policy::DropNewest).unwrap();
        let order = peer.session.open_channel(Kind::Control, "order", Policy::Error).unwrap();
        // OPENs are written in the order of ids, or the peer would take them for ids out of turn.
        let opened: Vec<u32> = peer
            .wrote()
            .iter()
            .filter_map(|frame| if let Wrote::Open { channel, .. } = frame { Some(*channel) } else { None })
            .collect();
        assert_eq!(opened, [facts, mood, order]);
        for channel in [facts, mood, order, CHANNEL_ZERO] {
            peer.frame(Frame::Credit { channel, messages: 1 << 32, bytes: 1 << 40 }).unwrap();
        }
        let message = |size: usize| Bytes::from(vec![0; size]);
        let fill = |peer: &mut Scripted, channel, size: usize| {
            peer.session.send(channel, vec![message(size); backlog], false, 0).unwrap();
        };
        // Knowledge has the wire for itself, for a while.
        for _ in 0..10 {
            fill(&mut peer, facts, 1000);
            for _ in 0..20 {
                peer.wrote_record();
                peer.ack_all().unwrap();
            }
        }
        let mut bytes = [0usize; 3];
        for round in 0..300u64 {
            fill(&mut peer, facts, 1000);
            fill(&mut peer, mood, 700);
            let urgent = round % 3 == 0;
            if urgent {
                let channel = if round % 2 == 0 { order } else { CHANNEL_ZERO };
                peer.session.send(channel, vec![message(round as usize + 1); 2], false, 0).unwrap();
            }
            let frames = peer.wrote_record();
            let channels: Vec<u32> = frames
                .iter()
                .filter_map(
                    |frame| if let Wrote::Data { channel, .. } = frame { Some(*channel) } else { None },
                )
                .collect();
            let control = |channel: &u32| [order, CHANNEL_ZERO].contains(channel);
            let first = channels.iter().take_while(|channel| control(channel)).count();
            assert_eq!(first, if urgent { 2 } else { 0 });
            assert_eq!(channels.iter().filter(|channel| control(channel)).count(), first);
            for frame in &frames {
                if let Wrote::Data { channel, payload, .. } = frame {
                    bytes[[order, mood, facts].iter().position(|id| id == channel).unwrap_or(0)] +=
                        payload.len();
                }
            }
            peer.ack_all().unwrap();
        }
        if backlog == 1000 {
            let ratio = bytes[1] as f64 / bytes[2] as f64;
            assert!((1.9..2.1).contains(&ratio), "state to knowledge is {ratio}");
        }
    }
}

/// RTT-20: channels of one kind take turns.
#[test]
fn rtt_channels_of_a_kind_take_turns() {
    let mut peer = Scripted::with(&Options::default(), true);
    let ids = [1, 3, 5].map(|_| peer.session.open_channel(Kind::Knowledge, "k", Policy::Error).unwrap());
    for id in ids {
        peer.session.send(id, vec![Bytes::from_static(b"x"); 100], false, 0).unwrap();
    }
    let order: Vec<u32> = peer
        .wrote()
        .iter()
        .filter_map(|frame| if let Wrote::Data { channel, .. } = frame { Some(*channel) } else { None })
        .collect();
    assert_eq!(order.len(), 300);
    assert!(order.chunks(3).all(|turn| turn == ids));
}

/// A hundred thousand channels opened and closed in every way leave nothing behind, on either side.
#[test]
fn rtt_no_leaks_after_many_channels() {
    let mut pair = Pair::new(&Options::default());
    let mut random = Random(3);
    for round in 0..100_000u64 {
        let (one, two) = if random.below(2) == 0 { (INITIATOR, ACCEPTOR) } else { (ACCEPTOR, INITIATOR) };
        let kind = Kind::ALL[random.below(3) as usize];
        let id = pair.session(one).open_channel(kind, "short", Policy::Error).expect("room");
        match random.below(4) {
            0 => pair.settle(),
            1 => pair.transmit(),
            _ => {}
        }
        pair.send(one, id, b"last words");
        if random.below(3) == 0 {
            pair.settle();
            pair.session(two).send(id, vec![Bytes::from_static(b"answer")], false, 0).unwrap();
        }
        let mut close = |pair: &mut Pair, side: usize| match random.below(4) {
            0 => pair.session(side).reset_channel(id, Code::CANCELLED),
            1 => {
                pair.session(side).end_channel(id);
                pair.session(side).release_channel(id);
            }
            _ => pair.session(side).release_channel(id),
        };
        close(&mut pair, one);
        if round % 5 != 0 {
            pair.settle();
        }
        close(&mut pair, two);
        pair.settle();
        close(&mut pair, two);
        pair.advance(26_000_000);
        for side in [one, two] {
            assert_eq!(pair.session(side).channel_stats(id), None, "round {round}");
        }
        pair.events(one);
        pair.events(two);
        pair.session(one).take_lost();
        pair.session(two).take_lost();
        for side in &mut pair.sides {
            side.written.clear();
        }
    }
    for side in [INITIATOR, ACCEPTOR] {
        assert_eq!(pair.session(side).state(), State::Open);
        assert_eq!(pair.session(side).stats().resend_bytes, 0);
        let open = || pair.session(side).open_channel(Kind::State, "again", Policy::Error).ok();
        assert_eq!(std::iter::from_fn(open).count(), 63);
    }
}

/// A peer that floods OPEN and RESET makes neither channels nor events grow without bound.
#[test]
fn rtt_open_and_reset_flood_is_bounded() {
    let mut peer = Scripted::new(&Options::default());
    // Nobody takes the channels here, so after 63 of them the rest is refused; each refusal is taken back by RESET.
    for channel in (1..200_001).step_by(2) {
        peer.open(channel, Kind::State).unwrap();
        peer.numbered(Numbered::Reset { channel, code: Code::CANCELLED }).unwrap();
    }
    let events = peer.events();
    assert_eq!(events.len(), 2 * 63);
    assert_eq!(peer.session.state(), State::Open);
    assert!(peer.wrote().len() <= 2);
    // The application lets go of the dead ones: there is room again.
    for channel in (1..2 * 63).step_by(2) {
        assert_eq!(
            peer.session.receive(channel),
            Err(Nothing::Reset { code: Code::CANCELLED, by_peer: true })
        );
        peer.session.release_channel(channel);
    }
    peer.open(200_001, Kind::State).unwrap();
    assert_eq!(peer.events(), [Event::ChannelOpened(200_001)]);

    // The same without resets: what is refused is answered up to a bound that no sound peer can reach.
    let mut peer = Scripted::new(&Options::default());
    for channel in (1..2 * 128).step_by(2) {
        peer.open(channel, Kind::State).unwrap();
    }
    assert_eq!(peer.open(257, Kind::State), Err(Code::OPEN_FLOOD));
    // Whoever writes its refusals in time never gets there.
    let mut peer = Scripted::new(&Options::default());
    for channel in (1..20_000).step_by(2) {
        peer.open(channel, Kind::State).unwrap();
        let refused = usize::from(channel > 2 * 63);
        assert_eq!(peer.wrote().iter().filter(|frame| matches!(frame, Wrote::Reset { .. })).count(), refused);
        peer.ack_all().unwrap();
    }
}

/// What resets lose is listed, up to a bound; the counters tell all of it.
#[test]
fn losses_by_resets_are_listed_up_to_a_bound() {
    let options = Options { resend_bytes: 64 * 1024, resend_reserve: 16 * 1024, ..Options::default() };
    let mut peer = Scripted::new(&options);
    let mut lost = 0;
    for channel in (1..400).step_by(2) {
        peer.open(channel, Kind::State).unwrap();
        peer.session.send(channel, vec![Bytes::from(vec![0; 1000])], false, 0).unwrap();
        peer.numbered(Numbered::Reset { channel, code: Code::CANCELLED }).unwrap();
        lost += peer.session.channel_stats(channel).unwrap().lost;
        peer.session.release_channel(channel);
        peer.wrote();
        peer.ack_all().unwrap();
    }
    assert_eq!(lost, 200);
    let unlisted = peer.session.stats().lost_unlisted;
    let listed = peer.session.take_lost();
    assert_eq!(listed.len() as u64 + unlisted, 200);
    assert!((50..=64).contains(&listed.len()), "{}", listed.len());
    assert_eq!(listed.last().unwrap().channel, 399, "the latest are kept");
}

/// Two peers that close a channel while both queues are full do not hold each other up: what nobody reads any more
/// still grants credit.
#[test]
fn closing_both_ends_with_full_queues_terminates() {
    let mut pair = Pair::new(&small());
    let id = pair.channel(INITIATOR, Kind::Knowledge, Policy::Error);
    for side in [INITIATOR, ACCEPTOR] {
        for _ in 0..2 {
            for _ in 0..4 {
                pair.send(side, id, &[5; 900]);
            }
            pair.settle();
        }
    }
    // The acceptor is done; it reads nothing more, but delivers what it has accepted.
    pair.session(ACCEPTOR).release_channel(id);
    pair.advance(SECOND);
    assert_eq!(pair.session(INITIATOR).channel_stats(id).unwrap().queued, 0);
    let mut received = 0;
    for _ in 0..4 {
        received += pair.receive_all(INITIATOR, id).len();
        pair.advance(SECOND);
    }
    assert_eq!(received, 8, "what was accepted arrived");
    assert_eq!(pair.nothing(INITIATOR, id), Nothing::Ended);
    pair.session(INITIATOR).release_channel(id);
    pair.advance(SECOND);
    for side in [INITIATOR, ACCEPTOR] {
        assert_eq!(pair.session(side).channel_stats(id), None);
    }
}

/// Section 15: channels that wait for nothing but acknowledgements do not count as open, up to a bound of their own.
#[test]
fn rtt_lingering_channels_are_bounded() {
    let mut options = Options::default();
    options.limits.channels = 2;
    let mut peer = Scripted::with(&options, true);
    let turn = |peer: &mut Scripted| {
        let id = peer.session.open_channel(Kind::Knowledge, "turn", Policy::Error)?;
        peer.session.send(id, vec![Bytes::from_static(b"x")], false, 0).unwrap();
        peer.session.release_channel(id);
        peer.wrote();
        Ok(())
    };
    for _ in 0..7 {
        turn(&mut peer).unwrap();
    }
    assert_eq!(turn(&mut peer), Err(OpenError::TooManyChannels));
    peer.ack_all().unwrap();
    assert_eq!(turn(&mut peer), Ok(()));
}

/// RTT-38: more credit than one record holds is written in several, without waiting for something else to write.
#[test]
fn rtt_credit_of_many_channels() {
    let mut options = small();
    options.limits.channels = 1000;
    let mut peer = Scripted::new(&options);
    let ids = (0..900).map(|number| 2 * number + 1);
    for id in ids.clone() {
        peer.open(id, Kind::Knowledge).unwrap();
        peer.message(id, b"").unwrap();
        peer.message(id, b"").unwrap();
    }
    peer.wrote();
    for id in ids {
        peer.session.receive(id).unwrap();
        peer.session.receive(id).unwrap();
    }
    let credits = peer.wrote().iter().filter(|frame| matches!(frame, Wrote::Credit { .. })).count();
    assert_eq!(credits, 900);
}

/// A message that fits a fragment is never cut to fill a record: the receiver reads it where it was decrypted.
#[test]
fn rtt_small_messages_stay_whole() {
    let mut peer = Scripted::new(&Options::default());
    let messages = vec![Bytes::from(vec![1; 10_000]), Bytes::from(vec![2; 10_000])];
    peer.session.send(CHANNEL_ZERO, messages, false, 0).unwrap();
    for _ in 0..2 {
        let record = peer.wrote_record();
        assert!(
            matches!(&record[..], [Wrote::Data { last: true, payload, .. }] if payload.len() == 10_000),
            "{record:?}"
        );
    }
}

//! Send policies, waiters and their books (section 10).

mod session_pair;

use bytes::Bytes;
use session_pair::*;
use web4_core::rtt::frame::{Frame, Numbered};
use web4_core::rtt::{
    CHANNEL_ZERO, ChannelId, ChannelStats, Code, Event, Kind, Offered, OpenError, Options, Outcome, Policy,
    SendError, Ticket,
};

fn text(number: u32) -> Bytes {
    Bytes::from(number.to_string())
}

/// A session whose peer has granted nothing to spare: a knowledge channel of four messages, four of which are
/// written already and use up the credit.
fn full(policy: Policy) -> (Scripted, ChannelId) {
    let mut peer = Scripted::with(&small(), true);
    let id = peer.session.open_channel(Kind::Knowledge, "facts", policy).unwrap();
    let first = (0..4).map(text).collect();
    assert_eq!(peer.session.send(id, first, false, 0), Ok(Offered::AllAccepted));
    peer.wrote();
    let queued = (4..8).map(text).collect();
    assert_eq!(peer.session.send(id, queued, false, 0), Ok(Offered::AllAccepted));
    assert_eq!(peer.wrote(), []);
    (peer, id)
}

fn offer(peer: &mut Scripted, id: ChannelId, number: u32, ticket: Ticket) -> Result<Offered, SendError> {
    let offered = peer.session.send(id, vec![text(number)], true, ticket);
    stats(peer, id);
    offered
}

fn stats(peer: &Scripted, id: ChannelId) -> ChannelStats {
    let stats = peer.session.channel_stats(id).expect("the channel is there");
    assert!(stats.balances(), "RTT-42: {stats:?}");
    stats
}

/// Grants `messages` in all, and says which numbers were written in answer.
fn granted(peer: &mut Scripted, id: ChannelId, messages: u64) -> Vec<u32> {
    peer.frame(Frame::Credit { channel: id, messages, bytes: 1 << 20 }).unwrap();
    stats(peer, id);
    numbers(&peer.wrote())
}

fn numbers(frames: &[Wrote]) -> Vec<u32> {
    let payload = |frame: &Wrote| match frame {
        Wrote::Data { payload, .. } => std::str::from_utf8(payload).ok()?.parse().ok(),
        _ => None,
    };
    frames.iter().filter_map(payload).collect()
}

/// RTT-39, RTT-42: what each policy does with a full queue, by messages and by bytes.
#[test]
fn qos_four_policies() {
    let (mut peer, id) = full(Policy::Error);
    assert_eq!(offer(&mut peer, id, 8, 1), Err(SendError::QueueFull));
    assert_eq!((stats(&peer, id).failed, stats(&peer, id).overflow_events), (1, 1));
    assert_eq!(granted(&mut peer, id, 100), [4, 5, 6, 7]);
    assert_eq!(offer(&mut peer, id, 9, 1), Ok(Offered::AllAccepted));

    let (mut peer, id) = full(Policy::DropNewest);
    assert_eq!(offer(&mut peer, id, 8, 1), Ok(Offered::Each(vec![Outcome::DroppedNewest])));
    assert_eq!(stats(&peer, id).dropped_newest, 1);
    assert_eq!(granted(&mut peer, id, 100), [4, 5, 6, 7]);

    let (mut peer, id) = full(Policy::DropOldest);
    assert_eq!(offer(&mut peer, id, 8, 1), Ok(Offered::Each(vec![Outcome::EvictedOldest])));
    let batch = (9..12).map(text).collect();
    assert_eq!(peer.session.send(id, batch, true, 1), Ok(Offered::Each(vec![Outcome::EvictedOldest; 3])));
    assert_eq!((stats(&peer, id).dropped_oldest, stats(&peer, id).queued), (4, 4));
    assert_eq!(granted(&mut peer, id, 100), [8, 9, 10, 11]);

    let (mut peer, id) = full(Policy::Block);
    assert_eq!(offer(&mut peer, id, 8, 1), Ok(Offered::Waiting));
    assert_eq!((stats(&peer, id).waiting, stats(&peer, id).blocked), (1, 1));
    assert_eq!(granted(&mut peer, id, 100), [4, 5, 6, 7, 8]);
    assert_eq!(peer.events(), [Event::SendDone(1)]);
    // Without waiting, `block` is `error`.
    let (mut peer, id) = full(Policy::Block);
    assert_eq!(peer.session.send(id, vec![text(8)], false, 0), Err(SendError::QueueFull));
    assert_eq!(stats(&peer, id).failed, 1);

    // Bytes count like messages: a state queue holds two messages of at most 2 KiB together.
    let mut peer = Scripted::with(&small(), true);
    let id = peer.session.open_channel(Kind::State, "bytes", Policy::Error).unwrap();
    let sizes = |sizes: &[usize]| sizes.iter().map(|size| Bytes::from(vec![0; *size])).collect::<Vec<_>>();
    assert_eq!(peer.session.send(id, sizes(&[1024, 1024]), false, 0), Ok(Offered::AllAccepted));
    assert_eq!(peer.session.send(id, sizes(&[0]), false, 0), Err(SendError::QueueFull));
    assert_eq!(peer.session.send(id, sizes(&[1025]), false, 0), Err(SendError::MessageTooLarge));
    assert_eq!(peer.session.send(id, sizes(&[1, 1, 1]), true, 0), Err(SendError::BatchTooLarge));
    assert_eq!(stats(&peer, id).failed, 5);
}

/// RTT-40: a message of which some byte was written is never evicted, and nothing is evicted in vain.
#[test]
fn qos_a_started_message_is_never_evicted() {
    let mut options = Options { resend_reserve: 16 * 1024, resend_bytes: 32 * 1024, ..Options::default() };
    options.limits.kinds[1].max_message = 48 * 1024;
    options.limits.kinds[1].window.bytes = 64 * 1024;
    let mut peer = Scripted::with(&options, true);
    let id = peer.session.open_channel(Kind::State, "big", Policy::DropOldest).unwrap();
    let message = |size: usize| vec![Bytes::from(vec![7; size])];
    peer.session.send(id, message(48 * 1024), false, 0).unwrap();
    // The resend buffer takes one record: the message is begun, and stays the head of the queue.
    peer.wrote();
    assert_eq!((stats(&peer, id).queued, stats(&peer, id).in_flight), (1, 0));
    peer.session.send(id, message(10 * 1024), false, 0).unwrap();
    let evicting = peer.session.send(id, message(12 * 1024), false, 0);
    assert_eq!(evicting, Ok(Offered::Each(vec![Outcome::EvictedOldest])));
    let hopeless = peer.session.send(id, message(17 * 1024), false, 0);
    assert_eq!(hopeless, Ok(Offered::Each(vec![Outcome::DroppedNewest])));
    assert_eq!((stats(&peer, id).queued, stats(&peer, id).dropped_oldest), (2, 1));
    let mut received = Vec::new();
    for _ in 0..8 {
        peer.ack_all().unwrap();
        received.extend(peer.wrote());
        stats(&peer, id);
    }
    let complete = received.iter().filter(|frame| matches!(frame, Wrote::Data { last: true, .. })).count();
    assert_eq!(complete, 2);
    peer.ack_all().unwrap();
    assert_eq!(stats(&peer, id).acknowledged, 2);
}

/// RTT-41: waiters wake in order; cancelled ones leave no trace; the end wakes all that are left with an error.
#[test]
fn qos_block_wakes_on_space() {
    let (mut peer, id) = full(Policy::Block);
    for ticket in 1..=6 {
        assert_eq!(offer(&mut peer, id, 10 + ticket as u32, ticket), Ok(Offered::Waiting));
    }
    assert!(peer.session.cancel_send(id, 3));
    assert!(!peer.session.cancel_send(id, 3), "once");
    assert_eq!((stats(&peer, id).waiting, stats(&peer, id).cancelled), (5, 1));
    assert_eq!(granted(&mut peer, id, 6), [4, 5]);
    assert_eq!(peer.events(), [Event::SendDone(1), Event::SendDone(2)]);
    assert!(!peer.session.cancel_send(id, 1), "accepted already");
    // A newcomer queues behind those who wait, even if it would fit.
    assert_eq!(offer(&mut peer, id, 20, 7), Ok(Offered::Waiting));
    assert_eq!(granted(&mut peer, id, 9), [6, 7, 11]);
    assert_eq!(peer.events(), [Event::SendDone(4), Event::SendDone(5), Event::SendDone(6)]);
    peer.session.abort(Code::NORMAL, "");
    assert_eq!(peer.events(), [Event::WaitFailed(7), Event::Closed]);
    let stats = stats(&peer, id);
    assert_eq!((stats.waiting, stats.failed, stats.cancelled), (0, 1, 1));
    // What the peer never got, the cancelled and the refused one aside, is reported once and in order.
    let lost: Vec<_> = peer.session.take_lost().into_iter().map(|lost| lost.message.message).collect();
    let expected: Vec<_> = (0..8).chain([11, 12, 14, 15, 16]).map(text).collect();
    assert_eq!(lost, expected);
}

/// A large batch at the head of the waiters holds smaller ones back; when it is cancelled, they go on.
#[test]
fn qos_cancelling_the_first_waiter_lets_the_next_in() {
    let (mut peer, id) = full(Policy::Block);
    let batch = (20..24).map(text).collect();
    assert_eq!(peer.session.send(id, batch, true, 1), Ok(Offered::Waiting));
    assert_eq!(offer(&mut peer, id, 30, 2), Ok(Offered::Waiting));
    assert_eq!(granted(&mut peer, id, 5), [4]);
    assert_eq!(peer.events(), []);
    assert!(peer.session.cancel_send(id, 1));
    assert_eq!(peer.events(), [Event::SendDone(2)]);
    assert_eq!(granted(&mut peer, id, 100), [5, 6, 7, 30]);
    stats(&peer, id);
}

/// RTT-41: every way a channel or its session ends wakes whoever waits, with a failure.
#[test]
fn qos_every_end_wakes_waiters() {
    type End = fn(&mut Scripted, ChannelId);
    let ends: [(&str, End); 8] = [
        ("end", |peer, id| peer.session.end_channel(id)),
        ("release", |peer, id| peer.session.release_channel(id)),
        ("reset", |peer, id| peer.session.reset_channel(id, Code::CANCELLED)),
        ("reset by the peer", |peer, id| {
            peer.numbered(Numbered::Reset { channel: id, code: Code::CANCELLED }).unwrap();
        }),
        ("shutdown", |peer, _| peer.session.shutdown(peer.now)),
        ("abort", |peer, _| peer.session.abort(Code::NORMAL, "")),
        ("carrier lost", |peer, _| peer.session.carrier_lost(0)),
        ("close", |peer, _| peer.frame(Frame::Close { code: Code::NORMAL, reason: "" }).unwrap()),
    ];
    for (name, end) in ends {
        let (mut peer, id) = full(Policy::Block);
        assert_eq!(offer(&mut peer, id, 8, 5), Ok(Offered::Waiting));
        end(&mut peer, id);
        assert_eq!(peer.events().first(), Some(&Event::WaitFailed(5)), "{name}");
        if let Some(stats) = peer.session.channel_stats(id) {
            assert!(stats.balances(), "{name}");
            assert_eq!((stats.waiting, stats.failed), (0, 1), "{name}");
        }
    }
}

/// RTT-60: fifty producers, served in the order in which they came.
#[test]
fn qos_many_producers_fifo() {
    let wire = Wire { delay: 1_000_000, piece: 700 };
    let mut pair = Pair::with(&small(), &small(), wire, 5);
    let id = pair.channel(INITIATOR, Kind::Knowledge, Policy::Block);
    let mut random = Random(11);
    let (mut arrival, mut served, mut received) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = [0u32; 50];
    let mut waiting = [None; 50];
    while received.len() < 500 {
        let task = random.below(50) as usize;
        if next[task] < 10 && waiting[task].is_none() {
            let ticket = (task as u64) << 8 | u64::from(next[task]);
            let message = Bytes::copy_from_slice(&ticket.to_be_bytes());
            match pair.session(INITIATOR).send(id, vec![message], true, ticket).unwrap() {
                Offered::AllAccepted => {
                    assert_eq!(served.len(), arrival.len(), "nobody overtakes a waiter");
                    served.push(ticket);
                    next[task] += 1;
                }
                Offered::Waiting => waiting[task] = Some(ticket),
                Offered::Each(_) => unreachable!("block drops nothing"),
            }
            arrival.push(ticket);
        }
        if random.below(3) == 0 {
            pair.advance(1_000_000);
        }
        if random.below(2) == 0 {
            received.extend(pair.session(ACCEPTOR).receive(id).ok());
        }
        for event in pair.events(INITIATOR) {
            if let Event::SendDone(ticket) = event {
                let task = (ticket >> 8) as usize;
                assert_eq!(waiting[task].take(), Some(ticket));
                served.push(ticket);
                next[task] += 1;
            }
        }
        assert!(pair.session(INITIATOR).channel_stats(id).unwrap().balances());
    }
    assert_eq!(served, arrival, "service is in order of arrival");
    let received: Vec<u64> =
        received.iter().map(|message| u64::from_be_bytes(message[..].try_into().unwrap())).collect();
    assert_eq!(received, arrival);
    for task in 0..50 {
        let order: Vec<u64> =
            received.iter().filter(|ticket| **ticket >> 8 == task).map(|t| t & 0xff).collect();
        assert_eq!(order, (0..10).collect::<Vec<_>>(), "each task's order holds");
    }
}

/// RTT-39: unknown names do not exist, aliases do, and control takes no policy that drops.
#[test]
fn qos_bad_policy_rejected() {
    for (name, policy) in [
        ("error", Policy::Error),
        ("drop_oldest", Policy::DropOldest),
        ("dropoldest", Policy::DropOldest),
        ("drop_newest", Policy::DropNewest),
        ("dropnewest", Policy::DropNewest),
        ("block", Policy::Block),
    ] {
        assert_eq!(Policy::from_name(name), Some(policy));
    }
    for name in ["", "Block", "drop-oldest", "drop", "wait"] {
        assert_eq!(Policy::from_name(name), None);
    }
    let mut pair = Pair::new(&Options::default());
    for policy in [Policy::DropOldest, Policy::DropNewest] {
        let opened = pair.session(INITIATOR).open_channel(Kind::Control, "c", policy);
        assert_eq!(opened, Err(OpenError::BadPolicy));
        let set = pair.session(INITIATOR).set_policy(CHANNEL_ZERO, policy);
        assert_eq!(set, Err(OpenError::BadPolicy));
    }
    pair.channel(INITIATOR, Kind::Control, Policy::Error);
    pair.channel(INITIATOR, Kind::State, Policy::Block);
    assert_eq!(Kind::State.default_policy(), Policy::DropOldest);
    assert_eq!(Kind::Control.default_policy(), Policy::Block);
    assert_eq!(Kind::Knowledge.default_policy(), Policy::Block);
}

/// RTT-62: a batch is accepted whole, contiguous, or not at all.
#[test]
fn qos_send_many_atomic() {
    // It waits until the whole of it fits, though part of it would fit before.
    let (mut peer, id) = full(Policy::Block);
    let batch: Vec<Bytes> = (100..103).map(text).collect();
    assert_eq!(peer.session.send(id, batch.clone(), true, 1), Ok(Offered::Waiting));
    assert_eq!(offer(&mut peer, id, 200, 2), Ok(Offered::Waiting));
    assert_eq!(granted(&mut peer, id, 6), [4, 5]);
    assert_eq!((peer.events(), stats(&peer, id).queued), (vec![], 2));
    assert_eq!(granted(&mut peer, id, 7), [6]);
    assert_eq!(peer.events(), [Event::SendDone(1)]);
    assert_eq!(granted(&mut peer, id, 100), [7, 100, 101, 102, 200]);

    // Cancelled in the middle of waiting: none of it is ever written.
    let (mut peer, id) = full(Policy::Block);
    assert_eq!(peer.session.send(id, batch.clone(), true, 1), Ok(Offered::Waiting));
    assert_eq!(granted(&mut peer, id, 6), [4, 5]);
    assert!(peer.session.cancel_send(id, 1));
    assert_eq!(granted(&mut peer, id, 100), [6, 7]);
    assert_eq!((stats(&peer, id).cancelled, stats(&peer, id).accepted), (3, 8));

    // `error` takes all or nothing as well.
    let (mut peer, id) = full(Policy::Error);
    granted(&mut peer, id, 6);
    assert_eq!(peer.session.send(id, batch, false, 1), Err(SendError::QueueFull));
    assert_eq!((stats(&peer, id).failed, stats(&peer, id).queued), (3, 2));
    let with_giant = vec![text(1), Bytes::from(vec![0; 1025])];
    assert_eq!(peer.session.send(id, with_giant, false, 1), Err(SendError::MessageTooLarge));
    assert_eq!(stats(&peer, id).queued, 2);
}

/// RTT-24: a flush is complete when everything accepted before it is acknowledged or evicted, and not before.
#[test]
fn flush_waits_for_acknowledgement() {
    let (mut peer, id) = full(Policy::DropOldest);
    assert_eq!(peer.session.flush(id, 1), Ok(false));
    assert_eq!(peer.session.flush(CHANNEL_ZERO, 2), Ok(true));
    peer.ack_all().unwrap();
    assert_eq!(peer.events(), []);
    for number in 8..11 {
        offer(&mut peer, id, number, 0).unwrap();
        assert_eq!(peer.events(), []);
    }
    offer(&mut peer, id, 11, 0).unwrap();
    assert_eq!(peer.events(), [Event::FlushDone(1)], "the rest of what it waited for was evicted");

    assert_eq!(peer.session.flush(id, 3), Ok(false));
    assert_eq!(peer.session.flush(id, 4), Ok(false));
    peer.session.cancel_flush(id, 3);
    granted(&mut peer, id, 100);
    peer.ack_all().unwrap();
    assert_eq!(peer.events(), [Event::FlushDone(4)]);

    offer(&mut peer, id, 12, 0).unwrap();
    assert_eq!(peer.session.flush(id, 5), Ok(false));
    peer.session.carrier_lost(0);
    assert_eq!(peer.events(), [Event::WaitFailed(5), Event::Closed]);
    assert_eq!(peer.session.flush(id, 6), Err(SendError::SessionClosed));
}

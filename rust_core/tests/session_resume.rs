//! Resuming, with the exact frames on the table: what is sent again, what is refused, what is lost (section 9).

mod session_pair;

use bytes::Bytes;
use session_pair::Pair;
use web4_core::rtt::{
    CHANNEL_ZERO, ChannelId, Code, Event, Kind, MILLISECOND, Nothing, Offered, Options, Policy, ResumeTicket,
    Resumed, State,
};

const WINDOW: u64 = 600_000 * MILLISECOND;

/// Cuts the carrier and lets both ends agree on another one, as `Opening` would (RTT-31).
fn resume(pair: &mut Pair, next_ticket: u8) -> Result<(), Code> {
    pair.cut();
    pair.resume(ResumeTicket([next_ticket; 32]))
}

fn received(pair: &mut Pair, side: usize, channel: ChannelId) -> Vec<Vec<u8>> {
    pair.settle();
    pair.receive_all(side, channel)
}

#[test]
fn what_was_on_its_way_is_sent_again_once_and_in_order() {
    let mut pair = Pair::resumable(&Options::default());
    let channel = pair.channel(0, Kind::Knowledge, Policy::Block);
    pair.send(0, channel, b"arrives");
    assert_eq!(received(&mut pair, 1, channel), [b"arrives"]);
    pair.send(0, channel, b"is cut");
    pair.transmit();
    pair.cut();
    assert_eq!((pair.session(0).state(), pair.session(1).state()), (State::Suspended, State::Suspended));
    assert_eq!(pair.session(0).suspension(), Some("connection_lost"));
    pair.send(0, channel, b"waits");
    pair.resume(ResumeTicket([9; 32])).unwrap();
    assert_eq!(received(&mut pair, 1, channel), [&b"is cut"[..], b"waits"]);
    assert_eq!(pair.session(0).stats().resent, 1);
    assert_eq!((pair.session(0).epoch(), pair.session(1).epoch()), (1, 1));
    for side in 0..2 {
        let told = pair.events(side);
        let order: Vec<&Event> =
            told.iter().filter(|event| matches!(event, Event::Suspended | Event::Resumed)).collect();
        assert_eq!(order, [&Event::Suspended, &Event::Resumed]);
    }
}

#[test]
fn what_arrived_and_was_not_acknowledged_is_not_delivered_twice() {
    let mut pair = Pair::resumable(&Options::default());
    let channel = pair.channel(0, Kind::Knowledge, Policy::Block);
    pair.send(0, channel, b"one");
    pair.transmit();
    pair.deliver();
    resume(&mut pair, 9).unwrap();
    assert_eq!(pair.session(0).channel_stats(channel).unwrap().acknowledged, 1, "by the cursor");
    assert_eq!(received(&mut pair, 1, channel), [b"one"]);
    assert_eq!(pair.session(0).stats().resent, 0);
}

#[test]
fn a_message_in_fragments_survives_a_cut_between_them() {
    let mut pair = Pair::resumable(&Options::default());
    let channel = pair.channel(0, Kind::Knowledge, Policy::Block);
    let message: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    pair.send(0, channel, &message);
    let mut record = Vec::new();
    let now = pair.now;
    assert!(pair.session(0).transmit(&mut record));
    pair.session(1).receive_plaintext(&record, now).unwrap();
    record.clear();
    assert!(pair.session(0).transmit(&mut record), "and this one is lost with the carrier");
    resume(&mut pair, 9).unwrap();
    assert_eq!(received(&mut pair, 1, channel), [message]);
}

#[test]
fn credit_that_was_lost_with_the_carrier_is_granted_again() {
    let mut options = Options::default();
    options.limits.kinds[2].window.messages = 2;
    let mut pair = Pair::resumable(&options);
    let channel = pair.channel(0, Kind::Knowledge, Policy::Block);
    pair.send(0, channel, b"1");
    pair.send(0, channel, b"2");
    assert_eq!(received(&mut pair, 1, channel).len(), 2);
    pair.transmit();
    resume(&mut pair, 9).unwrap();
    pair.settle();
    pair.send(0, channel, b"3");
    assert_eq!(received(&mut pair, 1, channel), [b"3"]);
}

#[test]
fn a_channel_reset_while_it_was_on_its_way_leaves_no_gap() {
    let mut pair = Pair::resumable(&Options::default());
    let channel = pair.channel(0, Kind::Knowledge, Policy::Block);
    let other = pair.channel(0, Kind::Knowledge, Policy::Block);
    pair.send(0, channel, b"never");
    pair.send(0, other, b"still");
    pair.transmit();
    pair.cut();
    pair.session(0).reset_channel(channel, Code::CANCELLED);
    pair.resume(ResumeTicket([9; 32])).unwrap();
    assert_eq!(received(&mut pair, 1, other), [b"still"]);
    assert_eq!(pair.nothing(1, channel), Nothing::Reset { code: Code::CANCELLED, by_peer: true });
}

#[test]
fn tickets_are_spent_once_and_the_next_one_proves_receipt() {
    let mut pair = Pair::resumable(&Options::default());
    pair.cut();
    let now = pair.now;
    let first = pair.session(0).ask_resume().unwrap();
    let granted = pair.session(1).grant_resume(&first, ResumeTicket([1; 32]), now).unwrap();
    assert_eq!(granted.epoch, 1);
    // RESUMED was lost: the same ticket again, with a higher epoch and no other (RTT-32).
    assert_eq!(pair.session(1).grant_resume(&first, ResumeTicket([2; 32]), now), Err(Code::STALE_EPOCH));
    let again = pair.session(0).ask_resume().unwrap();
    assert_eq!((again.ticket, again.epoch), (first.ticket, 2));
    let granted = pair.session(1).grant_resume(&again, ResumeTicket([3; 32]), now).unwrap();
    // CONFIRM was lost: the ticket that came with RESUMED proves as much, and spends the first.
    let mut third = pair.session(0).ask_resume().unwrap();
    third.ticket = granted.ticket;
    pair.session(1).grant_resume(&third, ResumeTicket([4; 32]), now).unwrap();
    let mut spent = pair.session(0).ask_resume().unwrap();
    spent.ticket = first.ticket;
    assert_eq!(pair.session(1).grant_resume(&spent, ResumeTicket([5; 32]), now), Err(Code::TICKET_SPENT));
    spent.ticket = ResumeTicket([1; 32]);
    assert_eq!(pair.session(1).grant_resume(&spent, ResumeTicket([5; 32]), now), Err(Code::TICKET_SPENT));
}

/// RTT-25, RTT-34: after the window both ends report exactly what is not acknowledged.
/// RTT-32: whether CONFIRM arrived, its sender cannot know once it gave up the carrier.
#[test]
fn a_carrier_given_up_after_confirm_costs_nothing() {
    for confirmed in [false, true] {
        let mut pair = Pair::resumable(&Options::default());
        pair.cut();
        let now = pair.now;
        let first = pair.session(0).ask_resume().unwrap();
        let granted = pair.session(1).grant_resume(&first, ResumeTicket([1; 32]), now).unwrap();
        let session_id = first.session_id;
        let resumed = |cursor| Resumed { session_id, epoch: granted.epoch, cursor, ticket: granted.ticket };
        pair.session(0).learn_ticket(&resumed(granted.cursor));
        if confirmed {
            pair.session(1).resume(&resumed(first.cursor), now).unwrap();
        }
        let second = pair.session(0).ask_resume().unwrap();
        assert_eq!((second.ticket, second.epoch), (granted.ticket, 2));
        pair.session(1).grant_resume(&second, ResumeTicket([2; 32]), now).unwrap();
        // What an earlier carrier granted is of no use any more.
        pair.session(0).learn_ticket(&resumed(granted.cursor));
        pair.session(0).ask_resume().unwrap();
        pair.session(0).learn_ticket(&Resumed { epoch: 2, ticket: ResumeTicket([8; 32]), ..resumed(0) });
        assert_eq!(pair.session(0).ask_resume().unwrap().ticket, granted.ticket);
    }
}

#[test]
fn rtt_resume_refused_reports_loss() {
    let mut pair = Pair::resumable(&Options::default());
    let channel = pair.channel(0, Kind::Knowledge, Policy::Block);
    pair.send(0, channel, b"arrives");
    pair.settle();
    pair.advance(30 * MILLISECOND);
    pair.send(0, channel, b"written");
    pair.transmit();
    pair.cut();
    pair.send(0, channel, b"queued");
    let (now, request) = (pair.now + WINDOW, pair.session(0).ask_resume().unwrap());
    assert_eq!(pair.session(1).grant_resume(&request, ResumeTicket([1; 32]), now), Err(Code::TICKET_EXPIRED));
    pair.advance(WINDOW);
    for side in 0..2 {
        let closed = pair.session(side).closed().cloned().unwrap();
        assert_eq!((closed.reason, closed.loss), ("lost", Some("expired")));
    }
    let lost: Vec<_> = pair
        .session(0)
        .take_lost()
        .into_iter()
        .map(|lost| (lost.message.message, lost.message.unsent))
        .collect();
    assert_eq!(lost, [(Bytes::from_static(b"written"), false), (Bytes::from_static(b"queued"), true)]);
    assert_eq!(
        pair.session(1).grant_resume(&request, ResumeTicket([1; 32]), now),
        Err(Code::UNKNOWN_SESSION)
    );
}

#[test]
fn an_impossible_cursor_ends_the_session() {
    let mut pair = Pair::resumable(&Options::default());
    pair.cut();
    let now = pair.now;
    let mut request = pair.session(0).ask_resume().unwrap();
    request.cursor = 1 << 40;
    assert_eq!(pair.session(1).grant_resume(&request, ResumeTicket([1; 32]), now), Err(Code::BAD_CURSOR));
    let closed = pair.session(1).closed().cloned().unwrap();
    assert_eq!((closed.reason, closed.loss), ("lost", Some("cursor_invalid")));
}

#[test]
fn a_carrier_that_still_works_can_be_replaced() {
    let mut pair = Pair::resumable(&Options::default());
    let channel = pair.channel(0, Kind::Knowledge, Policy::Block);
    for number in 0..10u8 {
        pair.send(0, channel, &[number]);
        if number % 3 == 0 {
            pair.transmit();
        }
        if number == 5 {
            // No cut: the acceptor fences the carrier of before when it grants the resume.
            pair.forget_in_transit();
            pair.resume(ResumeTicket([9; 32])).unwrap();
        }
    }
    let numbers: Vec<u8> = received(&mut pair, 1, channel).into_iter().map(|message| message[0]).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<u8>>());
}

#[test]
fn a_suspended_session_ends_at_once_and_reports() {
    let mut pair = Pair::resumable(&Options::default());
    let channel = pair.channel(0, Kind::Knowledge, Policy::Block);
    pair.cut();
    pair.send(0, channel, b"queued");
    let now = pair.now;
    pair.session(0).shutdown(now);
    assert_eq!(pair.session(0).closed().unwrap().reason, "local");
    assert!(!pair.session(0).wants_write());
    assert_eq!(pair.session(0).take_lost().len(), 1);
    assert_eq!(pair.session(0).ask_resume(), None);
}

#[test]
fn after_the_peers_shutdown_no_carrier_comes() {
    let mut pair = Pair::resumable(&Options::default());
    let now = pair.now;
    pair.session(0).shutdown(now);
    pair.settle();
    assert_eq!(pair.session(1).state(), State::Open);
    pair.cut();
    assert_eq!(pair.session(0).closed().unwrap().reason, "local");
    assert_eq!(pair.session(1).closed().unwrap().loss, Some("connection_lost"));
}

#[test]
fn who_waits_for_room_waits_on_while_suspended() {
    let mut options = Options::default();
    options.limits.kinds[2].window.messages = 1;
    let mut pair = Pair::resumable(&options);
    let channel = pair.channel(0, Kind::Knowledge, Policy::Block);
    pair.cut();
    pair.send(0, channel, b"1");
    let offered = pair.session(0).send(channel, vec![Bytes::from_static(b"2")], true, 77);
    assert_eq!(offered, Ok(Offered::Waiting));
    pair.resume(ResumeTicket([9; 32])).unwrap();
    assert_eq!(received(&mut pair, 1, channel), [b"1"]);
    assert_eq!(received(&mut pair, 1, channel), [b"2"], "with the credit of the first");
    assert!(pair.events(0).contains(&Event::SendDone(77)));
}

/// RTT-29, RTT-48: what is acknowledged on the old carrier overtakes a request that was made before, and does not make its
/// cursor an impossible one.
#[test]
fn a_replacement_is_granted_though_the_old_carrier_went_on() {
    let mut pair = Pair::resumable(&Options::default());
    let channel = pair.channel(1, Kind::Knowledge, Policy::Block);
    pair.advance(30 * MILLISECOND);
    let request = pair.session(0).ask_resume().unwrap();
    pair.send(1, channel, b"meanwhile");
    pair.advance(30 * MILLISECOND);
    assert_eq!(pair.receive_all(0, channel), [b"meanwhile"]);
    assert_eq!(pair.session(1).channel_stats(channel).unwrap().acknowledged, 1);
    pair.send(1, channel, b"on its way");
    pair.transmit();
    let now = pair.now;
    let grant = pair.session(1).grant_resume(&request, ResumeTicket([9; 32]), now).unwrap();
    pair.forget_in_transit();
    let resumed =
        |cursor| Resumed { session_id: request.session_id, epoch: grant.epoch, cursor, ticket: grant.ticket };
    pair.session(0).resume(&resumed(grant.cursor), now).unwrap();
    pair.session(1).resume(&resumed(request.cursor), now).unwrap();
    assert_eq!(received(&mut pair, 0, channel), [b"on its way"]);
}

/// After SHUTDOWN nobody wants another carrier: a request from before is refused, and the drain goes on (RTT-13, RTT-32).
#[test]
fn a_replacement_that_was_asked_for_before_shutdown_disturbs_nothing() {
    let mut pair = Pair::resumable(&Options::default());
    let request = pair.session(0).ask_resume().unwrap();
    let now = pair.now;
    pair.session(0).shutdown(now);
    pair.settle();
    let granted = pair.session(1).grant_resume(&request, ResumeTicket([9; 32]), now);
    assert_eq!((granted, pair.session(1).state()), (Err(Code::UNKNOWN_SESSION), State::Open));
    pair.send(1, CHANNEL_ZERO, b"still heard");
    assert_eq!(received(&mut pair, 0, CHANNEL_ZERO), [b"still heard"]);
    pair.session(1).shutdown(now);
    pair.advance(30 * MILLISECOND);
    assert_eq!([0, 1].map(|side| pair.session(side).closed().unwrap().reason), ["local", "local"]);
}

/// RTT-10: not in what holds one, either.
#[test]
fn a_ticket_shows_nothing() {
    let mut pair = Pair::resumable(&Options::default());
    pair.cut();
    let request = pair.session(0).ask_resume().unwrap();
    let now = pair.now;
    let granted = pair.session(1).grant_resume(&request, ResumeTicket([0xa7; 32]), now).unwrap();
    let shown = format!("{request:?} {granted:?} {:?}", pair.session(1));
    assert!(shown.contains("epoch: 1"));
    // The tickets of 8 and of 167, as a list of numbers or in hexadecimal.
    for secret in ["8, 8, 8", "167, 167", "0808", "a7a7"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

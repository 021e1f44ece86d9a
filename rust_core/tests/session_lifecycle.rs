//! The life of a session: its states, its end, its clock (sections 4, 8 and 11).

mod session_pair;

use session_pair::*;
use web4_core::rtt::{Kind, Options, Policy, State};

#[test]
fn rtt_shutdown_drains() {
    for seed in 0..50 {
        let wire = Wire { delay: 3_000_000, piece: 1 + (seed as usize * 97) % 5000 };
        let mut pair = Pair::with(&Options::default(), &Options::default(), wire, seed);
        let id = pair.channel(INITIATOR, Kind::Knowledge, Policy::Block);
        for number in 0..200u32 {
            pair.send(INITIATOR, id, &number.to_be_bytes());
        }
        let now = pair.now;
        pair.session(INITIATOR).shutdown(now);
        pair.session(ACCEPTOR).shutdown(now);
        pair.advance(SECOND);
        assert_eq!(pair.session(INITIATOR).state(), State::Closed);
        assert_eq!(pair.session(ACCEPTOR).state(), State::Closed);
        assert_eq!(pair.receive_all(ACCEPTOR, id).len(), 200);
        assert!(pair.session(INITIATOR).take_lost().is_empty());
    }
}

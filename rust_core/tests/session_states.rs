//! The state table: every state with every event, with and without resume (section 4, RTT-11, RTT-12).

mod session_pair;

use bytes::Bytes;
use session_pair::*;
use web4_core::rtt::frame::{Frame, Numbered};
use web4_core::rtt::{
    CHANNEL_ZERO, Code, Event, Kind, MILLISECOND, Offered, OpenError, Options, Policy, ResumeRequest,
    ResumeTicket, Resumed, SendError, State,
};

/// Everything that can happen to a session once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happens {
    Shutdown,
    Abort,
    CarrierLost,
    PeerRestarted,
    Deceived,
    PeerShutdown,
    PeerClose,
    Violation,
    Silence,
    DrainTimeout,
    Drained,
    Message,
    ResumeAsked,
    ResumeConfirmed,
    WindowOver,
}

const HAPPENS: [Happens; 15] = [
    Happens::Shutdown,
    Happens::Abort,
    Happens::CarrierLost,
    Happens::PeerRestarted,
    Happens::Deceived,
    Happens::PeerShutdown,
    Happens::PeerClose,
    Happens::Violation,
    Happens::Silence,
    Happens::DrainTimeout,
    Happens::Drained,
    Happens::Message,
    Happens::ResumeAsked,
    Happens::ResumeConfirmed,
    Happens::WindowOver,
];

const WINDOW_MS: u32 = 60_000;

/// A session that accepted, and may be resumed.
fn resumable(options: &Options) -> Scripted {
    let mut peer = Scripted::new(options);
    let agreement = web4_core::rtt::Agreement { resume_window_ms: WINDOW_MS, ..*peer.session.agreement() };
    peer.session = web4_core::rtt::Session::new([7; 16], agreement, options, 0);
    peer.session.allow_resume(ResumeTicket([8; 32]));
    peer
}

/// The peer asks for the next epoch that was never granted, with the cursor of everything written.
fn ask(peer: &mut Scripted, ticket: u8) -> Result<Resumed, Code> {
    let session_id = peer.session.id();
    for epoch in peer.session.epoch() + 1.. {
        let request =
            ResumeRequest { session_id, ticket: ResumeTicket([ticket; 32]), epoch, cursor: peer.highest };
        match peer.session.grant_resume(&request, ResumeTicket([9; 32]), peer.now) {
            Ok(grant) => {
                return Ok(Resumed { session_id, epoch, cursor: peer.highest, ticket: grant.ticket });
            }
            Err(Code::STALE_EPOCH) => {}
            Err(code) => return Err(code),
        }
    }
    unreachable!("epochs do not end")
}

fn happen(peer: &mut Scripted, event: Happens) {
    let before = peer.session.state();
    let hears = matches!(before, State::Open | State::Closing);
    match event {
        Happens::Shutdown => peer.session.shutdown(peer.now),
        Happens::Abort => peer.session.abort(Code::APPLICATION, "enough"),
        Happens::CarrierLost => peer.session.carrier_lost(peer.now),
        Happens::PeerRestarted => peer.session.lose("peer_restarted", Code::UNKNOWN_SESSION),
        Happens::Deceived => peer.session.lose("auth_failed", Code::UNKNOWN_SESSION),
        Happens::PeerShutdown => {
            peer.numbered(Numbered::Shutdown { code: Code::NORMAL }).unwrap();
        }
        Happens::PeerClose => peer.frame(Frame::Close { code: Code::APPLICATION, reason: "bye" }).unwrap(),
        Happens::Violation => assert_eq!(peer.frame(Frame::Ack { cursor: u64::MAX }).is_err(), hears),
        // Silence for three intervals; the drain timeout is longer here.
        Happens::Silence => peer.pass(3 * SECOND),
        Happens::DrainTimeout => {
            for _ in 0..4 {
                peer.pass(SECOND);
                peer.frame(Frame::Pong { token: [0; 8] }).unwrap();
            }
        }
        Happens::Drained => {
            peer.wrote();
            peer.ack_all().unwrap();
        }
        Happens::Message => {
            let zero = peer.session.send(CHANNEL_ZERO, vec![Bytes::from_static(b"hi")], true, 9);
            let takes = matches!(before, State::Open | State::Suspended);
            assert_eq!(zero, if takes { Ok(Offered::AllAccepted) } else { Err(SendError::SessionClosed) });
        }
        // Refused or granted, and then the new carrier fails before CONFIRM.
        Happens::ResumeAsked => drop(ask(peer, 8)),
        Happens::ResumeConfirmed => {
            if let Ok(resumed) = ask(peer, 8) {
                peer.session.resume(&resumed, peer.now).unwrap();
            }
        }
        Happens::WindowOver => {
            for _ in 0..=WINDOW_MS / 1_000 {
                peer.pass(SECOND);
                peer.frame(Frame::Pong { token: [0; 8] }).unwrap();
            }
        }
    }
}

/// What section 4 says: the reason if it is closed then, and else its state.
fn expected(before: State, event: Happens, resume: bool, peer_shutdown: bool) -> Result<State, &'static str> {
    // After the peer's SHUTDOWN no carrier will come.
    let goes_on = resume && !peer_shutdown;
    match (before, event) {
        (State::Closed, _) => unreachable!("that one stays as it is"),
        (_, Happens::Abort) => Err("local"),
        (_, Happens::PeerRestarted) => Err("lost"),
        (_, Happens::Deceived) => Err("auth_failed"),
        (State::Suspended, Happens::Shutdown) => Err("local"),
        (State::Suspended, Happens::WindowOver) => Err("lost"),
        (State::Suspended, Happens::ResumeConfirmed) => Ok(State::Open),
        (State::Suspended, _) => Ok(State::Suspended),
        (_, Happens::PeerClose) => Err("peer"),
        (_, Happens::Violation) => Err("protocol_error"),
        (State::Open, Happens::Shutdown) => Ok(State::Closing),
        (State::Open, Happens::CarrierLost | Happens::Silence | Happens::ResumeAsked) if goes_on => {
            Ok(State::Suspended)
        }
        (State::Open, Happens::CarrierLost) => Err("connection_lost"),
        (State::Open, Happens::Silence) => Err("heartbeat_timeout"),
        (State::Closing, Happens::CarrierLost | Happens::Silence) => Err("local"),
        (State::Closing, Happens::DrainTimeout | Happens::WindowOver) => Err("local"),
        (State::Closing, Happens::Drained) if peer_shutdown => Err("local"),
        (state, _) => Ok(state),
    }
}

/// Whether a session that closes so has somebody to tell it to.
fn says_close(before: State, event: Happens) -> bool {
    let silent = [Happens::CarrierLost, Happens::PeerClose, Happens::PeerRestarted, Happens::Deceived];
    before != State::Suspended && !silent.contains(&event)
}

fn check(name: &str, steps: &[Happens], event: Happens, resume: bool) {
    let options = Options { heartbeat: SECOND, drain_timeout: 4 * SECOND, ..Options::default() };
    let mut peer = if resume { resumable(&options) } else { Scripted::new(&options) };
    for step in steps {
        happen(&mut peer, *step);
    }
    let before = (peer.session.state(), peer.session.closed().cloned());
    let peer_shutdown = steps.contains(&Happens::PeerShutdown);
    peer.events();
    // The second SHUTDOWN of a peer is a violation; that is in the table of violations.
    if event == Happens::PeerShutdown && peer_shutdown {
        return;
    }
    happen(&mut peer, event);
    let name = format!("{name}, {event:?}, resume {resume}");
    let (state, reason) = (peer.session.state(), peer.session.closed().map(|closed| closed.reason));
    if before.0 == State::Closed {
        assert_eq!(peer.session.closed(), before.1.as_ref(), "{name}");
    } else {
        let outcome = expected(before.0, event, resume, peer_shutdown);
        assert_eq!(
            (state, reason),
            outcome.map_or_else(|why| (State::Closed, Some(why)), |state| (state, None)),
            "{name}"
        );
    }
    // `Closed` comes exactly once, last, and nothing is due after it (RTT-11, RTT-12).
    let closed_now = before.0 != State::Closed && state == State::Closed;
    let events = peer.events();
    assert_eq!(
        events.iter().filter(|event| **event == Event::Closed).count(),
        usize::from(closed_now),
        "{name}"
    );
    let count = |wanted: Event| events.iter().filter(|event| **event == wanted).count();
    let suspends = state == State::Suspended && before.0 == State::Open
        || before.0 == State::Open
            && state == State::Open
            && event == Happens::ResumeConfirmed
            && peer.session.epoch() > 0;
    assert_eq!(count(Event::Suspended), usize::from(suspends), "{name}");
    let resumes = event == Happens::ResumeConfirmed && state == State::Open && peer.session.epoch() > 0;
    assert_eq!(count(Event::Resumed), usize::from(resumes), "{name}");
    assert_eq!(peer.session.suspension().is_some(), state == State::Suspended, "{name}");
    if closed_now {
        assert_eq!(events.last(), Some(&Event::Closed), "{name}");
        let closes = peer.wrote().iter().any(|frame| matches!(frame, Wrote::Close { .. }));
        assert_eq!(closes, says_close(before.0, event), "{name}");
    }
    if state == State::Closed {
        check_closed(&mut peer, closed_now);
    }
}

fn check_closed(peer: &mut Scripted, closed_now: bool) {
    assert_eq!(peer.session.deadline(), None);
    if closed_now {
        assert!(!peer.session.wants_write());
        assert_eq!(peer.wrote(), []);
    }
    assert_eq!(ask(peer, 8), Err(Code::UNKNOWN_SESSION));
    let message = vec![Bytes::from_static(b"late")];
    assert_eq!(peer.session.send(CHANNEL_ZERO, message, true, 1), Err(SendError::SessionClosed));
    let opened = peer.session.open_channel(Kind::State, "late", Policy::Error);
    assert_eq!(opened, Err(OpenError::SessionClosed));
}

/// rtt_state_table: every state with every event. What the table does not list changes nothing.
#[test]
fn rtt_state_table() {
    let states: [(&str, &[Happens]); 6] = [
        ("open", &[]),
        ("open, the peer shut down", &[Happens::PeerShutdown]),
        ("closing", &[Happens::Shutdown]),
        ("closing, the peer shut down", &[Happens::Message, Happens::Shutdown, Happens::PeerShutdown]),
        ("closed by us", &[Happens::Abort]),
        ("closed by the peer", &[Happens::PeerClose]),
    ];
    let resumed: [(&str, &[Happens]); 6] = [
        ("suspended", &[Happens::CarrierLost]),
        ("suspended by silence", &[Happens::Silence]),
        ("suspended by a resume that is not confirmed", &[Happens::ResumeAsked]),
        ("suspended, with messages", &[Happens::Message, Happens::CarrierLost, Happens::Message]),
        ("lost", &[Happens::CarrierLost, Happens::WindowOver]),
        ("deceived", &[Happens::CarrierLost, Happens::Deceived]),
    ];
    for event in HAPPENS {
        for (name, steps) in states {
            check(name, steps, event, false);
            check(name, steps, event, true);
        }
        for (name, steps) in resumed {
            check(name, steps, event, true);
        }
    }
}

/// A carrier that opens for a session which is over, or has a later one, changes nothing (RTT-12, RTT-50).
#[test]
fn a_late_confirmation_changes_nothing() {
    let mut peer = resumable(&Options::default());
    peer.session.carrier_lost(peer.now);
    let resumed = ask(&mut peer, 8).unwrap();
    peer.session.resume(&resumed, peer.now).unwrap();
    peer.events();
    assert_eq!(peer.session.resume(&resumed, peer.now), Err(Code::STALE_EPOCH));
    assert_eq!((peer.session.state(), peer.events()), (State::Open, vec![]));
    peer.pass(MILLISECOND);
    peer.session.abort(Code::NORMAL, "");
    peer.events();
    let later = Resumed { epoch: 9, ..resumed };
    assert_eq!(peer.session.resume(&later, peer.now), Err(Code::STALE_EPOCH));
    assert_eq!((peer.session.state(), peer.events()), (State::Closed, vec![]));
}

//! Two ends and the carriers between them, opened frame by frame as production opens them, that break where a test says.

use web4_core::rtt::opening_frame::BootId;
use web4_core::rtt::{ChannelId, Code, Event, Nanos, Opening, OpeningStep, Options, ResumeTicket, Session};

pub const BOOTS: [BootId; 2] = [[1; 16], [2; 16]];

/// One end, and where its bytes wait to be carried.
#[derive(Default)]
pub struct End {
    pub opening: Option<Opening>,
    pub session: Option<Session>,
    pub out: Vec<u8>,
    pub events: Vec<Event>,
}

/// Two ends and the carrier between them: 0 dials.
pub struct Two {
    pub options: Options,
    pub now: Nanos,
    pub ends: [End; 2],
    /// Bytes that this carrier has carried, by who wrote them.
    pub carried: [usize; 2],
    /// It breaks when so many bytes of that end have been carried.
    pub breaks: Option<(usize, usize)>,
    pub broken: bool,
    ticket: u8,
    pub refused: Option<Code>,
}

impl Two {
    pub fn new(options: Options) -> Two {
        Two {
            options,
            now: 0,
            ends: Default::default(),
            carried: [0; 2],
            breaks: None,
            broken: true,
            ticket: 0,
            refused: None,
        }
    }

    pub fn session(&mut self, side: usize) -> &mut Session {
        self.ends[side].session.as_mut().expect("it has opened")
    }

    /// A new carrier, that breaks where it is told to.
    pub fn dial(&mut self, breaks: Option<(usize, usize)>) {
        let request = self.ends[0].session.as_mut().and_then(Session::ask_resume);
        for end in &mut self.ends {
            end.out.clear();
        }
        let out = &mut self.ends[0].out;
        let dialling = match request {
            Some(request) => Opening::resume(&self.options, BOOTS[0], request, out),
            None => Opening::initiate(&self.options, BOOTS[0], out),
        };
        self.ends[0].opening = Some(dialling);
        self.ends[1].opening = Some(Opening::accept(&self.options, BOOTS[1]));
        (self.carried, self.breaks, self.broken) = ([0; 2], breaks, false);
    }

    pub fn cut(&mut self) {
        self.broken = true;
        for end in &mut self.ends {
            end.opening = None;
            if let Some(session) = &mut end.session {
                session.carrier_lost(self.now);
            }
        }
    }

    /// Carries what there is, until the carrier breaks or there is nothing more at this instant.
    pub fn carry(&mut self) {
        while !self.broken && (self.carry_from(0) | self.carry_from(1)) {}
    }

    fn carry_from(&mut self, side: usize) -> bool {
        let End { session, out, opening, .. } = &mut self.ends[side];
        if let Some(session) = session.as_mut().filter(|_| opening.is_none()) {
            while session.transmit(out) {}
        }
        let mut bytes = std::mem::take(out);
        let mut breaks = false;
        if let Some((from, at)) = self.breaks.filter(|(from, _)| *from == side) {
            breaks = self.carried[from] + bytes.len() >= at;
            bytes.truncate(at.saturating_sub(self.carried[from]));
        }
        self.carried[side] += bytes.len();
        if !self.broken && !bytes.is_empty() {
            self.arrive(1 - side, &bytes);
        }
        if breaks && !self.broken {
            self.cut();
        }
        !bytes.is_empty()
    }

    fn arrive(&mut self, side: usize, bytes: &[u8]) {
        let now = self.now;
        let Some(mut opening) = self.ends[side].opening.take() else {
            if let Some(session) = &mut self.ends[side].session {
                session.receive_plaintext(bytes, now).expect("this build breaks no rule");
            }
            return;
        };
        let step = opening.receive(bytes, &mut self.ends[side].out).expect("a sound opening");
        self.ticket = self.ticket.wrapping_add(1);
        let ticket = ResumeTicket([self.ticket; 32]);
        match step {
            OpeningStep::Wait => {}
            OpeningStep::Asked { .. } => opening.answer([7; 16], ticket, &mut self.ends[side].out),
            OpeningStep::AskedResume(request) => {
                let session = self.ends[side].session.as_mut();
                let granted = session.map(|session| session.grant_resume(&request, ticket, now));
                let out = &mut self.ends[side].out;
                match granted.unwrap_or(Err(Code::UNKNOWN_SESSION)) {
                    Ok(grant) => opening.answer_resume(grant, out),
                    Err(code) => {
                        opening.refuse(code, 0, out);
                    }
                }
            }
            OpeningStep::Open(opened) => {
                let mut session = Session::new(opened.session_id, opened.agreement, &self.options, now);
                session.allow_resume(opened.ticket);
                session.receive_plaintext(&opened.rest, now).unwrap();
                self.ends[side].session = Some(session);
                return;
            }
            OpeningStep::Resumed(here) => {
                let session = self.session(side);
                session.resume(&here.resumed, now).expect("what was granted");
                session.receive_plaintext(&here.rest, now).unwrap();
                return;
            }
            OpeningStep::Refused { code, .. } => {
                self.refused = Some(code);
                self.cut();
                return;
            }
        }
        self.ends[side].opening = Some(opening);
    }

    /// Lets time pass, by what the sessions wait for.
    pub fn pass(&mut self, duration: Nanos) {
        let until = self.now + duration;
        self.carry();
        loop {
            let sessions = self.ends.iter().filter_map(|end| end.session.as_ref());
            let Some(next) = sessions.filter_map(Session::deadline).min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(next);
            for side in 0..2 {
                let now = self.now;
                if let Some(session) = &mut self.ends[side].session
                    && session.deadline().is_some_and(|at| at <= now)
                {
                    session.handle_timeout(now);
                }
            }
            self.carry();
        }
        self.now = until;
    }

    pub fn events(&mut self, side: usize) -> Vec<Event> {
        let End { session, events, .. } = &mut self.ends[side];
        events.extend(session.iter_mut().flat_map(|session| std::iter::from_fn(|| session.poll_event())));
        std::mem::take(events)
    }

    pub fn receive_all(&mut self, side: usize, channel: ChannelId) -> Vec<Vec<u8>> {
        let Some(session) = &mut self.ends[side].session else { return vec![] };
        std::iter::from_fn(|| session.receive(channel).ok()).collect()
    }
}

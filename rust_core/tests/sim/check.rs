//! After every step: what a session says of itself, against what is known of it.

use web4_core::rtt::{ChannelId, Event, Lost, Nanos, Session, State, Window};

use super::model::{Channel, Conversation, Lane, Phase, Wrong};
use super::world::{End, World};

impl Conversation {
    /// A side has come to know a channel.
    pub fn introduce(&mut self, id: ChannelId, side: usize) {
        if let Some(channel) = self.channel(id) {
            channel.known[side] = true;
            return;
        }
        let mut known = [false; 2];
        known[side] = true;
        let kind = web4_core::rtt::Kind::Control;
        self.channels.push(Channel {
            id,
            kind,
            lanes: Default::default(),
            known,
            left: [false; 2],
            gone: [false; 2],
        });
    }
}

impl World {
    /// Looks at an end after something happened to it.
    pub fn observe(&mut self, end: usize) -> Result<(), Wrong> {
        let now = self.clock(self.ends[end].node);
        let other = self.conversations[self.ends[end].conversation].ends[1 - self.ends[end].side];
        let other = other.map(|other| self.ends[other].session.state());
        let World { ends, nodes, conversations, trace, .. } = self;
        let it = &mut ends[end];
        let conversation = &mut conversations[it.conversation];
        it.peer_restarts |= nodes[conversation.nodes[1 - it.side]].restarted;
        let outcome = losses(it, conversation)
            .and_then(|()| lanes(it, conversation))
            .and_then(|()| {
                while let Some(event) = it.session.poll_event() {
                    trace.note(number(event) << 16 | end as u64);
                    trace.say(|| format!("end {end}: {event:?}"));
                    happened(it, conversation, event, now, other)?;
                }
                Ok(())
            })
            .and_then(|()| books(it, conversation));
        outcome.map_err(|wrong| {
            format!("end {end} (side {} of {}): {wrong}", self.ends[end].side, self.ends[end].conversation)
        })?;
        self.arrivals(end)
    }

    /// Channels that the peer opened get a policy, as an application would choose one.
    fn arrivals(&mut self, end: usize) -> Result<(), Wrong> {
        while let Some(id) = self.ends[end].opened.pop() {
            let policy = self.policy(self.ends[end].session.channel_info(id).map(|(kind, ..)| kind));
            self.ends[end].session.set_policy(id, policy).ok();
        }
        Ok(())
    }
}

/// What was reported lost is all that was not acknowledged, and nothing else (RTT-25). Of what resets lost, the oldest may
/// be left out and counted instead.
fn losses(end: &mut End, conversation: &mut Conversation) -> Result<(), Wrong> {
    let mut unlisted = end.session.stats().lost_unlisted - end.unlisted;
    let closed = end.session.state() == State::Closed && end.phase != Phase::Closed;
    let lost = end.session.take_lost();
    if lost.is_empty() && unlisted == 0 && !closed {
        return Ok(());
    }
    end.unlisted += unlisted;
    let mut named = 0;
    // A channel that is gone cannot tell how much of it was acknowledged before: it comes last.
    for gone in [false, true] {
        for channel in &mut conversation.channels {
            let stats = end.session.channel_stats(channel.id);
            if stats.is_none() != gone {
                continue;
            }
            let these: Vec<&Lost> = lost.iter().filter(|lost| lost.channel == channel.id).collect();
            if these.iter().any(|lost| lost.kind != channel.kind) {
                return Err("lost under another kind".into());
            }
            let lane = &mut channel.lanes[end.side];
            let left = stats
                .map_or(0, |stats| stats.queued + stats.in_flight + stats.acknowledged - lane.acknowledged);
            let missing = (lane.unacknowledged.len() as u64).saturating_sub(left + these.len() as u64);
            let omitted = missing.min(unlisted);
            if these.is_empty() && omitted == 0 {
                continue;
            }
            named += these.len();
            unlisted -= omitted;
            lane.lose(&these, omitted).map_err(|wrong| format!("channel {}: {wrong}", channel.id))?;
        }
    }
    match (unlisted, named == lost.len()) {
        (0, true) => Ok(()),
        _ => Err(format!("{unlisted} lost and not listed, {named} of {} known", lost.len())),
    }
}

/// What is acknowledged, and what arrived.
fn lanes(end: &mut End, conversation: &mut Conversation) -> Result<(), Wrong> {
    for channel in conversation.channels.iter_mut().filter(|channel| !channel.gone[end.side]) {
        let stats = end.session.channel_stats(channel.id);
        channel.gone[end.side] = stats.is_none() && channel.known[end.side];
        if let Some(stats) = stats {
            let theirs = &mut channel.lanes[1 - end.side];
            theirs.received = theirs.received.max(stats.received);
            // A channel that was refused is nobody's: what arrives for it is thrown away.
            theirs.loose |= !channel.known[end.side] && end.session.channel_reset(channel.id).is_some();
        }
        let ours = &mut channel.lanes[end.side];
        let acknowledged = match stats {
            Some(stats) => stats.acknowledged,
            // It is gone, so everything was.
            None => ours.acknowledged + ours.unacknowledged.len() as u64,
        };
        let more = acknowledged.checked_sub(ours.acknowledged).ok_or("fewer are acknowledged than were")?;
        if more > 0 {
            ours.acknowledge(more).map_err(|wrong| format!("channel {}: {wrong}", channel.id))?;
            // One that the other end never came to know was refused and reset before anybody could look.
            if channel.known[1 - end.side] && !ours.loose && ours.acknowledged > ours.received {
                return Err(format!("{} acknowledged of {} received", ours.acknowledged, ours.received));
            }
        }
    }
    Ok(())
}

fn number(event: Event) -> u64 {
    match event {
        Event::ChannelOpened(id) => u64::from(id) << 4,
        Event::Readable(id) => u64::from(id) << 4 | 1,
        Event::SendDone(ticket) => ticket << 4 | 2,
        Event::WaitFailed(ticket) => ticket << 4 | 3,
        Event::FlushDone(ticket) => ticket << 4 | 4,
        Event::PeerShutdown => 5,
        Event::HeartbeatTimeout => 6,
        Event::Suspended => 7,
        Event::Resumed => 8,
        Event::Rekeyed => 9,
        Event::CarrierAged => 10,
        Event::Closed => 11,
        Event::MemoryFreed => 12,
    }
}

fn happened(
    end: &mut End,
    conversation: &mut Conversation,
    event: Event,
    now: Nanos,
    other: Option<State>,
) -> Result<(), Wrong> {
    if end.phase == Phase::Closed {
        return Err(format!("{event:?} after Closed"));
    }
    // No hook is told of who waited in vain.
    let waits = matches!(event, Event::WaitFailed(_));
    if end.timed_out && !waits && !matches!(event, Event::Suspended | Event::Closed) {
        return Err(format!("{event:?} between a timeout and what it caused"));
    }
    end.timed_out = event == Event::HeartbeatTimeout || (end.timed_out && waits);
    match event {
        Event::ChannelOpened(id) => {
            conversation.introduce(id, end.side);
            end.opened.push(id);
        }
        Event::SendDone(ticket) => {
            let at = end.waiting.iter().position(|waiting| waiting.ticket == ticket);
            let waiting = end.waiting.remove(at.ok_or("SendDone for nobody")?);
            if end.waiting[..at.unwrap_or(0)].iter().any(|other| other.channel == waiting.channel) {
                return Err(format!("ticket {ticket} was served out of turn"));
            }
            let lane = &mut conversation.channel(waiting.channel).ok_or("no channel")?.lanes[end.side];
            waiting.messages.iter().for_each(|(number, size)| lane.accept(*number, *size));
        }
        Event::WaitFailed(ticket) => {
            let before = end.waiting.len() + end.flushes.len();
            end.waiting.retain(|waiting| waiting.ticket != ticket);
            end.flushes.retain(|(flush, ..)| *flush != ticket);
            if before != end.waiting.len() + end.flushes.len() + 1 {
                return Err("WaitFailed for nobody".into());
            }
        }
        Event::FlushDone(ticket) => {
            let at =
                end.flushes.iter().position(|(flush, ..)| *flush == ticket).ok_or("a flush of nobody")?;
            let (_, id, target) = end.flushes.remove(at);
            let lane = &conversation.channel(id).ok_or("no channel")?.lanes[end.side];
            if lane.unacknowledged.front().is_some_and(|oldest| oldest.index < target) {
                return Err(format!("channel {id} was flushed before all of it was acknowledged"));
            }
        }
        Event::PeerShutdown => end.peer_shutdown = true,
        Event::MemoryFreed => return Err("memory was freed, and nobody shares any".into()),
        Event::Suspended if end.phase == Phase::Open => end.phase = Phase::Suspended(now),
        Event::Resumed if matches!(end.phase, Phase::Suspended(_)) => {
            end.phase = Phase::Open;
            if end.session.epoch() <= end.epoch {
                return Err(format!("resumed at epoch {} after {}", end.session.epoch(), end.epoch));
            }
            end.epoch = end.session.epoch();
        }
        Event::Suspended | Event::Resumed => return Err(format!("{event:?} in {:?}", end.phase)),
        Event::Closed => closed(end, conversation, now, other)?,
        Event::CarrierAged => end.aged = true,
        Event::Readable(_) | Event::HeartbeatTimeout | Event::Rekeyed => {}
    }
    Ok(())
}

/// An end has to be one that what happened to it explains.
fn closed(end: &mut End, conversation: &Conversation, now: Nanos, other: Option<State>) -> Result<(), Wrong> {
    let suspended = std::mem::replace(&mut end.phase, Phase::Closed);
    let closed = end.session.closed().ok_or("Closed, and it is not")?;
    if !end.waiting.is_empty() || !end.flushes.is_empty() {
        return Err(format!("somebody waits for ever: {:?} {:?}", end.waiting, end.flushes));
    }
    if let Some(channel) =
        conversation.channels.iter().find(|channel| !channel.lanes[end.side].unacknowledged.is_empty())
    {
        return Err(format!("channel {}: not everything unacknowledged was reported", channel.id));
    }
    let other_is_over = !matches!(other, Some(State::Open | State::Suspended));
    let window = u64::from(end.session.agreement().resume_window_ms) * 1_000_000;
    let explained = match (closed.reason, closed.loss) {
        ("local", None) => true,
        ("peer", None) => true,
        ("connection_lost", Some("connection_lost")) | ("heartbeat_timeout", Some("heartbeat_timeout")) => {
            window == 0 || end.peer_shutdown
        }
        ("lost", Some("expired")) => {
            matches!(suspended, Phase::Suspended(since) if now >= since + window)
        }
        ("lost", Some("evicted")) => matches!(suspended, Phase::Suspended(_)),
        // A START of a process that is gone may arrive after one of its successor: boot ids have no order.
        ("lost", Some("peer_restarted")) => conversation.broken || end.peer_restarts,
        ("lost", Some("unknown_session")) => other_is_over || conversation.too_early,
        ("lost", Some("ticket_expired")) => other != Some(State::Open),
        ("auth_failed", Some("auth_failed")) => end.deceived,
        _ => false,
    };
    if explained { Ok(()) } else { Err(format!("unexplained end, {suspended:?}: {closed:?}")) }
}

/// Balances and bounds (RTT-42, RTT-28, RTT-38).
fn books(end: &End, conversation: &Conversation) -> Result<(), Wrong> {
    let resend = end.session.stats().resend_bytes;
    if resend > u64::from(end.resend_bytes) {
        return Err(format!("the resend buffer holds {resend} of {} bytes", end.resend_bytes));
    }
    let agreed = end.session.state() == end_state(end);
    if !agreed {
        return Err(format!("{:?} in {:?}", end.session.state(), end.phase));
    }
    for channel in
        conversation.channels.iter().filter(|channel| channel.known[end.side] && !channel.gone[end.side])
    {
        let (ours, theirs) = (&channel.lanes[end.side], &channel.lanes[1 - end.side]);
        let window = conversation.windows[channel.kind as usize];
        channel_books(&end.session, channel.id, ours, theirs, window)
            .map_err(|wrong| format!("channel {}: {wrong}", channel.id))?;
    }
    Ok(())
}

fn end_state(end: &End) -> State {
    match (end.phase, end.session.state()) {
        (Phase::Open, State::Closing) => State::Closing,
        (Phase::Open, _) => State::Open,
        (Phase::Suspended(_), _) => State::Suspended,
        (Phase::Closed, _) => State::Closed,
    }
}

fn channel_books(
    session: &Session,
    id: ChannelId,
    ours: &Lane,
    theirs: &Lane,
    window: Window,
) -> Result<(), Wrong> {
    let Some(stats) = session.channel_stats(id) else { return Ok(()) };
    let held = (stats.received - theirs.taken.0, stats.received_bytes - theirs.taken.1);
    let outstanding = ours.unacknowledged.len() as u64;
    let sound = stats.balances()
        && (stats.attempted, stats.accepted) == (ours.attempted, ours.accepted)
        && stats.queued + stats.in_flight == outstanding
        && stats.queued <= u64::from(window.messages)
        && stats.queued_bytes <= u64::from(window.bytes)
        && (theirs.loose
            || (session.readable(id) as u64 == held.0
                && held.0 <= u64::from(window.messages)
                && held.1 <= u64::from(window.bytes)));
    match sound {
        true => Ok(()),
        false => Err(format!(
            "{stats:?}, known {} of {} accepted, {outstanding} outstanding, holds {held:?} of {window:?}",
            ours.accepted, ours.attempted
        )),
    }
}

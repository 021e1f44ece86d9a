//! What applications do.

use web4_core::rtt::{ChannelId, Code, Kind, Nothing, Offered, Outcome, Policy, SendError, State};

use super::carrier::Purpose;
use super::message::message;
use super::model::Wrong;
use super::world::{Waiting, World};

impl World {
    /// One command of one application.
    pub fn command(&mut self) -> Result<(), Wrong> {
        self.steps += 1;
        if self.live.is_empty() || self.random.chance(1, 64) {
            return self.more_conversations();
        }
        let at = self.random.index(self.live.len());
        let end = self.live[at];
        if self.ends[end].session.state() == State::Closed {
            return self.retire(end);
        }
        if self.random.chance(self.profile.appetite, 64) {
            let most = 1 + self.random.index(6);
            self.receive(end, most)?;
            return self.after(end);
        }
        self.write_or_end(end)?;
        self.after(end)
    }

    fn write_or_end(&mut self, end: usize) -> Result<(), Wrong> {
        let channel = self.any_channel(end);
        match self.random.below(64) {
            0..=2 => self.open_channel(end),
            3..=4 => self.cancel_send(end)?,
            5..=7 => self.flush(end, channel),
            8 => self.cancel_flush(end),
            9 => self.ends[end].session.end_channel(channel),
            10 if channel != 0 => self.leave(end, channel, false),
            11 if channel != 0 => self.leave(end, channel, true),
            12 if self.profile.quits && self.random.chance(1, 8) => {
                let now = self.clock(self.ends[end].node);
                self.ends[end].session.shutdown(now);
            }
            13 if self.profile.quits && self.random.chance(1, 32) => {
                self.ends[end].session.abort(Code::APPLICATION, "enough");
            }
            14 if self.ends[end].peer_shutdown => {
                let now = self.clock(self.ends[end].node);
                self.ends[end].session.shutdown(now);
            }
            15 if self.ends[end].retry_at.is_some() => {
                // The application does not want to wait for the back-off.
                self.ends[end].retry_at = Some(self.clock(self.ends[end].node));
            }
            16..=17 if std::mem::take(&mut self.ends[end].aged) => self.dial_again(end)?,
            _ => self.send_some(end, channel)?,
        }
        Ok(())
    }

    /// Dials until there are as many conversations as the run wants.
    fn more_conversations(&mut self) -> Result<(), Wrong> {
        let openings = self.routes.iter().filter(|route| self.carriers[**route].purpose == Purpose::Start);
        let open = self.live.iter().filter(|end| self.ends[**end].side == 0);
        if openings.filter(|route| self.carriers[**route].is_opening(0)).count() + open.count()
            < self.profile.conversations
        {
            let from = self.random.index(self.profile.nodes);
            let to = (from + 1 + self.random.index(self.profile.nodes - 1)) % self.profile.nodes;
            self.dial(from, to, Purpose::Start, None);
        }
        Ok(())
    }

    /// The application of a closed session reads what is left, and lets go.
    pub fn retire(&mut self, end: usize) -> Result<(), Wrong> {
        self.receive(end, usize::MAX)?;
        self.observe(end)?;
        if self.ends[end].carrier.is_none() && self.ends[end].attempt.is_none() {
            self.ends[end].retired = true;
            self.live.retain(|live| *live != end);
            let (conversation, side) = (self.ends[end].conversation, self.ends[end].side);
            self.conversations[conversation].ends[side] = None;
        }
        Ok(())
    }

    fn any_channel(&mut self, end: usize) -> ChannelId {
        let (conversation, side) = (self.ends[end].conversation, self.ends[end].side);
        let channels = &self.conversations[conversation].channels;
        let usable = |at: &usize| channels[*at].known[side] && !channels[*at].left[side];
        let count = (0..channels.len()).filter(usable).count();
        let nth = self.random.index(count.max(1));
        (0..channels.len()).filter(usable).nth(nth).map_or(0, |at| channels[at].id)
    }

    pub fn policy(&mut self, kind: Option<Kind>) -> Policy {
        let policies = [Policy::Block, Policy::Error, Policy::DropOldest, Policy::DropNewest];
        let policy = self.random.pick(&policies);
        if kind.is_some_and(|kind| kind.allows(policy)) { policy } else { Policy::Block }
    }

    fn open_channel(&mut self, end: usize) {
        let kind = self.random.pick(&Kind::ALL);
        let policy = self.policy(Some(kind));
        if let Ok(id) = self.ends[end].session.open_channel(kind, "simulated", policy) {
            let (conversation, side) = (self.ends[end].conversation, self.ends[end].side);
            self.conversations[conversation].introduce(id, side);
            if let Some(channel) = self.conversations[conversation].channel(id) {
                channel.kind = kind;
            }
        }
    }

    fn size(&mut self) -> usize {
        let most = self.profile.largest as u64;
        match self.random.below(16) {
            0 => 0,
            1 => self.random.below(most + 1) as usize,
            2 => self.profile.largest,
            _ => self.random.below(most.min(100) + 1) as usize,
        }
    }

    fn send_some(&mut self, end: usize, id: ChannelId) -> Result<(), Wrong> {
        let count = 1 + self.random.index(4);
        let messages: Vec<(u64, usize)> = (0..count).map(|_| (self.number(), self.size())).collect();
        let (ticket, wait) = (self.number(), self.random.chance(3, 4));
        let batch = messages.iter().map(|(number, size)| message(*number, *size)).collect();
        let World { ends, conversations, trace, .. } = self;
        let it = &mut ends[end];
        let lane = match conversations[it.conversation].channel(id) {
            Some(channel) => &mut channel.lanes[it.side],
            None => return Ok(()),
        };
        let before = it.session.channel_stats(id);
        let offered = it.session.send(id, batch, wait, ticket);
        trace.say(|| format!("end {end} sends {messages:?} on {id}: {offered:?}"));
        trace.note(offered.is_ok().into());
        if !matches!(offered, Err(SendError::ChannelClosed | SendError::SessionClosed)) {
            lane.attempted += count as u64;
        }
        match offered {
            Ok(Offered::AllAccepted) => {
                if before.is_some_and(|stats| stats.waiting > 0) {
                    return Err("a newcomer overtook a waiter".into());
                }
                messages.iter().for_each(|(number, size)| lane.accept(*number, *size));
            }
            Ok(Offered::Each(outcomes)) => {
                let after = it.session.channel_stats(id);
                let evicted = |stats: Option<web4_core::rtt::ChannelStats>| {
                    stats.map_or(0, |stats| stats.dropped_oldest)
                };
                let mut evicted = evicted(after) - evicted(before);
                for ((number, size), outcome) in messages.iter().zip(outcomes) {
                    if outcome != Outcome::DroppedNewest {
                        lane.accept(*number, *size);
                    }
                }
                // The oldest go first, so the order of evicting and accepting makes no difference.
                lane.evict(std::mem::take(&mut evicted))?;
            }
            Ok(Offered::Waiting) => it.waiting.push(Waiting { ticket, channel: id, messages }),
            Err(_) => {}
        }
        Ok(())
    }

    fn cancel_send(&mut self, end: usize) -> Result<(), Wrong> {
        let count = self.ends[end].waiting.len();
        if count == 0 {
            return Ok(());
        }
        let at = self.random.index(count);
        let waiting = self.ends[end].waiting.remove(at);
        match self.ends[end].session.cancel_send(waiting.channel, waiting.ticket) {
            true => Ok(()),
            false => Err(format!("{waiting:?} could not be cancelled")),
        }
    }

    fn flush(&mut self, end: usize, id: ChannelId) {
        let ticket = self.number();
        let it = &mut self.ends[end];
        let lane = self.conversations[it.conversation].channel(id).map(|channel| &channel.lanes[it.side]);
        let accepted = lane.map_or(0, |lane| lane.accepted);
        if it.session.flush(id, ticket) == Ok(false) {
            it.flushes.push((ticket, id, accepted));
        }
    }

    fn cancel_flush(&mut self, end: usize) {
        if let Some((ticket, id, _)) = self.ends[end].flushes.pop() {
            self.ends[end].session.cancel_flush(id, ticket);
        }
    }

    /// Releases a channel, or resets it.
    fn leave(&mut self, end: usize, id: ChannelId, reset: bool) {
        self.trace.say(|| format!("end {end} leaves channel {id}, reset {reset}"));
        let it = &mut self.ends[end];
        if reset {
            it.session.reset_channel(id, Code::CANCELLED);
        } else {
            it.session.release_channel(id);
        }
        if let Some(channel) = self.conversations[it.conversation].channel(id) {
            channel.left[it.side] = true;
            channel.lanes[1 - it.side].loose = true;
            channel.lanes[it.side].loose |= reset;
        }
    }

    /// Takes messages out of every channel that the application still reads.
    pub fn receive(&mut self, end: usize, most: usize) -> Result<(), Wrong> {
        let World { ends, conversations, trace, .. } = self;
        let it = &mut ends[end];
        let known = &mut conversations[it.conversation];
        for channel in &mut known.channels {
            if !channel.known[it.side] || channel.left[it.side] {
                continue;
            }
            for _ in 0..most {
                let echo = it.echoes.iter().position(|(id, _)| *id == channel.id);
                let message = match echo.and_then(|at| it.echoes.remove(at)) {
                    Some((_, again)) => again,
                    None => match it.session.receive(channel.id) {
                        Ok(message) => message,
                        Err(Nothing::Ended) if !channel.lanes[1 - it.side].undelivered.is_empty() => {
                            return Err(format!("channel {} has ended for end {end} too soon", channel.id));
                        }
                        Err(_) => break,
                    },
                };
                trace.note(message.len() as u64);
                trace.say(|| format!("end {end} takes {} bytes from {}", message.len(), channel.id));
                channel.lanes[1 - it.side]
                    .deliver(&message)
                    .map_err(|wrong| format!("to end {end} on channel {}: {wrong}", channel.id))?;
            }
        }
        Ok(())
    }
}

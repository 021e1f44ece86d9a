//! What is written without a sequence number: acknowledgements, PING and PONG, credit. Another carrier does without it.

use super::SMALL_FRAME;
use crate::rtt::budget::Way;
use crate::rtt::frame::{Frame, encode};
use crate::rtt::session::Session;

impl Session {
    pub(super) fn write_unnumbered(&mut self, out: &mut Vec<u8>, limit: usize) {
        self.write_ack(out);
        while let Some(token) = self.writing.pongs.pop_front() {
            self.write_small(out, &Frame::Pong { token });
        }
        if let Some(token) = self.writing.ping.take() {
            self.stats.pings_sent += 1;
            self.write_small(out, &Frame::Ping { token });
        }
        // The peer may not know a channel whose OPEN is still to be written again.
        if !self.writing.resend.is_behind() && !self.writing.credit_all {
            self.write_credits(out, limit);
        }
    }

    pub(super) fn write_credits(&mut self, out: &mut Vec<u8>, limit: usize) {
        while out.len() + SMALL_FRAME <= limit {
            let Some(id) = self.writing.credits.pop_front() else { break };
            let Some(channel) = self.channels.get_mut(&id) else { continue };
            channel.credit_listed = false;
            if !channel.inbound.is_credit_wanted() || channel.reset.is_some() {
                continue;
            }
            let withheld = self.memory.as_mut().filter(|memory| memory.withholds(channel.kind));
            let is_withheld = withheld.map(|memory| memory.wait(Way::Received, channel.kind)).is_some();
            if !is_withheld || channel.inbound.is_credit_repeated() {
                let (messages, bytes) = channel.inbound.grant(is_withheld);
                self.write_small(out, &Frame::Credit { channel: id, messages, bytes });
            }
        }
        self.writing.credit_now = !self.writing.credits.is_empty();
    }

    pub(super) fn write_small(&mut self, out: &mut Vec<u8>, frame: &Frame<'_>) {
        encode(out, frame);
        self.stats.frames_sent += 1;
    }

    /// An acknowledgement rides on every write while something is unacknowledged.
    pub(super) fn write_ack(&mut self, out: &mut Vec<u8>) {
        if self.writing.unacked.0 > 0 {
            self.write_small(out, &Frame::Ack { cursor: self.cursor });
            self.writing.unacked = (0, 0);
            self.stats.acks_sent += 1;
            self.timing.acked();
        }
        self.writing.ack = false;
    }
}

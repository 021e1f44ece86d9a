//! The receiving half of a channel: fragments become messages, messages wait to be taken, taking grants credit.

use std::collections::VecDeque;

use super::code::Code;
use super::limits::Window;
use super::memory::MESSAGE_COST;
use super::stats::ChannelStats;

/// A message being put together.
#[derive(Debug)]
struct Assembly {
    total: usize,
    bytes: Vec<u8>,
}

/// Bytes of credit that are granted without waiting for half of a window.
const CREDIT_STEP: u64 = 128 * 1024;

/// A message being put together takes at most this many times the memory of what has arrived of it.
const GROWTH: usize = 4;

impl Assembly {
    /// Grows by what arrived, in few steps, and never beyond the declared length: an honest message is copied about
    /// once, and a declared length that never arrives costs nothing (RTT-17).
    fn append(&mut self, payload: &[u8]) {
        let length = self.bytes.len() + payload.len();
        if length > self.bytes.capacity() {
            let capacity = (length * GROWTH).min(self.total).max(length);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(payload);
    }
}

#[derive(Debug)]
pub(crate) struct Inbound {
    max_message: u32,
    window: Window,
    granted: (u64, u64),
    received: (u64, u64),
    /// The peer must be told the grant again: it may have been lost with a carrier.
    again: bool,
    consumed: (u64, u64),
    messages: VecDeque<Vec<u8>>,
    /// Bytes of `messages`.
    message_bytes: usize,
    assembly: Option<Assembly>,
    /// The peer's END arrived: no more messages will.
    pub ended: bool,
}

impl Inbound {
    pub fn new(max_message: u32, window: Window) -> Inbound {
        Inbound {
            max_message,
            window,
            granted: (u64::from(window.messages), u64::from(window.bytes)),
            received: (0, 0),
            again: false,
            consumed: (0, 0),
            messages: VecDeque::new(),
            message_bytes: 0,
            assembly: None,
            ended: false,
        }
    }

    /// Takes in a fragment. True when it completed a message and none was waiting before.
    pub fn data(
        &mut self,
        total: Option<u32>,
        last: bool,
        payload: &[u8],
        stats: &mut ChannelStats,
    ) -> Result<bool, Code> {
        if self.ended {
            return Err(Code::AFTER_END);
        }
        stats.frames_received += 1;
        let message = match (total, self.assembly.take()) {
            (Some(total), None) => {
                self.begin(total)?;
                if last {
                    // The usual case: the whole message in one frame, one allocation of the right size.
                    return match payload.len() == total as usize {
                        true => Ok(self.complete(payload.to_vec(), stats)),
                        false => Err(Code::BAD_FRAGMENT),
                    };
                }
                Assembly { total: total as usize, bytes: payload.to_vec() }
            }
            (None, Some(mut assembly)) => {
                assembly.append(payload);
                assembly
            }
            _ => return Err(Code::BAD_FRAGMENT),
        };
        let whole = message.bytes.len() == message.total;
        if payload.is_empty() || whole != last || message.bytes.len() > message.total {
            return Err(Code::BAD_FRAGMENT);
        }
        if last {
            return Ok(self.complete(message.bytes, stats));
        }
        self.assembly = Some(message);
        Ok(false)
    }

    fn begin(&mut self, total: u32) -> Result<(), Code> {
        if total > self.max_message {
            return Err(Code::MESSAGE_TOO_LARGE);
        }
        self.received.0 += 1;
        self.received.1 += u64::from(total);
        if self.received.0 > self.granted.0 || self.received.1 > self.granted.1 {
            return Err(Code::CREDIT_OVERRUN);
        }
        Ok(())
    }

    fn complete(&mut self, message: Vec<u8>, stats: &mut ChannelStats) -> bool {
        stats.received += 1;
        stats.received_bytes += message.len() as u64;
        self.message_bytes += message.len();
        self.messages.push_back(message);
        self.messages.len() == 1
    }

    /// The peer will send no more. A message begun and not finished is a violation (RTT-26).
    pub fn end(&mut self) -> Result<(), Code> {
        if self.ended {
            return Err(Code::AFTER_END);
        }
        if self.assembly.is_some() {
            return Err(Code::BAD_FRAGMENT);
        }
        self.ended = true;
        Ok(())
    }

    /// The channel was reset: what is complete stays readable, a part of a message is forgotten (RTT-26).
    pub fn break_off(&mut self) {
        self.assembly = None;
    }

    /// The oldest message, taken out.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let message = self.messages.pop_front()?;
        self.message_bytes -= message.len();
        self.consumed.0 += 1;
        self.consumed.1 += message.len() as u64;
        Some(message)
    }

    /// Bytes of received messages that wait, or are being put together.
    pub fn held_bytes(&self) -> u64 {
        let partial = self.assembly.as_ref().map_or(0, |assembly| assembly.bytes.len());
        (self.message_bytes + partial) as u64
    }

    /// The memory of what arrived and is not taken, with what messages cost beyond their bytes.
    pub fn held(&self) -> usize {
        let partial = self.assembly.as_ref().map_or(0, |assembly| assembly.bytes.capacity() + MESSAGE_COST);
        self.message_bytes + self.messages.len() * MESSAGE_COST + partial
    }

    pub fn waiting(&self) -> usize {
        self.messages.len()
    }

    /// Forgets everything that waits; nobody will read it.
    pub fn discard(&mut self) {
        while self.take().is_some() {}
    }

    /// Gives back memory that is not in use.
    pub fn rest(&mut self) {
        self.messages.shrink_to_fit();
    }

    /// Whether half of a window is free to be granted again (RTT-38), or as much of a large one as is worth a frame.
    /// What is granted at once may arrive at once, and control waits behind it.
    pub fn credit_due(&self) -> bool {
        let free = self.grantable();
        let bytes = free.1 - self.granted.1;
        !self.ended
            && ((free.0 - self.granted.0) * 2 >= u64::from(self.window.messages)
                || bytes * 2 >= u64::from(self.window.bytes)
                || bytes >= CREDIT_STEP)
    }

    /// Whether everything was taken, and the credit that is left is less than the largest message: the peer may wait
    /// for more with a message that needs it, and a window smaller than two of them would never be half free.
    pub fn credit_low(&self) -> bool {
        let left = self.granted.1 - self.received.1;
        let idle = self.messages.is_empty() && self.assembly.is_none();
        idle && !self.ended && left < u64::from(self.max_message) && self.grantable().1 > self.granted.1
    }

    /// The next grant is to be written whatever it says.
    pub fn credit_again(&mut self) {
        self.again = true;
    }

    /// Whether a grant must be written even if it grants nothing new.
    pub fn is_credit_repeated(&self) -> bool {
        self.again
    }

    /// Whether a grant is worth writing.
    pub fn is_credit_wanted(&self) -> bool {
        self.again || self.credit_due() || self.credit_low()
    }

    /// Grants all that is free, unless it is to be withheld, and says the totals.
    pub fn grant(&mut self, withheld: bool) -> (u64, u64) {
        self.again = false;
        if !withheld {
            self.granted = self.grantable();
        }
        self.granted
    }

    fn grantable(&self) -> (u64, u64) {
        (self.consumed.0 + u64::from(self.window.messages), self.consumed.1 + u64::from(self.window.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbound() -> (Inbound, ChannelStats) {
        (Inbound::new(10, Window { messages: 4, bytes: 20 }), ChannelStats::default())
    }

    #[test]
    fn fragments_become_messages_and_nothing_else_does() {
        let (mut inbound, mut stats) = inbound();
        assert_eq!(inbound.data(Some(0), true, b"", &mut stats), Ok(true));
        assert_eq!(inbound.data(Some(5), false, b"ab", &mut stats), Ok(false));
        assert_eq!(inbound.data(None, false, b"c", &mut stats), Ok(false));
        assert_eq!(inbound.data(None, true, b"de", &mut stats), Ok(false));
        assert_eq!(
            (inbound.take(), inbound.take(), inbound.take()),
            (Some(vec![]), Some(b"abcde".to_vec()), None)
        );
        type Part = (Option<u32>, bool, &'static [u8]);
        let wrong: &[(&[Part], Code)] = &[
            (&[(None, true, b"a")], Code::BAD_FRAGMENT),
            (&[(Some(3), true, b"ab")], Code::BAD_FRAGMENT),
            (&[(Some(1), true, b"ab")], Code::BAD_FRAGMENT),
            (&[(Some(2), false, b"ab")], Code::BAD_FRAGMENT),
            (&[(Some(2), false, b"")], Code::BAD_FRAGMENT),
            (&[(Some(2), false, b"a"), (Some(2), true, b"ab")], Code::BAD_FRAGMENT),
            (&[(Some(2), false, b"a"), (None, false, b"")], Code::BAD_FRAGMENT),
            (&[(Some(2), false, b"a"), (None, true, b"bc")], Code::BAD_FRAGMENT),
            (&[(Some(11), false, b"a")], Code::MESSAGE_TOO_LARGE),
            (
                &[(Some(10), true, b"0123456789"), (Some(10), true, b"0123456789"), (Some(1), true, b"x")],
                Code::CREDIT_OVERRUN,
            ),
        ];
        for (parts, code) in wrong {
            let (mut inbound, mut stats) = self::inbound();
            let last = parts
                .iter()
                .map(|(total, last, payload)| inbound.data(*total, *last, payload, &mut stats))
                .last();
            assert_eq!(last, Some(Err(*code)), "{parts:?}");
        }
    }

    #[test]
    fn credit_is_due_when_half_a_window_is_free() {
        let (mut inbound, mut stats) = inbound();
        for _ in 0..4 {
            inbound.data(Some(1), true, b"x", &mut stats).unwrap();
        }
        inbound.take();
        assert!(!inbound.credit_due());
        inbound.take();
        assert!(inbound.credit_due());
        assert_eq!(inbound.grant(false), (6, 22));
        assert!(!inbound.credit_due());
    }

    #[test]
    fn nothing_is_granted_after_the_end() {
        let (mut inbound, mut stats) = inbound();
        for _ in 0..4 {
            inbound.data(Some(5), true, b"xxxxx", &mut stats).unwrap();
        }
        inbound.end().unwrap();
        inbound.discard();
        assert!(!inbound.credit_due() && !inbound.credit_low());
    }

    #[test]
    fn a_part_is_forgotten_when_the_channel_breaks() {
        let (mut inbound, mut stats) = inbound();
        inbound.data(Some(5), false, b"xx", &mut stats).unwrap();
        assert_eq!(inbound.end(), Err(Code::BAD_FRAGMENT));
        inbound.break_off();
        assert_eq!(inbound.data(None, true, b"xxx", &mut stats), Err(Code::BAD_FRAGMENT));
    }

    #[test]
    fn credit_is_low_when_the_largest_message_does_not_fit_what_is_left() {
        let mut stats = ChannelStats::default();
        let mut inbound = Inbound::new(10, Window { messages: 8, bytes: 12 });
        assert!(!inbound.credit_low());
        inbound.data(Some(2), true, b"xx", &mut stats).unwrap();
        inbound.take();
        assert!(!inbound.credit_low(), "10 are left");
        inbound.data(Some(1), true, b"x", &mut stats).unwrap();
        assert!(!inbound.credit_low(), "one waits: taking it will say more");
        inbound.take();
        assert!(inbound.credit_low() && !inbound.credit_due());
        assert_eq!(inbound.grant(false), (10, 15));
        assert!(!inbound.credit_low());
    }
}

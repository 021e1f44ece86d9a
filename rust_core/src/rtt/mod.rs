//! RTT, the transport, as a sans-I/O state machine (RTT-1).
//!
//! `Opening` brings a carrier from its first byte to an agreed session; `Session` is what lives on it. Neither
//! opens a socket, reads a clock or draws randomness: bytes, commands and `now` go in, bytes, messages, events and
//! the next deadline come out. Production, simulator and tests drive this same code (RTT-2).

mod budget;
mod channel;
mod code;
mod ending;
pub mod frame;
mod histogram;
mod inbound;
mod latency;
mod limits;
mod memory;
mod meter;
mod opening;
pub mod opening_frame;
mod outbound;
mod reading;
mod resend;
mod resume;
mod session;
mod stats;
mod table;
mod timing;
mod wire;
mod writing;

pub use budget::{Budget, BudgetLimits, Share};
pub use channel::{CHANNEL_ZERO, ChannelId};
pub use code::Code;
pub use histogram::{Bucket, Histogram};
pub use limits::{Kind, KindLimits, Limits, MILLISECOND, Nanos, Options, Policy, Window};
pub use meter::{KindTotals, Meter};
pub use opening::{Opened, Opening, OpeningStep, ResumedHere};
pub use opening_frame::ResumeTicket;
pub use outbound::{Offered, Outcome, SendError, Ticket, Unacknowledged};
pub use resume::{ResumeGrant, ResumeRequest, Resumed};
pub use session::{Agreement, Closed, Event, Lost, Nothing, OpenError, Session, State};
pub use stats::{ChannelStats, SessionStats};
pub use table::{Fingerprint, Found, SessionTable, TableLimits};
pub use writing::RECORD_BYTES;

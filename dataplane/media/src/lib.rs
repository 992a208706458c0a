//! Packets: RTP, SRTP, latching, flows, quality.
//!
//! Rule of this crate: no I/O, no clock, no threads, no strings, and no allocation per packet. It decides what happens
//! to a packet in the caller's buffer; sockets, counters and timers belong to the shell. RFC 3550, 3711, 6188, 7714.
#![forbid(unsafe_code)]

pub mod classify;
mod codec;
mod drop_reason;
mod flow;
mod flow_table;
mod latch;
mod leg;
pub mod monitor;
pub mod srtp;
pub mod wire;

pub use codec::{Codec, CodecHint, CodecModel, MAX_CODECS, PayloadKind};
pub use drop_reason::DropReason;
pub use flow::{FlowSpec, FlowStats, Forward};
pub use flow_table::{FlowId, FlowTable, FlowTableFull, QualityReading};
pub use latch::AUTH_BUDGET;
pub use leg::{LegSpec, Protection, SocketId};
pub use monitor::Verdict;
pub use srtp::{InvalidKey, MasterKey};

//! Packets: RTP and SRTP views, transforms, latching, flows and their quality.
//!
//! Rule of this crate: no I/O, no clock, no threads, no strings, and no allocation per packet. A packet is a slice of a
//! buffer that somebody else owns; the answer is where it goes or why it does not.
#![forbid(unsafe_code)]

mod classify;
mod codec;
mod drop_reason;
mod flow;
mod flow_table;
mod latch;
mod leg;
pub mod monitor;
pub mod srtp;
pub mod wire;

pub use classify::{PacketKind, classify};
pub use codec::{CodecHint, CodecModel};
pub use drop_reason::DropReason;
pub use flow::{FlowSpec, FlowStats, Forward};
pub use flow_table::{FlowId, FlowTable, FlowTableFull, QualityReading, SocketId};
pub use leg::{LegSpec, Protection};
pub use monitor::Verdict;
pub use srtp::{InvalidKey, MasterKey};

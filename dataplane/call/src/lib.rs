//! The ALG: every decision about a call. Rule of this crate: no I/O, no clock, no threads; it may use sip, media,
//! ticket and contract.
//!
//! A worker drives one [`CallTable`]: one `handle_*`, then [`CallTable::poll_output`] until it is empty.
#![forbid(unsafe_code)]

mod admit;
mod alg;
mod call;
mod call_id;
mod call_table;
mod cseq;
mod dialog;
mod fallback;
mod gate;
mod negotiate;
mod output;
mod peer;
mod ports;
#[cfg(test)]
mod testing;
pub mod transport;
mod txn;

pub use call_id::CallIdCodec;
pub use call_table::{CallTable, CallTableConfig};
pub use output::Output;
pub use ports::PortPair;

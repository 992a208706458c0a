//! The four transaction machines of RFC 3261 §17 with the Accepted state of RFC 6026.
//!
//! A machine keeps its state and at most two timers. It never holds messages: it says *what* to do, and the caller,
//! who has the bytes, does it.

mod client;
mod server;

use std::time::Duration;

pub use client::{ClientState, ClientTransaction, ClientVerdict};
pub use server::{ServerState, ServerTransaction};

/// RFC 3261 §17.1.1.1. Default T1, the round-trip estimate: 500 ms.
pub const T1: Duration = Duration::from_millis(500);
/// RFC 3261 §17.1.2.2. Default T2, the longest retransmission interval: 4 s.
pub const T2: Duration = Duration::from_secs(4);
/// RFC 3261 §17.1.2.2. Default T4, how long a message stays in the network: 5 s.
pub const T4: Duration = Duration::from_secs(5);
/// 64 × T1: Timers B, F, H, L, M and J on UDP.
pub const TIMEOUT: Duration = Duration::from_secs(32);

/// Whether a transaction is an INVITE's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// INVITE.
    Invite,
    /// Anything else but ACK.
    NonInvite,
}

/// What a fired timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Send the request, or the last response, again.
    Retransmit,
    /// No final response (Timers B, F), or no ACK (Timer H): the transaction has failed and is over.
    TimedOut,
    /// The transaction is over in good order.
    Terminated,
}

//! What a validator tells the control plane: the facts, the checks every route must pass, and the two protocols that
//! carry them, Tollgate's native feed and VAP.
//!
//! Rule of this crate: bytes, a time and random seeds are handed in; facts, bytes to send and reports come out. It
//! opens no socket, reads no clock, starts no thread and logs nothing. It does not resolve names, keeps no route table
//! and decides nothing about calls: the control plane does. Sources: draft-jennings-vipr-vap-02,
//! draft-petithuguenin-vipr-pvp-02; the native feed is Tollgate's own (docs/validator-feed.md).
//!
//! Both sessions follow one contract: one mutation (`handle_*`), then `poll_output` until it is empty, then the next.
#![forbid(unsafe_code)]

mod budget;
pub mod checks;
mod domain;
pub mod facts;
pub mod feed;
mod hex;
mod ids;
#[cfg(test)]
mod testing;
pub mod valinfo;
pub mod vap;
mod wire;

pub use domain::{Domain, InvalidDomain};
pub use ids::{InstanceId, InvalidId, MappingId, NodeId, RouteId, TicketUuid, VServiceId};

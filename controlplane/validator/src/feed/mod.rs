//! The native feed: a validator's facts as a snapshot and deltas with a revision number.
//!
//! Bytes in, facts and bytes out; it opens no connection and keeps nothing on disk. The wire format is in
//! docs/validator-feed.md; Tollgate's own (vap.md 11).

mod digest;
mod frame;
mod message;
mod record;
pub mod session;

pub use digest::Digest;
pub use frame::{Decoder, Frame, FrameTooLong, MAX_FRAME_LEN};
pub use message::{
    Ack, Counts, Heartbeat, Hello, Kind, MAJOR, MINOR, Malformed, Message, Nack, NackCode, RingState, SnapshotBegin,
    SnapshotEnd, capability,
};
pub use record::{FactFault, Record};

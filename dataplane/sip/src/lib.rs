//! Signalling as text: framing, an index over the bytes, lossless edits, SDP, and the transaction machines of RFC 3261.
//!
//! Rule of this crate: no I/O, no clock, no threads, no logging. Bytes come in with the time; values go out. Nothing a
//! peer sends may panic: positions come from our own scan, numbers of the peer are only ever compared.
#![forbid(unsafe_code)]

mod check;
pub mod edit;
mod error;
pub mod framing;
mod headers;
mod message;
mod multipart;
mod name_addr;
pub mod response;
mod scan;
pub mod sdp;
mod syntax;
pub mod transaction;
mod uri;
mod via;

pub use error::InvalidMessage;
pub use headers::Header;
pub use message::{CSeq, Field, MAX_HEADERS, MAX_MESSAGE, Method, SipMessage, StartLine, peek_call_id};
pub use name_addr::NameAddr;
pub use scan::{param, split_commas, trim};
pub use uri::SipUri;
pub use via::Via;

//! VAP, the ViPR Access Protocol between a call agent and a validator.
//!
//! The client serves the control plane in front of an existing IME validator; the server is as much of the other end as
//! tests and a stand-in need: it publishes nothing into a DHT. Source: draft-jennings-vipr-vap-02 (2012-03-05), with the
//! readings of vap.md 9.

mod attribute;
mod auth;
mod codec;
pub mod session;

pub use attribute::{Attribute, CallDirection, ErrorCode, ServiceIdentity};
pub use auth::{Key, REALM};
pub use codec::{
    Class, Decoder, FrameFault, MAX_MESSAGE_LEN, Message, Method, ParseFault, Parsed, Read, TransactionId,
};

//! The two ends of VAP as state machines.
//!
//! [`Client`] is the call agent's end as the control plane plays it; [`Server`] is the validator's end as far as a
//! stand-in needs it. One mutation, then drain. Source: draft-jennings-vipr-vap-02 §5-§9.

mod client;
mod notify;
mod output;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientConfig};
pub use output::{ClientOutput, CloseReason, Report, Retry};
pub use server::{Event, Server, ServerConfig, ServerOutput};

use super::attribute::{Attribute, ErrorCode};
use super::auth::{Key, REALM};
use super::codec::{Class, Message, Method, TransactionId};

/// Codes of ERROR-CODE (§10.3.4).
mod code {
    pub(super) const BAD_REQUEST: u16 = 400;
    pub(super) const INTEGRITY_CHECK_FAILURE: u16 = 431;
    pub(super) const UNKNOWN_USERNAME: u16 = 436;
    pub(super) const BAD_CLIENT_HANDLE: u16 = 471;
    pub(super) const UNREGISTERED: u16 = 474;
    pub(super) const UNKNOWN_SUBSCRIPTION: u16 = 476;
    pub(super) const ALREADY_REGISTERED: u16 = 477;
    pub(super) const UNSUPPORTED_PROTOCOL_VERSION: u16 = 478;
}

/// The protocol version spoken.
const VERSION: (u16, u16) = (1, 0);

/// Most messages taken in one call, so that the outputs between two drains are bounded.
const MAX_MESSAGES_PER_CALL: usize = 64;

/// The bytes of a message with REALM and MAC.
///
/// `None` if it is too long.
fn signed(message: Message, key: &Key) -> Option<Vec<u8>> {
    message.with(Attribute::Realm(REALM.into())).encode(Some(key))
}

/// The bytes of a success response.
fn success(method: Method, transaction: TransactionId, attributes: Vec<Attribute>, key: &Key) -> Option<Vec<u8>> {
    let mut message = Message::new(method, Class::Success, transaction);
    message.attributes = attributes;
    signed(message, key)
}

/// The bytes of an error response: 431 and 436 go without a MAC (§5.2).
fn error(
    method: Method,
    transaction: TransactionId,
    code: u16,
    further: Option<Attribute>,
    key: &Key,
) -> Option<Vec<u8>> {
    let reason = match code {
        code::BAD_REQUEST => "Bad Request",
        code::INTEGRITY_CHECK_FAILURE => "Integrity Check Failure",
        code::UNKNOWN_USERNAME => "Unknown Username",
        code::BAD_CLIENT_HANDLE => "Bad Client Handle",
        code::UNREGISTERED => "Unregistered",
        code::UNKNOWN_SUBSCRIPTION => "Unknown Subscription",
        code::ALREADY_REGISTERED => "Already Registered",
        code::UNSUPPORTED_PROTOCOL_VERSION => "Unsupported Protocol Version",
        _ => "Error",
    };
    let error = ErrorCode {
        code,
        reason: reason.into(),
    };
    let mut message = Message::new(method, Class::Error, transaction).with(Attribute::ErrorCode(error));
    message.attributes.extend(further);
    match code {
        code::INTEGRITY_CHECK_FAILURE | code::UNKNOWN_USERNAME => message.encode(None),
        _ => signed(message, key),
    }
}

//! The ticket's bytes: TLV codec, text form, key derivation, MAC, issue and check.
//!
//! Rule of this crate: a ticket is judged from bytes, rules and a time that are handed in. It opens nothing, draws no
//! random numbers, keeps no state between calls, and does not know what a dialog is: whether a request needs a ticket
//! at all is the caller's question. Source: draft-petithuguenin-vipr-sip-antispam and draft-petithuguenin-vipr-pvp;
//! version 2 (HMAC-SHA-256) is Tollgate's own.
#![forbid(unsafe_code)]

mod codec;
mod domain;
mod inspect;
mod issue;
mod key;
mod secret;
mod text;
mod time;
mod uri;
mod verify;

pub use codec::{Decoded, SALT_LEN, Ticket};
pub use inspect::{Context, Finding, Verdict, inspect};
pub use issue::{Grant, InvalidGrant, issue};
pub use key::Mac;
pub use secret::{KeyForm, KeyFormError, UnknownKeyForm, parse_secret};
pub use text::{MAX_TEXT_LEN, decode};
pub use time::Ntp64;
pub use uri::number_of_request_uri;
pub use verify::{Request, Verified, verify};

#[cfg(test)]
mod vectors;

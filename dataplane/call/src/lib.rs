//! The ALG: every decision about a call. Rule of this crate: no I/O, no clock, no threads; it may use sip, media,
//! ticket and contract.
#![forbid(unsafe_code)]

pub mod transport;

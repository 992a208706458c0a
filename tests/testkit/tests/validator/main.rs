//! The control plane's line to a validator over real sockets: what it learns, what it survives, what it counts.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod feed;
mod hostile;
mod kit;
mod program;
mod tls;
mod vap;

//! How the edge meets bad input, at the started program: wrong policies and files, taken addresses, hostile bytes,
//! signals, and what of its secrets its words give away.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod command;
#[allow(dead_code, reason = "each test program uses its part")]
#[path = "../company/mod.rs"]
mod company;
mod files;
mod hostile_bytes;
mod hostile_tls;
mod leaks;
mod leaving;
mod metrics;
mod policies;
mod raw_call;
mod secrets;
mod taken;

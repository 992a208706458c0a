//! Behaviours of the shell over real sockets on 127.0.0.1.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "what helps a test is a test")]

mod deployments;
mod kit;
mod media;
mod plain;
mod tls;

//! The wire formats from outside the crate: the vectors of `tests/data`, and bytes that are none.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "the vectors are part of the test")]

mod data;
mod feed_vectors;
mod fuzz;
mod vap_vectors;

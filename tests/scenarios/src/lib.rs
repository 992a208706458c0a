//! Scenarios: one family of behaviours a file in `tests/`, each against the real call table.
//!
//! This library is empty on purpose; everything the scenarios share is in `tollgate-testkit`.
#![forbid(unsafe_code)]

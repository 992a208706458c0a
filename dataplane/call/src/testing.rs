//! A first instant for tests.

use std::time::{Duration, Instant};

use tollgate_contract::Now;

/// Some moment; only differences to it matter.
#[allow(clippy::disallowed_methods, reason = "a test needs some first instant")]
pub(crate) fn now() -> Now {
    Now {
        instant: Instant::now(),
        unix: Duration::from_secs(1_780_000_000),
    }
}

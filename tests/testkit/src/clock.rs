//! The one real instant of a test run; all further time is virtual.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tollgate_contract::Now;

/// 2026-06-01T00:00:00Z, the wall clock at the start of every scenario.
pub const START_UNIX: Duration = Duration::from_secs(1_780_272_000);

/// The instant every scenario begins at.
#[must_use]
pub fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// The moment every scenario begins at.
#[must_use]
pub fn beginning() -> Now {
    Now {
        instant: start(),
        unix: START_UNIX,
    }
}

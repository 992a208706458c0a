//! The one place that asks what time it is.
//!
//! It only asks; what follows from the answer is decided where [`Now`] is passed to.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tollgate_contract::Now;

/// The present moment on both clocks. A wall clock before 1970 reads as 1970.
#[must_use]
pub fn now() -> Now {
    Now {
        instant: Instant::now(),
        unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

//! Time as an argument: the pure crates are told what time it is and never ask.

use std::time::{Duration, Instant};

/// The present moment on both clocks, taken once per wake by the shell.
///
/// Timers, media and transactions use [`instant`](Self::instant); ticket validity and records use
/// [`unix`](Self::unix), so a step of the wall clock never fires a timer early.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic clock.
    pub instant: Instant,
    /// Wall clock, since 1970-01-01T00:00:00Z.
    pub unix: Duration,
}

impl Now {
    /// The moment `by` later on both clocks.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self {
            instant: self.instant + by,
            unix: self.unix + by,
        }
    }
}

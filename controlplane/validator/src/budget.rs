//! How many messages a second are read.
//!
//! A token bucket of one second's depth; it delays and never drops.

use std::time::{Duration, Instant};

/// Messages that may be read now, refilled with time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    per_second: u32,
    tokens: u32,
    refilled_at: Instant,
}

impl Budget {
    /// A full budget of `per_second` messages, 1 or more.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = per_second.max(1);
        Self {
            per_second,
            tokens: per_second,
            refilled_at: now,
        }
    }

    /// Adds what has accrued; whether a message may be read.
    pub(crate) fn refill(&mut self, now: Instant) -> bool {
        let per_token = self.per_token();
        let elapsed = now.saturating_duration_since(self.refilled_at);
        let accrued = elapsed.as_nanos() / per_token.as_nanos();
        let room = self.per_second - self.tokens;
        match u32::try_from(accrued) {
            Ok(accrued) if accrued < room => {
                self.tokens += accrued;
                self.refilled_at += per_token * accrued;
            }
            Ok(_) | Err(_) => {
                self.tokens = self.per_second;
                self.refilled_at = now.max(self.refilled_at);
            }
        }
        self.tokens > 0
    }

    /// Spends one message; the caller has asked [`refill`](Self::refill) first.
    pub(crate) fn spend(&mut self) {
        self.tokens = self.tokens.saturating_sub(1);
    }

    /// When the next message may be read.
    pub(crate) fn ready_at(&self) -> Instant {
        self.refilled_at + self.per_token()
    }

    fn per_token(&self) -> Duration {
        (Duration::from_secs(1) / self.per_second).max(Duration::from_nanos(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_messages_is_read_at_once_and_then_at_their_rate() {
        let start = start();
        let mut budget = Budget::new(10, start);
        let mut read = |at: Duration| {
            let mut count = 0;
            while budget.refill(start + at) {
                budget.spend();
                count += 1;
            }
            count
        };
        assert_eq!(read(Duration::ZERO), 10);
        assert_eq!(read(Duration::from_millis(99)), 0);
        assert_eq!(read(Duration::from_millis(100)), 1);
        assert_eq!(read(Duration::from_millis(1_050)), 9);
        assert_eq!(read(Duration::from_secs(3_600)), 10);
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some first moment")]
    fn start() -> Instant {
        Instant::now()
    }
}

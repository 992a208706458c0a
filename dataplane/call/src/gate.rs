//! How many new calls, and answers to strangers' OPTIONS, a peer domain may ask of a worker.
//!
//! A token bucket per domain. Only domains that passed TLS with a trusted certificate get one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most domains with a bucket; at the bound the one filled longest ago is forgotten.
const MAX_DOMAINS: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Per-domain rates of one worker.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    buckets: BTreeMap<String, Bucket>,
}

impl Gate {
    /// Whether `domain` may ask once more at `per_second`; a second's worth may come at once.
    pub(crate) fn admits(&mut self, now: Instant, domain: &str, per_second: u32) -> bool {
        if !self.buckets.contains_key(domain) {
            self.make_room();
            self.buckets.insert(
                domain.to_owned(),
                Bucket {
                    tokens: f64::from(per_second),
                    filled: now,
                },
            );
        }
        let Some(bucket) = self.buckets.get_mut(domain) else {
            return false;
        };
        let earned = now
            .saturating_duration_since(bucket.filled)
            .min(Duration::from_secs(1))
            .as_secs_f64();
        bucket.tokens = (bucket.tokens + earned * f64::from(per_second)).min(f64::from(per_second));
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    fn make_room(&mut self) {
        if self.buckets.len() < MAX_DOMAINS {
            return;
        }
        let oldest = self
            .buckets
            .iter()
            .min_by_key(|(_, bucket)| bucket.filled)
            .map(|(domain, _)| domain.clone());
        if let Some(oldest) = oldest {
            self.buckets.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_no_more_than_its_rate_and_domains_do_not_share() {
        let now = crate::testing::now().instant;
        let mut gate = Gate::default();
        assert_eq!((0..20).filter(|_| gate.admits(now, "a.example", 10)).count(), 10);
        assert!(gate.admits(now, "b.example", 10));
        assert!(!gate.admits(now, "a.example", 10));
        assert!(gate.admits(now + Duration::from_millis(100), "a.example", 10));
        assert!(!gate.admits(now + Duration::from_millis(100), "a.example", 10));
    }

    #[test]
    fn the_number_of_domains_is_bounded() {
        let now = crate::testing::now().instant;
        let mut gate = Gate::default();
        for domain in 0..MAX_DOMAINS + 100 {
            gate.admits(now, &domain.to_string(), 1);
        }
        assert_eq!(gate.buckets.len(), MAX_DOMAINS);
    }
}

//! What one phase of load has shown.
//!
//! It counts and divides; what a figure means is said where it is used.

use hdrhistogram::Histogram;

/// Counts and times of the packets of one phase.
pub(crate) struct Tally {
    /// Packets that were due.
    pub(crate) planned: u64,
    /// Packets sent.
    pub(crate) sent: u64,
    /// Sends the system refused: the relay's port is closed.
    pub(crate) send_errors: u64,
    /// Packets of this phase that came back right, in order and once.
    pub(crate) delivered: u64,
    /// Packets of any phase that came while this one lasted: what the relay's CPU time of it was spent on.
    pub(crate) arrived: u64,
    /// Packets that did not authenticate or were not as they were sent.
    pub(crate) spoilt: u64,
    /// Packets that came after a later one, or twice.
    pub(crate) out_of_order: u64,
    /// How long it lasted.
    pub(crate) elapsed_ns: u64,
    /// How long the generator had nothing to do.
    pub(crate) idle_ns: u64,
    latency_ns: Histogram<u64>,
    late_ns: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are in order");
        Self {
            planned: 0,
            sent: 0,
            send_errors: 0,
            delivered: 0,
            arrived: 0,
            spoilt: 0,
            out_of_order: 0,
            elapsed_ns: 0,
            idle_ns: 0,
            latency_ns: histogram(),
            late_ns: histogram(),
        }
    }

    /// Starts anew, in the same memory.
    pub(super) fn clear(&mut self) {
        self.latency_ns.reset();
        self.late_ns.reset();
        for count in [
            &mut self.planned,
            &mut self.sent,
            &mut self.send_errors,
            &mut self.delivered,
            &mut self.arrived,
            &mut self.spoilt,
            &mut self.out_of_order,
            &mut self.elapsed_ns,
            &mut self.idle_ns,
        ] {
            *count = 0;
        }
    }

    pub(super) fn on_delivered(&mut self, latency_ns: u64) {
        self.delivered += 1;
        self.latency_ns.saturating_record(latency_ns);
    }

    pub(super) fn on_late(&mut self, late_ns: u64) {
        self.late_ns.saturating_record(late_ns);
    }

    /// The share of the packets sent that did not come, 0 to 1.
    pub(crate) fn loss(&self) -> f64 {
        ratio(self.sent.saturating_sub(self.delivered), self.sent)
    }

    /// Latency at a quantile, microseconds.
    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.latency_ns.value_at_quantile(quantile) as f64 / 1e3
    }

    /// How late the generator sent, at a quantile, microseconds.
    pub(crate) fn late_us(&self, quantile: f64) -> f64 {
        self.late_ns.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The share of what was due that was sent, 0 to 1.
    pub(crate) fn offered(&self) -> f64 {
        ratio(self.sent, self.planned)
    }

    /// Packets a second that were sent.
    pub(crate) fn sent_per_second(&self) -> f64 {
        ratio(self.sent, self.elapsed_ns) * 1e9
    }

    /// Whether the generator, not the relay, set the limit: it could not send what was due, or had no time left.
    pub(crate) fn is_generator_bound(&self) -> bool {
        self.offered() < LEAST_OFFERED || ratio(self.idle_ns, self.elapsed_ns) < LEAST_IDLE
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Longer latencies count as this: a minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// A generator that sends less than this share of what was due was itself the bound.
const LEAST_OFFERED: f64 = 0.99;

/// A generator that had less than this share of its time to spare was itself the bound.
const LEAST_IDLE: f64 = 0.02;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_counts_what_was_sent_and_did_not_come() {
        let mut tally = Tally::new();
        assert!(tally.loss().abs() < f64::EPSILON);
        tally.sent = 4;
        tally.on_delivered(2_000);
        tally.on_delivered(2_000);
        tally.on_delivered(9_000);
        assert!((tally.loss() - 0.25).abs() < 1e-9);
        assert!((tally.latency_us(0.5) - 2.0).abs() < 0.01);
        tally.clear();
        assert_eq!((tally.sent, tally.delivered), (0, 0));
        assert!(tally.latency_us(0.99) < 0.2);
    }

    #[test]
    fn generator_without_spare_time_is_the_bound() {
        let mut tally = Tally::new();
        (tally.planned, tally.sent, tally.elapsed_ns, tally.idle_ns) = (100, 100, 1_000, 500);
        assert!(!tally.is_generator_bound());
        tally.idle_ns = 1;
        assert!(tally.is_generator_bound());
        (tally.idle_ns, tally.sent) = (500, 90);
        assert!(tally.is_generator_bound());
    }
}

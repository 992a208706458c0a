//! From packets to a verdict: a sliding window of monitoring intervals, with hysteresis (edge.md 8).

use std::time::{Duration, Instant};

use tollgate_contract::{FallbackTrigger, QualityThresholds};

use super::sequence::Arrival;

/// Most intervals in the window; at 10 ms monitoring a window of 5 s is 500 of them. Longer windows are cut.
const MAX_INTERVALS: usize = 512;

/// Fewest packets a window must expect before loss is judged: a handful of packets says nothing.
const MIN_PACKETS: u32 = 25;

/// calls.md 6: after a silence packet, silence is unknown for so long, not dead.
const SILENCE_GRACE: Duration = Duration::from_secs(30);

/// How what one side sends is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fine, or not yet bad.
    Good,
    /// Bad by this measure.
    Poor(FallbackTrigger),
    /// Nothing comes although it should.
    Dead,
    /// Nothing is expected, or silence was announced.
    Unknown,
}

#[derive(Clone, Copy, Debug, Default)]
struct Interval {
    expected: u16,
    received: u16,
}

/// The window of one direction. A fixed ring, about 2 KiB.
#[derive(Clone, Debug)]
pub struct VerdictWindow {
    ring: Box<[Interval; MAX_INTERVALS]>,
    next: usize,
    filled: usize,
    current: Interval,
    last_packet: Option<Instant>,
    silence_since: Option<Instant>,
    listening_since: Option<Instant>,
    last_close: Option<Instant>,
    poor: Option<FallbackTrigger>,
}

impl Default for VerdictWindow {
    fn default() -> Self {
        Self {
            ring: Box::new([Interval::default(); MAX_INTERVALS]),
            next: 0,
            filled: 0,
            current: Interval::default(),
            last_packet: None,
            silence_since: None,
            listening_since: None,
            last_close: None,
            poor: None,
        }
    }
}

impl VerdictWindow {
    /// A packet, and what its number said.
    pub(super) fn on_packet(&mut self, now: Instant, arrival: Arrival, is_silence: bool) {
        self.last_packet = Some(now);
        self.silence_since = is_silence.then_some(now);
        let current = &mut self.current;
        match arrival {
            Arrival::Forward(missing) => {
                current.expected = current.expected.saturating_add(missing).saturating_add(1);
                current.received = current.received.saturating_add(1);
            }
            Arrival::Late => current.received = current.received.saturating_add(1),
            Arrival::Restart => {
                current.expected = current.expected.saturating_add(1);
                current.received = current.received.saturating_add(1);
            }
            Arrival::Duplicate | Arrival::Odd => {}
        }
    }

    pub(super) fn last_packet(&self) -> Option<Instant> {
        self.last_packet
    }

    /// Forgets what was heard: it was another stream's.
    pub(super) fn restart(&mut self, now: Instant) {
        let last_packet = self.last_packet;
        self.next = 0;
        self.filled = 0;
        self.current = Interval::default();
        self.poor = None;
        self.silence_since = None;
        self.listening_since = Some(now);
        self.last_packet = last_packet;
    }

    /// Ends an interval. Returns the verdict and the loss over the window, 0 to 1.
    pub(super) fn close_interval(
        &mut self,
        now: Instant,
        is_expected: bool,
        jitter_us: u32,
        thresholds: &QualityThresholds,
    ) -> (Verdict, f32) {
        let interval = self.last_close.map_or(Duration::from_millis(100), |last| now.saturating_duration_since(last));
        self.last_close = Some(now);
        self.ring[self.next] = std::mem::take(&mut self.current);
        self.next = (self.next + 1) % MAX_INTERVALS;
        self.filled = (self.filled + 1).min(MAX_INTERVALS);
        if !is_expected {
            self.listening_since = None;
            self.poor = None;
            return (Verdict::Unknown, 0.0);
        }
        let since = *self.listening_since.get_or_insert(now);
        let quiet_since = self.last_packet.map_or(since, |last| last.max(since));
        let quiet = now.saturating_duration_since(quiet_since);
        if self.silence_since.is_some_and(|at| now.saturating_duration_since(at) < SILENCE_GRACE) {
            return (Verdict::Unknown, 0.0);
        }
        if quiet >= thresholds.dead_after {
            return (Verdict::Dead, 1.0);
        }
        let (loss, enough) = self.loss_over(thresholds.window, interval);
        (self.judge(loss, enough, jitter_us, thresholds), loss)
    }

    fn judge(&mut self, loss: f32, enough: bool, jitter_us: u32, thresholds: &QualityThresholds) -> Verdict {
        let jitter = Duration::from_micros(u64::from(jitter_us));
        if !enough {
            return self.poor.map_or(Verdict::Good, Verdict::Poor);
        }
        self.poor = match self.poor {
            Some(FallbackTrigger::Loss) if loss >= thresholds.loss_good => Some(FallbackTrigger::Loss),
            Some(FallbackTrigger::Jitter) if jitter >= thresholds.jitter_good => Some(FallbackTrigger::Jitter),
            _ if loss >= thresholds.loss_poor => Some(FallbackTrigger::Loss),
            _ if jitter >= thresholds.jitter_poor => Some(FallbackTrigger::Jitter),
            _ => None,
        };
        self.poor.map_or(Verdict::Good, Verdict::Poor)
    }

    fn loss_over(&self, window: Duration, interval: Duration) -> (f32, bool) {
        let wanted = (window.as_micros() / interval.as_micros().max(1)) as usize;
        let count = wanted.clamp(1, self.filled);
        let (mut expected, mut received) = (0u32, 0u32);
        for back in 1..=count {
            let one = self.ring[(self.next + MAX_INTERVALS - back) % MAX_INTERVALS];
            expected += u32::from(one.expected);
            received += u32::from(one.received);
        }
        let lost = expected.saturating_sub(received);
        let loss = if expected == 0 { 0.0 } else { lost as f32 / expected as f32 };
        (loss, expected >= MIN_PACKETS)
    }
}

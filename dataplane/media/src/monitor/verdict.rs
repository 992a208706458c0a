//! From figures to a verdict: a sliding window with hysteresis, and what silence means (calls.md 6, edge.md 8).
//!
//! It triggers nothing: hold-down and fallback are decided by the call.

use std::time::{Duration, Instant};

use tollgate_contract::{FallbackTrigger, QualityThresholds};

/// After a packet that announced silence, no media is *unknown*, not dead, for so long (calls.md 6).
pub const SILENCE_IS_UNKNOWN: Duration = Duration::from_secs(30);
/// Samples kept; the window is cut into fewer steps, so that the oldest always lies within.
const SAMPLES: usize = 64;
/// Steps of the window.
const STEPS: u32 = 50;

/// How the media of one side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the thresholds.
    Good,
    /// Over a threshold, and not yet back under the lower one.
    Poor(FallbackTrigger),
    /// It stopped although it is expected.
    Dead,
    /// Nothing to judge: none came yet, or its sender announced silence.
    Unknown,
}

/// Cumulative figures at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_ms: u32,
    expected: u32,
    received: u32,
}

/// When things were last heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) packet: Option<Instant>,
    pub(super) rtcp: Option<Instant>,
    pub(super) announced_silence: bool,
}

/// Figures since the monitor started; differences alone matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) expected: u64,
    pub(super) received: u64,
    pub(super) jitter: Duration,
}

/// The sliding window and the hysteresis of one direction.
#[derive(Clone, Debug)]
pub(super) struct VerdictWindow {
    samples: [Sample; SAMPLES],
    oldest: usize,
    len: usize,
    poor: Option<FallbackTrigger>,
    origin: Instant,
    expected_since: Instant,
}

impl VerdictWindow {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            samples: [Sample::default(); SAMPLES],
            oldest: 0,
            len: 0,
            poor: None,
            origin: now,
            expected_since: now,
        }
    }

    /// Starts over: nothing before `now` counts.
    pub(super) fn reset(&mut self, now: Instant) {
        (self.len, self.poor, self.expected_since) = (0, None, now);
    }

    /// The verdict and the loss over the window, 0 to 1.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        figures: Figures,
        heard: Heard,
        thresholds: &QualityThresholds,
    ) -> (Verdict, f32) {
        let loss = self.slide(now, figures, thresholds.window);
        self.apply_hysteresis(loss, figures.jitter, thresholds);
        let verdict = self
            .silence(now, heard, thresholds)
            .unwrap_or(match (self.poor, heard.packet) {
                (Some(trigger), _) => Verdict::Poor(trigger),
                (None, Some(_)) => Verdict::Good,
                (None, None) => Verdict::Unknown,
            });
        (verdict, loss.unwrap_or(0.0))
    }

    /// Moves the window on; the loss within it, or `None` while it covers less than half of its length.
    fn slide(&mut self, now: Instant, figures: Figures, window: Duration) -> Option<f32> {
        let window_ms = u32::try_from(window.as_millis()).unwrap_or(u32::MAX).max(1);
        let sample = Sample {
            at_ms: now.saturating_duration_since(self.origin).as_millis() as u32,
            expected: figures.expected as u32,
            received: figures.received as u32,
        };
        while self.len > 0 && sample.at_ms.wrapping_sub(self.samples[self.oldest].at_ms) > window_ms {
            self.oldest = (self.oldest + 1) % SAMPLES;
            self.len -= 1;
        }
        let newest = self.samples[(self.oldest + self.len + SAMPLES - 1) % SAMPLES];
        if self.len == 0 || sample.at_ms.wrapping_sub(newest.at_ms) >= window_ms / STEPS {
            self.push(sample);
        }
        let first = self.samples[self.oldest];
        if sample.at_ms.wrapping_sub(first.at_ms) < window_ms / 2 {
            return None;
        }
        let expected = sample.expected.wrapping_sub(first.expected);
        let received = sample.received.wrapping_sub(first.received);
        let lost = (expected.wrapping_sub(received) as i32).max(0);
        Some(if expected == 0 {
            0.0
        } else {
            (lost as f32 / expected as f32).min(1.0)
        })
    }

    fn push(&mut self, sample: Sample) {
        if self.len == SAMPLES {
            self.oldest = (self.oldest + 1) % SAMPLES;
            self.len -= 1;
        }
        self.samples[(self.oldest + self.len) % SAMPLES] = sample;
        self.len += 1;
    }

    fn apply_hysteresis(&mut self, loss: Option<f32>, jitter: Duration, thresholds: &QualityThresholds) {
        let Some(loss) = loss else { return };
        if loss >= thresholds.loss_poor {
            self.poor.get_or_insert(FallbackTrigger::Loss);
        } else if jitter >= thresholds.jitter_poor {
            self.poor.get_or_insert(FallbackTrigger::Jitter);
        } else if loss < thresholds.loss_good && jitter < thresholds.jitter_good {
            self.poor = None;
        }
    }

    /// What it means that nothing came for a while; `None` if something did.
    fn silence(&self, now: Instant, heard: Heard, thresholds: &QualityThresholds) -> Option<Verdict> {
        let since = heard
            .packet
            .map_or(self.expected_since, |at| at.max(self.expected_since));
        if now.saturating_duration_since(since) < thresholds.dead_after {
            return None;
        }
        let sign_of_life = heard.rtcp.map_or(since, |at| at.max(since));
        let is_unknown = heard.announced_silence && now.saturating_duration_since(sign_of_life) < SILENCE_IS_UNKNOWN;
        Some(if is_unknown { Verdict::Unknown } else { Verdict::Dead })
    }
}

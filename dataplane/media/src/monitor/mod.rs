//! Quality of what is received from one side, by the packets alone (RFC 3550 A.1, A.3, A.8; RFC 3611 §4.7).
//!
//! It sends no reports and reads none; it sees authenticated packets only, and its memory does not grow.

pub mod burst;
pub mod emodel;
pub mod jitter;
pub mod sequence;
mod verdict;

use std::time::{Duration, Instant};

use tollgate_contract::{DirectionQuality, QualityThresholds};

use crate::codec::{CodecHint, CodecModel, PayloadKind};
use crate::wire::RtpView;
use burst::{BurstGap, BurstTotals};
use emodel::Impairment;
use jitter::{JitterEstimator, arrival_units};
use sequence::{Arrival, SequenceStats};
use verdict::{Figures, Heard, VerdictWindow};
pub use verdict::{SILENCE_IS_UNKNOWN, Verdict};

/// Packets that may still arrive late before a missing one counts as lost in the burst statistics.
const REORDER_HORIZON: u32 = 32;
/// A jump of a sender's timestamps beyond this is a new time line, not jitter.
const TIME_LINE_JUMP: Duration = Duration::from_secs(1);
/// One-way delay assumed for R where nothing measures it; twice the jitter is added for the far jitter buffer.
const ASSUMED_ONE_WAY_MS: f64 = 50.0;

/// Watches one direction of a flow.
#[derive(Clone, Debug)]
pub struct Monitor {
    origin: Instant,
    ssrc: Option<u32>,
    sequence: SequenceStats,
    jitter: JitterEstimator,
    clock_rate_hz: u32,
    receipts: Receipts,
    model: CodecModel,
    packets: u64,
    bytes: u64,
    /// Of streams that ended: by SSRC change, restart or change of direction.
    expected_before: u64,
    unique: u64,
    duplicates: u64,
    reordered: u64,
    jitter_max_us: u32,
    heard: Heard,
    window: VerdictWindow,
}

impl Monitor {
    /// A monitor for media expected from `now` on.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            origin: now,
            ssrc: None,
            sequence: SequenceStats::default(),
            jitter: JitterEstimator::default(),
            clock_rate_hz: 8000,
            receipts: Receipts::default(),
            model: CodecModel::Unknown,
            packets: 0,
            bytes: 0,
            expected_before: 0,
            unique: 0,
            duplicates: 0,
            reordered: 0,
            jitter_max_us: 0,
            heard: Heard {
                packet: None,
                rtcp: None,
                announced_silence: false,
            },
            window: VerdictWindow::new(now),
        }
    }

    /// Takes an authenticated RTP packet; `wire_len` is its length as received, in bytes.
    pub fn on_rtp(&mut self, now: Instant, packet: &RtpView<'_>, wire_len: usize, codecs: &CodecHint) {
        let header = packet.header();
        let codec = codecs.codec(header.payload_type);
        if self.ssrc != Some(header.ssrc) {
            self.begin_stream();
            self.ssrc = Some(header.ssrc);
        }
        self.packets += 1;
        self.bytes += wire_len as u64;
        self.heard.packet = Some(now);
        self.heard.announced_silence = codec.is_silence(packet.payload().len());
        self.on_sequence(header.sequence);
        match codec.kind {
            PayloadKind::Media => {
                self.model = codec.model;
                self.on_timestamp(now, header.timestamp, codec.clock_rate_hz);
            }
            PayloadKind::ComfortNoise => self.on_timestamp(now, header.timestamp, codec.clock_rate_hz),
            PayloadKind::TelephoneEvent => {}
        }
    }

    /// Takes note of an authenticated RTCP packet: its sender is alive.
    pub fn on_rtcp(&mut self, now: Instant) {
        self.heard.rtcp = Some(now);
    }

    /// The direction in the SDP changed: what came before does not count for the verdict (calls.md 6).
    pub fn reset_verdict(&mut self, now: Instant) {
        self.begin_stream();
        self.ssrc = None;
        self.heard.announced_silence = false;
        self.window.reset(now);
    }

    /// Reads the verdict, the loss over the window (0 to 1) and the jitter; called every monitoring interval.
    pub fn poll_verdict(&mut self, now: Instant, thresholds: &QualityThresholds) -> (Verdict, f32, u32) {
        let jitter_us = self.jitter_us();
        let figures = Figures {
            expected: self.expected(),
            received: self.unique,
            jitter: Duration::from_micros(u64::from(jitter_us)),
        };
        let (verdict, loss) = self.window.poll(now, figures, self.heard, thresholds);
        (verdict, loss, jitter_us)
    }

    /// When the last packet came.
    #[must_use]
    pub fn last_packet(&self) -> Option<Instant> {
        self.heard.packet
    }

    /// Bursts and gaps so far.
    #[must_use]
    pub fn bursts(&self) -> BurstTotals {
        self.receipts.clone().finish()
    }

    /// All figures so far.
    #[must_use]
    pub fn quality(&self) -> DirectionQuality {
        let bursts = self.bursts();
        let expected = self.expected();
        let lost = expected.saturating_sub(self.unique);
        let jitter_us = self.jitter_us();
        let loss_percent = if expected == 0 {
            0.0
        } else {
            lost as f64 * 100.0 / expected as f64
        };
        let one_way_ms = ASSUMED_ONE_WAY_MS + 2.0 * f64::from(jitter_us) / 1000.0;
        let by = Impairment {
            one_way_ms,
            loss_percent,
            burst_ratio: bursts.burst_ratio(),
        };
        let r = emodel::rating(self.model.equipment(), by).clamp(-100.0, 100.0);
        DirectionQuality {
            packets: self.packets,
            bytes: self.bytes,
            expected,
            lost,
            duplicates: self.duplicates,
            reordered: self.reordered,
            longest_burst: bursts.longest_loss_run,
            jitter_us,
            jitter_max_us: self.jitter_max_us,
            r_factor: r as f32,
            mos: emodel::mos(r) as f32,
            codec: self.model.name(),
        }
    }

    fn on_sequence(&mut self, sequence: u16) {
        let expected = self.sequence.expected();
        match self.sequence.on_packet(sequence) {
            Arrival::First => {
                self.expected_before += expected;
                self.receipts.advance(1);
                self.unique += 1;
            }
            Arrival::Ahead(steps) => {
                self.receipts.advance(u32::from(steps));
                self.unique += 1;
            }
            Arrival::Behind(steps) => {
                if self.receipts.mark(steps) {
                    self.reordered += 1;
                    self.unique += 1;
                } else {
                    self.duplicates += 1;
                }
            }
            Arrival::Suspect => {}
        }
    }

    fn on_timestamp(&mut self, now: Instant, timestamp: u32, clock_rate_hz: u32) {
        if self.clock_rate_hz != clock_rate_hz {
            self.clock_rate_hz = clock_rate_hz;
            self.jitter = JitterEstimator::default();
        }
        let arrival_us = now.saturating_duration_since(self.origin).as_micros() as u64;
        let arrival = arrival_units(arrival_us, clock_rate_hz);
        let deviation = u64::from(self.jitter.deviation(timestamp, arrival));
        if deviation > u64::from(clock_rate_hz) * TIME_LINE_JUMP.as_secs() {
            self.jitter.re_anchor();
        }
        self.jitter.on_packet(timestamp, arrival);
        self.jitter_max_us = self.jitter_max_us.max(self.jitter_us());
    }

    fn begin_stream(&mut self) {
        self.expected_before += self.sequence.expected();
        self.sequence = SequenceStats::default();
        self.jitter = JitterEstimator::default();
    }

    fn expected(&self) -> u64 {
        self.expected_before + self.sequence.expected()
    }

    fn jitter_us(&self) -> u32 {
        (self.jitter.jitter() * 1e6 / f64::from(self.clock_rate_hz)) as u32
    }
}

/// Which of the latest packets came, until those missing are given up and counted.
#[derive(Clone, Debug, Default)]
struct Receipts {
    /// Bit n is set if the packet n behind the newest came.
    came: u128,
    /// How many of those bits are not yet counted.
    pending: u32,
    bursts: BurstGap,
}

impl Receipts {
    /// The newest packet is `steps` ahead of the last newest.
    fn advance(&mut self, steps: u32) {
        while self.pending > 0 && self.pending + steps > u128::BITS {
            self.count_oldest();
        }
        if steps > u128::BITS {
            self.bursts.on_lost(steps - 1);
            (self.came, self.pending) = (1, 1);
            return;
        }
        self.came = self.came.checked_shl(steps).unwrap_or(0) | 1;
        self.pending += steps;
        while self.pending > REORDER_HORIZON {
            self.count_oldest();
        }
    }

    /// A packet so far behind the newest came; `false` if it had come before.
    fn mark(&mut self, behind: u16) -> bool {
        let bit = 1_u128.checked_shl(u32::from(behind)).unwrap_or(0);
        let is_new = self.came & bit == 0;
        self.came |= bit;
        is_new
    }

    fn count_oldest(&mut self) {
        self.pending -= 1;
        if self.came >> self.pending & 1 == 1 {
            self.bursts.on_received()
        } else {
            self.bursts.on_lost(1)
        }
    }

    fn finish(mut self) -> BurstTotals {
        while self.pending > 0 {
            self.count_oldest();
        }
        self.bursts.totals()
    }
}

#[cfg(test)]
mod tests;

//! Quality from the packets themselves: sequence numbers and timestamps, nothing a party claims.
//!
//! One [`Monitor`] hears one direction of one stream. It is plain numbers, reads no clock and allocates nothing.

mod burst;
mod emodel;
mod jitter;
mod sequence;
mod verdict;

pub use burst::{BurstGap, BurstReport, Fate};
pub use emodel::{Rating, effective_impairment, mos_of_r, rate, rate_simple};
pub use jitter::Jitter;
pub use sequence::{Arrival, Sequence};
pub use verdict::{Verdict, VerdictWindow};

use std::time::Instant;

use tollgate_contract::{DirectionQuality, QualityThresholds};

use crate::codec::{CodecHint, CodecModel};
use crate::wire::RtpHeader;

/// One-way delay assumed where it is not measured, milliseconds: a call within a continent with its jitter buffer.
const ASSUMED_DELAY_MS: f64 = 100.0;

/// What one side sends of one stream.
#[derive(Clone, Debug)]
pub struct Monitor {
    ssrc: Option<u32>,
    sequence: Sequence,
    jitter: Jitter,
    clock_rate: u32,
    epoch: Option<Instant>,
    packets: u64,
    bytes: u64,
    expected_before: u64,
    lost_before: u64,
    longest_burst: u32,
    duplicates_before: u64,
    reordered_before: u64,
    model: CodecModel,
    window: VerdictWindow,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            ssrc: None,
            sequence: Sequence::default(),
            jitter: Jitter::default(),
            clock_rate: 8_000,
            epoch: None,
            packets: 0,
            bytes: 0,
            expected_before: 0,
            lost_before: 0,
            longest_burst: 0,
            duplicates_before: 0,
            reordered_before: 0,
            model: CodecModel::OTHER,
            window: VerdictWindow::default(),
        }
    }
}

impl Monitor {
    /// An RTP packet of this direction, plain, `len` bytes long.
    pub fn on_packet(&mut self, now: Instant, header: &RtpHeader, len: usize, codec: &CodecHint) {
        if self.ssrc != Some(header.ssrc) {
            self.on_new_source(header.ssrc);
        }
        self.packets += 1;
        self.bytes += len as u64;
        let clock_rate = codec.clock_rate(header.payload_type);
        let is_silence = codec.is_silence(header.payload_type, len.saturating_sub(header.len));
        let arrival = self.sequence.on_packet(header.sequence);
        if arrival == Arrival::Restart {
            self.jitter = Jitter::default();
        }
        if !is_silence && arrival != Arrival::Duplicate {
            let epoch = *self.epoch.get_or_insert(now);
            if clock_rate != self.clock_rate {
                self.clock_rate = clock_rate;
                self.jitter = Jitter::default();
            }
            self.jitter.on_packet(header.timestamp, now.saturating_duration_since(epoch).as_micros() as u64, clock_rate);
            self.model = codec.model(header.payload_type);
        }
        self.window.on_packet(now, arrival, is_silence);
    }

    /// Signalling changed what is to be heard: the window begins anew.
    pub fn on_media_changed(&mut self, now: Instant) {
        self.window.restart(now);
    }

    /// The verdict at the end of a monitoring interval, with the loss over its window and the jitter in microseconds.
    pub fn verdict(&mut self, now: Instant, expected: bool, thresholds: &QualityThresholds) -> (Verdict, f32, u32) {
        let jitter_us = self.jitter_us();
        let (verdict, loss) = self.window.close_interval(now, expected, jitter_us, thresholds);
        (verdict, loss, jitter_us)
    }

    /// When the last packet came.
    #[must_use]
    pub fn last_packet(&self) -> Option<Instant> {
        self.window.last_packet()
    }

    /// The quality so far.
    #[must_use]
    pub fn quality(&self) -> DirectionQuality {
        let expected = self.expected_before + self.sequence.expected();
        let lost = self.lost_before + self.sequence.lost();
        let loss_percent = if expected == 0 { 0.0 } else { 100.0 * lost as f64 / expected as f64 };
        let rating = rate(self.model, ASSUMED_DELAY_MS, loss_percent, 1.0);
        DirectionQuality {
            packets: self.packets,
            bytes: self.bytes,
            expected,
            lost,
            duplicates: self.duplicates_before + self.sequence.duplicates(),
            reordered: self.reordered_before + self.sequence.reordered(),
            longest_burst: self.longest_burst.max(self.sequence.longest_burst()),
            jitter_us: self.jitter_us(),
            jitter_max_us: self.jitter.peak_us(self.clock_rate),
            r_factor: rating.r as f32,
            mos: rating.mos as f32,
            codec: self.model.name,
        }
    }

    fn jitter_us(&self) -> u32 {
        self.jitter.us(self.clock_rate)
    }

    /// A device that changes its SSRC starts a new sequence; what was counted is kept.
    fn on_new_source(&mut self, ssrc: u32) {
        self.ssrc = Some(ssrc);
        self.expected_before += self.sequence.expected();
        self.lost_before += self.sequence.lost();
        self.duplicates_before += self.sequence.duplicates();
        self.reordered_before += self.sequence.reordered();
        self.longest_burst = self.longest_burst.max(self.sequence.longest_burst());
        self.sequence = Sequence::default();
        self.jitter = Jitter::default();
    }
}

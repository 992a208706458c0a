//! Interarrival jitter (RFC 3550 §6.4.1, A.8).
//!
//! Arrival is taken in whole timestamp units; the caller decides which packets count.

/// The estimator of RFC 3550 A.8, as a real number and in the integer form printed there.
#[derive(Clone, Copy, Debug, Default)]
pub struct JitterEstimator {
    transit: Option<u32>,
    jitter: f64,
    peak: f64,
    scaled: u32,
}

impl JitterEstimator {
    /// Takes the next packet: its timestamp and its arrival, both in timestamp units.
    pub fn on_packet(&mut self, timestamp: u32, arrival: u32) {
        let transit = arrival.wrapping_sub(timestamp);
        let Some(before) = self.transit.replace(transit) else {
            return;
        };
        let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
        self.jitter += (f64::from(difference) - self.jitter) / 16.0;
        self.peak = self.peak.max(self.jitter);
        self.scaled = self
            .scaled
            .wrapping_add(difference)
            .wrapping_sub(self.scaled.wrapping_add(8) >> 4);
    }

    /// How far this packet's transit differs from the last one's, in timestamp units; 0 for the first.
    #[must_use]
    pub fn deviation(&self, timestamp: u32, arrival: u32) -> u32 {
        let transit = arrival.wrapping_sub(timestamp);
        self.transit
            .map_or(0, |before| (transit.wrapping_sub(before) as i32).unsigned_abs())
    }

    /// Forgets the last transit but not the jitter: the next packet starts a new time line.
    pub fn re_anchor(&mut self) {
        self.transit = None;
    }

    /// Jitter now, in timestamp units.
    #[must_use]
    pub const fn jitter(&self) -> f64 {
        self.jitter
    }

    /// The greatest jitter so far, in timestamp units.
    #[must_use]
    pub const fn peak(&self) -> f64 {
        self.peak
    }

    /// Jitter as a receiver report carries it, by the integer arithmetic of A.8.
    #[must_use]
    pub const fn reported(&self) -> u32 {
        self.scaled >> 4
    }
}

/// An arrival in timestamp units: floor(µs · rate / 10^6), modulo 2^32.
#[must_use]
pub fn arrival_units(arrival_us: u64, clock_rate_hz: u32) -> u32 {
    (u128::from(arrival_us) * u128::from(clock_rate_hz) / 1_000_000) as u32
}

//! Interarrival jitter (RFC 3550 §6.4.1, A.8).

/// The estimator, in timestamp units.
#[derive(Clone, Debug, Default)]
pub struct Jitter {
    transit: Option<i64>,
    scaled: i64,
    float: f64,
    peak: f64,
}

impl Jitter {
    /// A packet with this timestamp, arrived so many microseconds after some fixed moment.
    pub fn on_packet(&mut self, timestamp: u32, arrival_us: u64, clock_rate: u32) {
        let arrival = (u128::from(arrival_us) * u128::from(clock_rate) / 1_000_000) as u32;
        // Differences are taken modulo 2^32, as timestamps wrap.
        let transit = i64::from(arrival.wrapping_sub(timestamp) as i32);
        if let Some(before) = self.transit.replace(transit) {
            let difference = i64::from((transit as i32).wrapping_sub(before as i32)).abs();
            // A.8: jitter is kept times 16, so that integers lose nothing.
            self.scaled += difference - ((self.scaled + 8) >> 4);
            self.float += (difference as f64 - self.float) / 16.0;
            self.peak = self.peak.max(self.float);
        }
    }

    /// The estimate as RTCP reports it (A.8).
    #[must_use]
    pub fn integer(&self) -> u32 {
        (self.scaled >> 4) as u32
    }

    /// The estimate without rounding, timestamp units.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.float
    }

    /// The greatest estimate so far, timestamp units.
    #[must_use]
    pub fn peak(&self) -> f64 {
        self.peak
    }

    /// The estimate, microseconds.
    #[must_use]
    pub fn us(&self, clock_rate: u32) -> u32 {
        to_us(self.float, clock_rate)
    }

    /// The greatest estimate, microseconds.
    #[must_use]
    pub fn peak_us(&self, clock_rate: u32) -> u32 {
        to_us(self.peak, clock_rate)
    }
}

fn to_us(units: f64, clock_rate: u32) -> u32 {
    (units * 1e6 / f64::from(clock_rate.max(1))) as u32
}

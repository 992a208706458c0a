//! Bursts and gaps of loss, by the definition of RFC 3611 §4.7.2, not the counting shortcut of its appendix A.2.
//!
//! A burst is a longest run of packets that starts and ends with a lost or discarded one and holds fewer than Gmin
//! received ones in a row; a loss alone among Gmin received packets on both sides belongs to the gap. The start and
//! the end of the stream count as received.

/// RFC 3611 §4.7.2: the recommended Gmin.
pub const DEFAULT_GMIN: u32 = 16;

/// Counts while packets come; [`totals`](Self::totals) may be read at any time.
#[derive(Clone, Copy, Debug)]
pub struct BurstGap {
    gmin: u32,
    totals: BurstTotals,
    /// Received in a row since the last loss.
    received_run: u64,
    /// Packets from the first loss of what may become a burst to the last, and how many of them are bad.
    open_packets: u64,
    open_bad: u64,
    is_in_gap: bool,
    loss_run: u32,
}

/// The figures of a VoIP metrics report block, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BurstTotals {
    /// All packets.
    pub packets: u64,
    /// Lost ones.
    pub lost: u64,
    /// Received too late or twice.
    pub discarded: u64,
    /// Number of bursts.
    pub bursts: u64,
    /// Packets within bursts.
    pub burst_packets: u64,
    /// Lost or discarded within bursts.
    pub burst_bad: u64,
    /// Number of gaps.
    pub gaps: u64,
    /// Packets within gaps.
    pub gap_packets: u64,
    /// Lost or discarded within gaps.
    pub gap_bad: u64,
    /// Runs of consecutive lost packets.
    pub loss_runs: u64,
    /// The longest of them, in packets.
    pub longest_loss_run: u32,
}

impl Default for BurstGap {
    fn default() -> Self {
        Self::new(DEFAULT_GMIN)
    }
}

impl BurstGap {
    /// Counts with this Gmin, in packets.
    #[must_use]
    pub fn new(gmin: u32) -> Self {
        Self {
            gmin,
            totals: BurstTotals::default(),
            received_run: 0,
            open_packets: 0,
            open_bad: 0,
            is_in_gap: false,
            loss_run: 0,
        }
    }

    /// A packet was received.
    pub fn on_received(&mut self) {
        self.totals.packets += 1;
        self.received_run += 1;
        self.loss_run = 0;
    }

    /// So many packets in a row were lost.
    pub fn on_lost(&mut self, count: u32) {
        if count == 0 {
            return;
        }
        self.totals.lost += u64::from(count);
        if self.loss_run == 0 {
            self.totals.loss_runs += 1;
        }
        self.loss_run = self.loss_run.saturating_add(count);
        self.totals.longest_loss_run = self.totals.longest_loss_run.max(self.loss_run);
        self.on_bad(u64::from(count));
    }

    /// A packet was received and thrown away.
    pub fn on_discarded(&mut self) {
        self.totals.discarded += 1;
        self.loss_run = 0;
        self.on_bad(1);
    }

    /// The figures as if the stream ended here.
    #[must_use]
    pub fn totals(&self) -> BurstTotals {
        let mut end = *self;
        end.close();
        end.totals
    }

    fn on_bad(&mut self, count: u64) {
        self.totals.packets += count;
        if self.open_bad > 0 && self.received_run < u64::from(self.gmin) {
            self.open_packets += self.received_run + count;
            self.open_bad += count;
        } else {
            self.close();
            (self.open_packets, self.open_bad) = (count, count);
        }
        self.received_run = 0;
    }

    /// Decides what the open run is, and adds the received packets behind it to the gap.
    fn close(&mut self) {
        if self.open_bad == 1 {
            self.add_to_gap(1, 1);
        } else if self.open_bad > 1 {
            self.totals.bursts += 1;
            self.totals.burst_packets += self.open_packets;
            self.totals.burst_bad += self.open_bad;
            self.is_in_gap = false;
        }
        self.add_to_gap(self.received_run, 0);
        (self.open_packets, self.open_bad, self.received_run) = (0, 0, 0);
    }

    fn add_to_gap(&mut self, packets: u64, bad: u64) {
        if packets == 0 {
            return;
        }
        if !self.is_in_gap {
            self.totals.gaps += 1;
            self.is_in_gap = true;
        }
        self.totals.gap_packets += packets;
        self.totals.gap_bad += bad;
    }
}

impl BurstTotals {
    /// Lost packets in 256ths, rounded down (RFC 3611 §4.7.1).
    #[must_use]
    pub fn loss_rate_256(&self) -> u8 {
        in_256ths(self.lost, self.packets)
    }

    /// Discarded packets in 256ths, rounded down (RFC 3611 §4.7.1).
    #[must_use]
    pub fn discard_rate_256(&self) -> u8 {
        in_256ths(self.discarded, self.packets)
    }

    /// Share of bad packets within bursts, 0 to 1.
    #[must_use]
    pub fn burst_density(&self) -> f64 {
        ratio(self.burst_bad, self.burst_packets)
    }

    /// Share of bad packets within gaps, 0 to 1.
    #[must_use]
    pub fn gap_density(&self) -> f64 {
        ratio(self.gap_bad, self.gap_packets)
    }

    /// Mean length of a burst, in packets.
    #[must_use]
    pub fn mean_burst_packets(&self) -> f64 {
        ratio(self.burst_packets, self.bursts)
    }

    /// Mean length of a gap, in packets.
    #[must_use]
    pub fn mean_gap_packets(&self) -> f64 {
        ratio(self.gap_packets, self.gaps)
    }

    /// Mean length of a loss run over that of random loss at the same rate, never below 1 (ITU-T G.107 §3.5).
    #[must_use]
    pub fn burst_ratio(&self) -> f64 {
        let loss = ratio(self.lost, self.packets);
        (ratio(self.lost, self.loss_runs) * (1.0 - loss)).max(1.0)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn in_256ths(part: u64, whole: u64) -> u8 {
    (part * 256)
        .checked_div(whole)
        .map_or(0, |rate| u8::try_from(rate).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_run_and_burst_ratio_follow_consecutive_losses() {
        let mut counts = BurstGap::default();
        (0..80).for_each(|_| counts.on_received());
        counts.on_lost(3);
        counts.on_lost(2);
        (0..10).for_each(|_| counts.on_received());
        counts.on_lost(5);
        let totals = counts.totals();
        assert_eq!((totals.longest_loss_run, totals.loss_runs, totals.lost), (5, 2, 10));
        assert!((totals.burst_ratio() - 4.5).abs() < 1e-9, "{}", totals.burst_ratio());
    }

    #[test]
    fn reading_the_totals_changes_nothing() {
        let mut counts = BurstGap::default();
        counts.on_lost(1);
        assert_eq!(counts.totals().bursts, 0);
        counts.on_received();
        counts.on_lost(1);
        assert_eq!((counts.totals().bursts, counts.totals().burst_packets), (1, 3));
    }
}

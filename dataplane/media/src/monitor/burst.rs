//! Bursts and gaps of loss (RFC 3611 §4.7.2, by its definition rather than the counting shortcut of its appendix).
//!
//! A burst is the longest run that begins and ends with a lost or discarded packet and in which fewer than Gmin packets
//! in a row were received; everything else is gap.

/// What became of a packet, in order of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It came in time.
    Received,
    /// It never came.
    Lost,
    /// It came too late or too early to be played.
    Discarded,
}

/// The counts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BurstReport {
    /// Packets in all.
    pub packets: u64,
    /// Lost packets.
    pub lost: u64,
    /// Discarded packets.
    pub discarded: u64,
    /// Bursts.
    pub bursts: u64,
    /// Packets in bursts.
    pub burst_packets: u64,
    /// Lost or discarded packets in bursts.
    pub burst_bad: u64,
    /// Gaps.
    pub gaps: u64,
    /// Packets in gaps.
    pub gap_packets: u64,
    /// Lost or discarded packets in gaps.
    pub gap_bad: u64,
}

/// Counts bursts and gaps packet by packet.
#[derive(Clone, Debug)]
pub struct BurstGap {
    gmin: u64,
    report: BurstReport,
    /// The run under way since the last loss that may still become a burst: its packets and losses.
    run: Option<(u64, u64)>,
    received_since: u64,
    in_gap: bool,
}

impl BurstGap {
    /// Gmin is 16 by default (RFC 3611 §4.7.2).
    #[must_use]
    pub fn new(gmin: u64) -> Self {
        Self { gmin, report: BurstReport::default(), run: None, received_since: 0, in_gap: false }
    }

    /// The next packet's fate.
    pub fn on_packet(&mut self, fate: Fate) {
        self.report.packets += 1;
        match fate {
            Fate::Received => self.on_received(),
            Fate::Lost => {
                self.report.lost += 1;
                self.on_bad();
            }
            Fate::Discarded => {
                self.report.discarded += 1;
                self.on_bad();
            }
        }
    }

    /// The counts, as if the stream ended here.
    #[must_use]
    pub fn report(&self) -> BurstReport {
        let mut end = self.clone();
        end.close_run();
        if end.received_since > 0 {
            end.add_gap(end.received_since, 0);
        }
        end.report
    }

    fn on_received(&mut self) {
        self.received_since += 1;
        if self.run.is_some() && self.received_since >= self.gmin {
            self.close_run();
        }
    }

    fn on_bad(&mut self) {
        match &mut self.run {
            Some((packets, bad)) => {
                *packets += self.received_since + 1;
                *bad += 1;
            }
            None => {
                if self.received_since > 0 {
                    self.add_gap(self.received_since, 0);
                }
                self.run = Some((1, 1));
            }
        }
        self.received_since = 0;
    }

    /// A run of a single bad packet is no burst: it belongs to the gap around it.
    fn close_run(&mut self) {
        match self.run.take() {
            Some((_, 1)) => self.add_gap(1, 1),
            Some((packets, bad)) => {
                self.report.bursts += 1;
                self.report.burst_packets += packets;
                self.report.burst_bad += bad;
                self.in_gap = false;
            }
            None => {}
        }
    }

    fn add_gap(&mut self, packets: u64, bad: u64) {
        if !self.in_gap {
            self.in_gap = true;
            self.report.gaps += 1;
        }
        self.report.gap_packets += packets;
        self.report.gap_bad += bad;
    }
}

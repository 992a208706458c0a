//! Sequence numbers: how many packets were sent, lost, repeated, out of order (RFC 3550 §6.4.1, A.1, A.3).

/// RFC 3550 A.1: a forward jump of this many or more is a restart, not loss.
const MAX_DROPOUT: u16 = 3_000;

/// How far back a packet may come late and still be told from a repetition.
const LATE: u64 = 128;

/// What a packet's number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one, or later ones with this many missing in between.
    Forward(u16),
    /// Late: it was counted as lost until now.
    Late,
    /// Received before.
    Duplicate,
    /// The sender began anew.
    Restart,
    /// Too far from all that was seen; the next one tells.
    Odd,
}

/// The sequence of one source.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    base: Option<u64>,
    highest: u64,
    seen: u128,
    received: u64,
    duplicates: u64,
    reordered: u64,
    bad_next: Option<u16>,
    expected_before: u64,
    received_before: u64,
    longest_burst: u32,
}

impl Sequence {
    /// A packet with this number.
    pub fn on_packet(&mut self, sequence: u16) -> Arrival {
        if self.base.is_none() {
            self.begin(sequence);
            return Arrival::Forward(0);
        }
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead == 0 {
            self.duplicates += 1;
            return Arrival::Duplicate;
        }
        if ahead < MAX_DROPOUT {
            return self.on_forward(ahead);
        }
        let behind = u64::from(self.highest as u16).wrapping_sub(u64::from(sequence)) & 0xffff;
        if behind < LATE {
            return self.on_late(behind);
        }
        // RFC 3550 A.1: two in a row that far away mean that the other side has restarted.
        if self.bad_next == Some(sequence) {
            self.expected_before = self.expected();
            self.received_before = self.received_in_order();
            self.begin(sequence);
            return Arrival::Restart;
        }
        self.bad_next = Some(sequence.wrapping_add(1));
        Arrival::Odd
    }

    /// Packets the sender has sent, by its numbers.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.expected_before + self.base.map_or(0, |base| self.highest - base + 1)
    }

    /// Packets received, repetitions included (RFC 3550 A.3).
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received_before + self.received + self.duplicates
    }

    /// Expected less received without repetitions, never below 0.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received_in_order())
    }

    /// Expected less received with repetitions, as RTCP reports it; may be negative (RFC 3550 A.3).
    #[must_use]
    pub fn cumulative_lost(&self) -> i64 {
        self.expected() as i64 - self.received() as i64
    }

    /// The extended highest sequence number.
    #[must_use]
    pub fn extended_highest(&self) -> u64 {
        self.highest
    }

    /// Repetitions.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets that came after a later one.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Longest run of numbers missing when the next came.
    #[must_use]
    pub fn longest_burst(&self) -> u32 {
        self.longest_burst
    }

    fn received_in_order(&self) -> u64 {
        self.received_before + self.received
    }

    fn begin(&mut self, sequence: u16) {
        self.base = Some(u64::from(sequence));
        self.highest = u64::from(sequence);
        self.seen = 1;
        self.received = 1;
        self.bad_next = None;
    }

    fn on_forward(&mut self, ahead: u16) -> Arrival {
        self.highest += u64::from(ahead);
        self.seen = self.seen.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
        self.received += 1;
        self.bad_next = None;
        self.longest_burst = self.longest_burst.max(u32::from(ahead) - 1);
        Arrival::Forward(ahead - 1)
    }

    fn on_late(&mut self, behind: u64) -> Arrival {
        let bit = 1u128 << behind;
        if self.seen & bit != 0 {
            self.duplicates += 1;
            return Arrival::Duplicate;
        }
        self.seen |= bit;
        self.received += 1;
        self.reordered += 1;
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_reordering_and_repetition_are_told_apart() {
        let mut sequence = Sequence::default();
        let arrivals: Vec<Arrival> = [10, 11, 14, 13, 13, 15].into_iter().map(|n| sequence.on_packet(n)).collect();
        let expected =
            [Arrival::Forward(0), Arrival::Forward(0), Arrival::Forward(2), Arrival::Late, Arrival::Duplicate, Arrival::Forward(0)];
        assert_eq!(arrivals, expected);
        assert_eq!((sequence.expected(), sequence.lost(), sequence.duplicates(), sequence.reordered()), (6, 1, 1, 1));
        assert_eq!(sequence.longest_burst(), 2);
    }

    #[test]
    fn a_wrap_goes_on_and_a_restart_begins_anew() {
        let mut sequence = Sequence::default();
        [65_534, 65_535, 0, 1].into_iter().for_each(|n| drop_copy(sequence.on_packet(n)));
        assert_eq!((sequence.expected(), sequence.lost(), sequence.extended_highest()), (4, 0, 65_537));
        assert_eq!(sequence.on_packet(30_000), Arrival::Odd);
        assert_eq!(sequence.on_packet(30_001), Arrival::Restart);
        assert_eq!(sequence.lost(), 0);
    }

    fn drop_copy(_: Arrival) {}
}

//! Sequence numbers: what was received, expected and lost (RFC 3550 A.1, A.3).
//!
//! A stream starts with its first packet: there is no probation, as a source is authenticated or signalled already.

/// RFC 3550 A.1 `MAX_DROPOUT`: a larger jump ahead is a restart of the sender.
const MAX_DROPOUT: u16 = 3000;
/// RFC 3550 A.1 `MAX_MISORDER`: a packet further behind is a restart of the sender.
const MAX_MISORDER: u16 = 100;

/// What a packet is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first of a stream, or of one that started anew.
    First,
    /// So many steps ahead of the newest, 1 if none was lost.
    Ahead(u16),
    /// So many steps behind the newest, 0 for the newest again.
    Behind(u16),
    /// A jump too large to be believed until the next packet confirms it; not counted.
    Suspect,
}

/// The state of RFC 3550 A.1 and the figures of A.3 for one source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceStats {
    has_started: bool,
    base: u16,
    max: u16,
    cycles: u32,
    awaited: Option<u16>,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
}

impl SequenceStats {
    /// Takes the next packet in order of arrival.
    pub fn on_packet(&mut self, sequence: u16) -> Arrival {
        if !self.has_started {
            return self.start(sequence);
        }
        let ahead = sequence.wrapping_sub(self.max);
        if ahead == 0 || ahead > u16::MAX - MAX_MISORDER {
            self.received += 1;
            return Arrival::Behind(self.max.wrapping_sub(sequence));
        }
        if ahead < MAX_DROPOUT {
            if sequence < self.max {
                self.cycles = self.cycles.wrapping_add(1);
            }
            self.max = sequence;
            self.received += 1;
            return Arrival::Ahead(ahead);
        }
        if self.awaited == Some(sequence) {
            return self.start(sequence);
        }
        self.awaited = Some(sequence.wrapping_add(1));
        Arrival::Suspect
    }

    fn start(&mut self, sequence: u16) -> Arrival {
        *self = Self {
            has_started: true,
            base: sequence,
            max: sequence,
            received: 1,
            ..Self::default()
        };
        Arrival::First
    }

    /// Packets received since the stream started, copies included.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// The highest sequence number with its cycles (RFC 3550 §6.4.1).
    #[must_use]
    pub const fn extended_highest_seq(&self) -> u64 {
        (self.cycles as u64) << 16 | self.max as u64
    }

    /// Packets the sequence numbers say were sent (RFC 3550 A.3).
    #[must_use]
    pub const fn expected(&self) -> u64 {
        if self.has_started {
            self.extended_highest_seq() - self.base as u64 + 1
        } else {
            0
        }
    }

    /// Expected less received; copies make it negative (RFC 3550 A.3).
    #[must_use]
    pub const fn cumulative_lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// Loss since the last call, in 256ths (RFC 3550 A.3).
    pub fn fraction_lost(&mut self) -> u8 {
        let expected = self.expected() - self.expected_prior;
        let received = self.received - self.received_prior;
        (self.expected_prior, self.received_prior) = (self.expected(), self.received);
        match expected.checked_sub(received) {
            Some(lost) if expected > 0 => u8::try_from((lost << 8) / expected).unwrap_or(u8::MAX),
            Some(_) | None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_is_believed_at_its_second_packet() {
        let mut stats = SequenceStats::default();
        stats.on_packet(50_000);
        assert_eq!(stats.on_packet(100), Arrival::Suspect);
        assert_eq!(stats.on_packet(50_001), Arrival::Ahead(1));
        assert_eq!(stats.received(), 2);
        assert_eq!(stats.on_packet(101), Arrival::First);
        assert_eq!((stats.received(), stats.expected()), (1, 1));
    }

    #[test]
    fn fraction_lost_counts_from_report_to_report() {
        let mut stats = SequenceStats::default();
        for sequence in [1, 2, 3, 5] {
            stats.on_packet(sequence);
        }
        assert_eq!(stats.fraction_lost(), 51, "1 of 5");
        assert_eq!(stats.fraction_lost(), 0, "nothing since");
        stats.on_packet(7);
        assert_eq!(stats.fraction_lost(), 128, "1 of 2");
    }
}

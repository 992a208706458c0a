//! When each stream sends: every stream once a period, at a place in it that stays its own.
//!
//! Places are random but the same in every run, so that all relays see the same pattern of arrivals.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The beat of all streams.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Place in the period, in 2^32nds, and the stream; in order.
    beats: Vec<(u32, usize)>,
    period_ns: u64,
    next: usize,
    start_ns: u64,
    cycle_start_ns: u64,
}

impl Schedule {
    /// A schedule of so many streams; it starts with [`Self::start`].
    pub(super) fn new(streams: usize) -> Self {
        let mut places = StdRng::seed_from_u64(SEED);
        let mut beats: Vec<(u32, usize)> = (0..streams).map(|stream| (places.random(), stream)).collect();
        beats.sort_unstable();
        Self {
            beats,
            period_ns: 1,
            next: 0,
            start_ns: 0,
            cycle_start_ns: 0,
        }
    }

    /// Starts anew at this time and rate of all streams together.
    pub(super) fn start(&mut self, now: u64, packets_per_second: f64) {
        self.period_ns = (self.beats.len() as f64 / packets_per_second * 1e9).max(1.0) as u64;
        self.next = 0;
        self.start_ns = now;
        self.cycle_start_ns = now;
    }

    /// When the next packet is due; never, if there are no streams.
    pub(super) fn peek(&self) -> u64 {
        let beat = self.beats.get(self.next);
        beat.map_or(u64::MAX, |(place, _)| self.cycle_start_ns + self.offset(*place))
    }

    /// Takes the next packet if it is due: when it was, and its stream.
    pub(super) fn next_due(&mut self, now: u64) -> Option<(u64, usize)> {
        let due = self.peek();
        let (_, stream) = *self.beats.get(self.next).filter(|_| due <= now)?;
        self.next += 1;
        if self.next == self.beats.len() {
            self.next = 0;
            self.cycle_start_ns += self.period_ns;
        }
        Some((due, stream))
    }

    /// Packets due from the start to this time.
    pub(super) fn due_until(&self, end: u64) -> u64 {
        let lasted = end.saturating_sub(self.start_ns);
        let (cycles, rest) = (lasted / self.period_ns, lasted % self.period_ns);
        let begun = self
            .beats
            .iter()
            .filter(|(place, _)| self.offset(*place) < rest)
            .count();
        cycles * self.beats.len() as u64 + begun as u64
    }

    fn offset(&self, place: u32) -> u64 {
        ((u128::from(self.period_ns) * u128::from(place)) >> 32) as u64
    }
}

/// Any number; the same for all relays.
const SEED: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_sends_once_a_period_and_on_its_own_beat() {
        let mut schedule = Schedule::new(50);
        schedule.start(1_000, 2_500.0);
        let mut sent: Vec<Vec<u64>> = vec![Vec::new(); 50];
        while let Some((due, stream)) = schedule.next_due(1_000 + 60_000_000) {
            sent[stream].push(due);
        }
        for times in &sent {
            assert!(times.len() >= 3, "{times:?}");
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 20_000_000));
        }
    }

    #[test]
    fn count_of_what_was_due_is_what_was_taken() {
        let mut schedule = Schedule::new(7);
        schedule.start(0, 350.0);
        for end in [0, 1, 9_999_999, 20_000_000, 33_000_000, 1_000_000_000] {
            let mut taken = Schedule::new(7);
            taken.start(0, 350.0);
            let mut count = 0;
            while end > 0 && taken.next_due(end - 1).is_some() {
                count += 1;
            }
            assert_eq!(schedule.due_until(end), count, "until {end}");
        }
        assert!(schedule.next_due(u64::MAX / 2).is_some());
    }

    #[test]
    fn schedule_without_streams_is_never_due() {
        let mut schedule = Schedule::new(0);
        schedule.start(0, 1.0);
        assert_eq!((schedule.peek(), schedule.next_due(u64::MAX)), (u64::MAX, None));
    }
}

//! A bad network, the same one for the same seed: loss, delay, reordering, duplicates.
//!
//! It holds packets in virtual time and touches none of their bytes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What the network does to packets. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Share of packets lost, 0 to 1.
    pub loss: f64,
    /// Share of packets delivered twice, 0 to 1.
    pub duplicates: f64,
    /// Every packet is late by this much.
    pub delay: Duration,
    /// And by a random further time below this; it reorders.
    pub jitter: Duration,
}

/// One direction of a network.
#[derive(Debug)]
pub struct Netem {
    rng: StdRng,
    /// What is done to packets sent from now on.
    pub impairment: Impairment,
    on_the_way: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
}

impl Netem {
    /// A network that does the same for the same seed.
    #[must_use]
    pub fn new(seed: u64, impairment: Impairment) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            impairment,
            on_the_way: BTreeMap::new(),
            sent: 0,
        }
    }

    /// A packet enters.
    pub fn send(&mut self, now: Instant, packet: &[u8]) {
        if self.rng.random::<f64>() < self.impairment.loss {
            return;
        }
        let copies = 1 + u32::from(self.rng.random::<f64>() < self.impairment.duplicates);
        for _ in 0..copies {
            let further = self.impairment.jitter.mul_f64(self.rng.random::<f64>());
            self.sent += 1;
            self.on_the_way
                .insert((now + self.impairment.delay + further, self.sent), packet.to_vec());
        }
    }

    /// The next packet that has arrived by now.
    pub fn arrived(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.on_the_way.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_loses_the_same_packets() {
        let impairment = Impairment {
            loss: 0.3,
            jitter: Duration::from_millis(80),
            duplicates: 0.05,
            ..Impairment::default()
        };
        let run = |seed| {
            let start = crate::clock::start();
            let mut net = Netem::new(seed, impairment);
            (0..200u8).for_each(|number| net.send(start + Duration::from_millis(20) * number.into(), &[number]));
            let mut got = Vec::new();
            while let Some(packet) = net.arrived(start + Duration::from_secs(60)) {
                got.push(packet[0]);
            }
            got
        };
        let first = run(7);
        assert_eq!(first, run(7));
        assert_ne!(first, run(8));
        assert!((110..180).contains(&first.len()), "{}", first.len());
        assert!(first.windows(2).any(|two| two[0] > two[1]), "jitter reorders");
    }
}

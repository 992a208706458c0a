//! What may happen to a datagram on a bad path.
//!
//! It models no bandwidth and no bursts: each packet's fate is drawn by itself, from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Which datagrams suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Toward {
    /// All.
    #[default]
    Both,
    /// Those toward the edge with this index.
    Edge(usize),
}

/// How bad the path is. Ratios are 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Impairment {
    /// Share of packets lost.
    pub loss_ratio: f64,
    /// Delay of every packet, to the millisecond.
    pub delay: Duration,
    /// Up to so much more, evenly spread; packets may overtake each other.
    pub jitter: Duration,
    /// Share of packets with one byte changed.
    pub corrupt_ratio: f64,
    /// Which packets.
    pub toward: Toward,
}

/// What happens to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Drop,
    Pass { delay: Duration, corrupt_at: Option<usize> },
}

/// The impairment in force and its generator.
#[derive(Debug)]
pub(super) struct Impairer {
    impairment: Option<Impairment>,
    random: StdRng,
}

impl Impairer {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            impairment: None,
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) const fn set(&mut self, impairment: Option<Impairment>) {
        self.impairment = impairment;
    }

    pub(super) fn fate(&mut self, toward: usize) -> Fate {
        let untouched = Fate::Pass {
            delay: Duration::ZERO,
            corrupt_at: None,
        };
        let Some(impairment) = self.impairment else {
            return untouched;
        };
        match impairment.toward {
            Toward::Edge(edge) if edge != toward => return untouched,
            Toward::Both | Toward::Edge(_) => {}
        }
        if self.random.random_bool(impairment.loss_ratio.clamp(0.0, 1.0)) {
            return Fate::Drop;
        }
        let is_corrupt = self.random.random_bool(impairment.corrupt_ratio.clamp(0.0, 1.0));
        let corrupt_at = is_corrupt.then(|| self.random.random_range(0..=usize::from(u16::MAX)));
        let delay = impairment.delay + impairment.jitter.mul_f64(self.random.random::<f64>());
        Fate::Pass { delay, corrupt_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_what_was_asked_for_and_only_toward_the_edge_named() {
        let mut impairer = Impairer::new(1);
        impairer.set(Some(Impairment {
            loss_ratio: 0.3,
            toward: Toward::Edge(1),
            ..Impairment::default()
        }));
        let lost =
            |impairer: &mut Impairer, toward| (0..10_000).filter(|_| impairer.fate(toward) == Fate::Drop).count();
        let toward_named = lost(&mut impairer, 1);
        assert!((2_800..=3_200).contains(&toward_named), "{toward_named}");
        assert_eq!(lost(&mut impairer, 0), 0);
    }

    #[test]
    fn same_seed_gives_the_same_path() {
        let fates = |seed| {
            let mut impairer = Impairer::new(seed);
            let jitter = Duration::from_millis(20);
            impairer.set(Some(Impairment {
                loss_ratio: 0.1,
                jitter,
                ..Impairment::default()
            }));
            (0..100).map(|_| impairer.fate(0)).collect::<Vec<_>>()
        };
        assert_eq!(fates(5), fates(5));
        assert_ne!(fates(5), fates(6));
    }
}

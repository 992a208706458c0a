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
    /// Those toward one port of the edge with this index: one call's.
    Port(usize, u16),
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

/// The impairments in force and their generator.
#[derive(Debug)]
pub(super) struct Impairer {
    impairments: Vec<Impairment>,
    random: StdRng,
}

impl Impairer {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            impairments: Vec::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub(super) fn set(&mut self, impairments: Vec<Impairment>) {
        self.impairments = impairments;
    }

    /// Of a packet toward a port of an edge: the first impairment that is for it decides.
    pub(super) fn fate(&mut self, toward: usize, port: u16) -> Fate {
        let untouched = Fate::Pass {
            delay: Duration::ZERO,
            corrupt_at: None,
        };
        let is_for_it = |impairment: &&Impairment| match impairment.toward {
            Toward::Both => true,
            Toward::Edge(edge) => edge == toward,
            Toward::Port(edge, only) => (edge, only) == (toward, port),
        };
        let Some(impairment) = self.impairments.iter().find(is_for_it).copied() else {
            return untouched;
        };
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
        impairer.set(vec![Impairment {
            loss_ratio: 0.3,
            toward: Toward::Edge(1),
            ..Impairment::default()
        }]);
        let lost =
            |impairer: &mut Impairer, toward| (0..10_000).filter(|_| impairer.fate(toward, 1) == Fate::Drop).count();
        let toward_named = lost(&mut impairer, 1);
        assert!((2_800..=3_200).contains(&toward_named), "{toward_named}");
        assert_eq!(lost(&mut impairer, 0), 0);
    }

    #[test]
    fn two_calls_suffer_each_in_its_own_way_and_a_third_not_at_all() {
        let mut impairer = Impairer::new(2);
        let toward = |port, loss_ratio| Impairment {
            loss_ratio,
            toward: Toward::Port(0, port),
            ..Impairment::default()
        };
        impairer.set(vec![toward(1, 1.0), toward(2, 0.2)]);
        let mut lost = |edge, port| (0..1_000).filter(|_| impairer.fate(edge, port) == Fate::Drop).count();
        assert_eq!([lost(0, 1), lost(0, 3), lost(1, 1)], [1_000, 0, 0]);
        assert!((100..300).contains(&lost(0, 2)));
    }

    #[test]
    fn same_seed_gives_the_same_path() {
        let fates = |seed| {
            let mut impairer = Impairer::new(seed);
            let jitter = Duration::from_millis(20);
            impairer.set(vec![Impairment {
                loss_ratio: 0.1,
                jitter,
                ..Impairment::default()
            }]);
            (0..100).map(|_| impairer.fate(0, 1)).collect::<Vec<_>>()
        };
        assert_eq!(fates(5), fates(5));
        assert_ne!(fates(5), fates(6));
    }
}

//! Medians and spreads over the rounds, and the rows made of them.
//!
//! It measures nothing. Every ratio is ours divided by the peer's.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_contract::SrtpSuite;

use super::measure::{Idle, Most, Overload, Sample};
use super::relay::What;

/// Figures of all rounds.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// By suite (its place among all), calls and line.
    pub(crate) samples: BTreeMap<(usize, u16, usize), Vec<Sample>>,
    /// By line, at the most that the peer held in the same round.
    pub(crate) at_peers_most: BTreeMap<usize, Vec<Sample>>,
    /// By line.
    pub(crate) idle: BTreeMap<usize, Vec<Idle>>,
    /// By line.
    pub(crate) most: BTreeMap<usize, Vec<Most>>,
    /// By line.
    pub(crate) overload: BTreeMap<usize, Vec<Overload>>,
}

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The middle one, or the mean of both middle ones.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

/// What is compared: the peer, ours, and the floor under each of ours.
#[derive(Debug)]
pub(crate) struct Lines {
    /// All of them.
    pub(crate) all: Vec<What>,
    /// The place of the peer.
    pub(crate) peer: usize,
    /// The places of ours, each with its floor's.
    pub(crate) ours: Vec<(usize, Option<usize>)>,
}

/// Which row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowKey {
    /// Place among all suites.
    pub(crate) suite: usize,
    /// Calls.
    pub(crate) calls: u16,
    /// Place of ours.
    pub(crate) line: usize,
    /// Place of its floor.
    pub(crate) floor: Option<usize>,
}

impl Spread {
    /// Over these values; `None` if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
        Some(Self {
            median: f64::midpoint(*low, *high),
            min,
            max,
        })
    }

    /// Over the lower half of these values: the quieter rounds, where a latency is the relay's and not the machine's.
    pub(crate) fn of_quieter_half(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let quieter = values.len().div_ceil(2);
        Self::of(values.into_iter().take(quieter))
    }
}

impl Figures {
    /// A figure of a line at a load.
    pub(crate) fn spread(
        &self,
        (suite, calls, line): (usize, u16, usize),
        figure: impl Fn(&Sample) -> f64,
    ) -> Option<Spread> {
        Spread::of(self.samples.get(&(suite, calls, line))?.iter().map(figure))
    }

    /// The p99 of the quieter rounds, microseconds.
    pub(crate) fn p99(&self, (suite, calls, line): (usize, u16, usize)) -> Option<f64> {
        let samples = self.samples.get(&(suite, calls, line))?;
        Spread::of_quieter_half(samples.iter().map(|sample| sample.p99_us)).map(|spread| spread.median)
    }

    /// The most of a line, packets a second.
    pub(crate) fn most_pps(&self, line: usize) -> Option<Spread> {
        Spread::of(self.most.get(&line)?.iter().map(|most| most.packets_per_second))
    }

    /// Memory of a call, bytes: with `calls` calls and media, less the same program idle, over the calls.
    pub(crate) fn bytes_per_call(&self, line: usize) -> Option<f64> {
        let (calls, samples) = self.memory_samples(line)?;
        let full = Spread::of(samples.iter().map(|sample| sample.pss_bytes as f64))?.median;
        let idle = Spread::of(self.idle.get(&line)?.iter().map(|idle| idle.pss_bytes as f64))?.median;
        Some((full - idle) / f64::from(calls))
    }

    /// Descriptors of a call. An edge started for one call has that call's ports open already.
    pub(crate) fn descriptors_per_call(&self, what: What, line: usize) -> Option<f64> {
        let (calls, samples) = self.memory_samples(line)?;
        let full = Spread::of(samples.iter().map(|sample| sample.descriptors as f64))?.median;
        let idle = Spread::of(self.idle.get(&line)?.iter().map(|idle| idle.descriptors as f64))?.median;
        let more_calls = match what {
            What::Peer => calls,
            What::Edge { .. } | What::Floor { .. } => calls - 1,
        };
        Some((full - idle) / f64::from(more_calls.max(1)))
    }

    /// The longest a call took to be heard again, seconds; `None` if unknown or one never was.
    pub(crate) fn recovered_s(&self, line: usize) -> Option<f64> {
        let recoveries: Option<Vec<f64>> = self.overload.get(&line)?.iter().map(|over| over.recovered_s).collect();
        recoveries?.into_iter().reduce(f64::max)
    }

    /// Packets that were not as they were sent, anywhere.
    pub(crate) fn spoilt(&self) -> u64 {
        let loads = self.samples.values().chain(self.at_peers_most.values()).flatten();
        let overloads = self.overload.values().flatten();
        loads.map(|sample| sample.spoilt).sum::<u64>() + overloads.map(|over| over.spoilt).sum::<u64>()
    }

    /// Where memory is read: at [`MEMORY_CALLS`], or the most calls there were.
    fn memory_samples(&self, line: usize) -> Option<(u16, &Vec<Sample>)> {
        let usual = self
            .samples
            .iter()
            .filter(|((suite, _, of), _)| *suite == 0 && *of == line);
        let at_most = usual.filter(|((_, calls, _), _)| *calls <= MEMORY_CALLS);
        at_most
            .max_by_key(|((_, calls, _), _)| *calls)
            .map(|((_, calls, _), samples)| (*calls, samples))
    }

    /// One row of `--json`.
    pub(crate) fn row(&self, lines: &Lines, key: RowKey) -> Option<Value> {
        let at = |line| (key.suite, key.calls, line);
        let cpu = |line| {
            self.spread(at(line), |sample| sample.cpu_us)
                .map(|spread| spread.median)
        };
        let what = *lines.all.get(key.line)?;
        let (ours, peer) = (cpu(key.line)?, cpu(lines.peer)?);
        let most = |line| self.most_pps(line).map(|spread| spread.median);
        let bytes = |line| self.bytes_per_call(line);
        Some(json!({
            "calls": key.calls,
            "suite": SrtpSuite::ALL.get(key.suite)?.name(),
            "io_path": what.io_path(),
            "packets_per_cpu_second_ratio": peer / ours,
            "cpu_us_per_packet": ours,
            "peer_cpu_us_per_packet": peer,
            "floor_cpu_us_per_packet": key.floor.and_then(cpu),
            "added_latency_p50_us": self.spread(at(key.line), |sample| sample.p50_us)?.median,
            "added_latency_p99_us": self.p99(at(key.line)),
            "peer_latency_p99_us": self.p99(at(lines.peer)),
            "max_pps_ratio": ratio(most(key.line), most(lines.peer)),
            "bytes_per_call": bytes(key.line),
            "bytes_per_call_ratio": ratio(bytes(key.line), bytes(lines.peer)),
            "fds_per_call": self.descriptors_per_call(what, key.line),
            "loss": self.spread(at(key.line), |sample| sample.loss)?.median,
            "recovered_after_overload_s": self.recovered_s(key.line),
        }))
    }
}

fn ratio(ours: Option<f64>, peers: Option<f64>) -> Option<f64> {
    Some(ours? / peers?)
}

/// Calls at which memory is read.
pub(crate) const MEMORY_CALLS: u16 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_quieter_half_are_of_the_right_values() {
        let spread = Spread::of([5.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 5.0));
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
        let quiet = Spread::of_quieter_half([9.0, 1.0, 3.0, 8.0, 2.0]).unwrap();
        assert_eq!((quiet.median, quiet.max), (2.0, 3.0));
    }

    #[test]
    fn row_divides_ours_by_the_peers_and_packets_the_other_way_round() {
        let sample = |cpu_us, pss_bytes, descriptors| Sample {
            packets_per_second: 100.0,
            cpu_us,
            p50_us: 3.0,
            p99_us: 4.0,
            loss: 0.0,
            spoilt: 0,
            others: 0.0,
            late_p99_us: 1.0,
            is_generator_bound: false,
            pss_bytes,
            descriptors,
        };
        let idle = |pss_bytes, descriptors| Idle { pss_bytes, descriptors };
        let mut figures = Figures::default();
        figures.samples.insert((0, 11, 0), vec![sample(20.0, 3_200, 54)]);
        figures.samples.insert((0, 11, 1), vec![sample(8.0, 2_100, 64)]);
        figures.idle.insert(0, vec![idle(1_000, 10)]);
        figures.idle.insert(1, vec![idle(1_000, 24)]);
        let lines = Lines {
            all: vec![What::Peer, What::Edge { wait_us: 0 }],
            peer: 0,
            ours: vec![(1, None)],
        };
        let key = RowKey {
            suite: 0,
            calls: 11,
            line: 1,
            floor: None,
        };
        let row = figures.row(&lines, key).unwrap();
        assert_eq!(row["packets_per_cpu_second_ratio"], 2.5);
        assert_eq!(
            (&row["bytes_per_call"], &row["bytes_per_call_ratio"]),
            (&json!(100.0), &json!(0.5))
        );
        assert_eq!(
            (&row["fds_per_call"], &row["max_pps_ratio"]),
            (&json!(4.0), &Value::Null)
        );
        assert_eq!(row.as_object().unwrap().len(), 16);
    }
}

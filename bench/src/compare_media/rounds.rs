//! The order of measurements: round by round, point by point, relay by relay, each round starting with another relay.
//!
//! Two figures that are compared are taken within seconds of each other: what the machine does differs over minutes.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use tollgate_contract::SrtpSuite;

use super::figures::{Figures, Lines};
use super::measure::{self, LIMIT_CALLS};
use super::relay::{Place, Terms, What};
use super::{Options, PACKETS_PER_CALL};

/// What is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How often everything is measured.
    pub(crate) rounds: u32,
    /// Suites (places among all) and calls.
    points: Vec<(usize, u16)>,
    seconds: u64,
    has_limits: bool,
    has_idle: bool,
}

impl Plan {
    /// From what was asked for.
    pub(crate) fn of(options: &Options) -> Self {
        let usual: &[u16] = if options.quick {
            &[10, 100]
        } else {
            &[10, 100, 500, 1_000]
        };
        let calls = options.calls.clone().unwrap_or_else(|| usual.to_vec());
        let mut points: Vec<(usize, u16)> = calls.into_iter().map(|calls| (0, calls)).collect();
        if options.all {
            points.extend((1..SrtpSuite::ALL.len()).map(|suite| (suite, SUITES_AT)));
        }
        if options.limits_only {
            points.clear();
        }
        Self {
            rounds: options.rounds.unwrap_or(if options.quick { 2 } else { 5 }),
            has_idle: !points.is_empty(),
            points,
            seconds: if options.quick { 3 } else { 4 },
            has_limits: !options.quick,
        }
    }

    /// The most descriptors that this process or a relay opens.
    pub(crate) fn descriptors(&self) -> u64 {
        let limits = if self.has_limits { LIMIT_CALLS } else { 0 };
        let calls = self
            .points
            .iter()
            .map(|(_, calls)| *calls)
            .max()
            .unwrap_or(0)
            .max(limits);
        u64::from(calls) * DESCRIPTORS_PER_CALL + SPARE_DESCRIPTORS
    }
}

/// Measures everything.
///
/// # Errors
/// In words, when a relay does not do what it must.
pub(crate) fn measure(place: &Place, lines: &Lines, plan: &Plan) -> Result<Figures, String> {
    let mut figures = Figures::default();
    let progress = Progress::new();
    for round in 0..plan.rounds {
        let order = order(lines.all.len(), round);
        let told = |step: &str, line: usize| progress.tell(round + 1, plan.rounds, step, lines, line);
        for (suite, calls) in &plan.points {
            for line in &order {
                let what = what(lines, *line)?;
                // The floor knows no suite.
                if *suite > 0 && what.passes_in_clear() {
                    continue;
                }
                told(&format!("{calls} calls"), *line);
                let terms = Terms {
                    calls: *calls,
                    suite: SrtpSuite::ALL[*suite],
                };
                let rate = f64::from(u32::from(*calls) * PACKETS_PER_CALL);
                let sample = measure::at_load(place, what, terms, rate, Duration::from_secs(plan.seconds))?;
                figures.samples.entry((*suite, *calls, *line)).or_default().push(sample);
            }
        }
        if plan.has_idle {
            for line in order.iter().filter(|line| is_compared(lines, **line)) {
                told("idle", *line);
                let idle = measure::idle(place, what(lines, *line)?)?;
                figures.idle.entry(*line).or_default().push(idle);
            }
        }
        if plan.has_limits {
            limits(place, lines, &mut figures, &told)?;
        }
    }
    progress.end();
    Ok(figures)
}

/// One round of the most, ours at the peer's most, and the overload.
fn limits(place: &Place, lines: &Lines, figures: &mut Figures, told: &dyn Fn(&str, usize)) -> Result<(), String> {
    // Without draining the most is the same: a relay at its limit never waits.
    let ours = lines.ours.first().map(|(line, _)| *line);
    let both = [Some(lines.peer), ours];
    for line in both.into_iter().flatten() {
        let what = what(lines, line)?;
        told("maximum", line);
        // Near what the last round found, so that fewer rates must be tried.
        let first = figures.most_pps(line).map_or(FIRST_RATE, |most| most.median * 0.8);
        let most = measure::most(place, what, first)?;
        figures.most.entry(line).or_default().push(most);
        told("overload", line);
        let overload = measure::overload(place, what, most.packets_per_second)?;
        figures.overload.entry(line).or_default().push(overload);
    }
    let last = |line: &usize| figures.most.get(line).and_then(|most| most.last()).copied();
    let Some(peers) = last(&lines.peer) else { return Ok(()) };
    for line in both.into_iter().flatten() {
        told("at the peer's maximum", line);
        let (rate, duration) = (peers.packets_per_second, Duration::from_secs(3));
        let sample = measure::at_load(place, what(lines, line)?, Terms::usual(LIMIT_CALLS), rate, duration)?;
        figures.at_peers_most.entry(line).or_default().push(sample);
    }
    Ok(())
}

fn what(lines: &Lines, line: usize) -> Result<What, String> {
    lines.all.get(line).copied().ok_or_else(|| format!("no line {line}"))
}

/// Whether memory is compared: the floor keeps no state.
fn is_compared(lines: &Lines, line: usize) -> bool {
    lines.all.get(line).is_some_and(|what| !what.passes_in_clear())
}

/// All lines, from another one in each round.
fn order(lines: usize, round: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..lines).collect();
    order.rotate_left(round as usize % lines.max(1));
    order
}

/// Tells a terminal what is going on, one line that overwrites itself.
struct Progress {
    is_terminal: bool,
    started: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            started: Instant::now(),
        }
    }

    fn tell(&self, round: u32, rounds: u32, step: &str, lines: &Lines, line: usize) {
        if !self.is_terminal {
            return;
        }
        let name = lines.all.get(line).map_or_else(String::new, |what| what.name());
        let seconds = self.started.elapsed().as_secs();
        eprint!("\r\x1b[K{seconds:>4} s  round {round} of {rounds}  {step}: {name}");
        // A terminal that is gone needs no progress.
        let _ = std::io::stderr().flush();
    }

    fn end(&self) {
        if self.is_terminal {
            eprintln!("\r\x1b[Kmeasured in {} s", self.started.elapsed().as_secs());
        }
    }
}

/// Packets a second with which the search for the maximum begins.
const FIRST_RATE: f64 = 40_000.0;

/// Calls with which suites are compared.
const SUITES_AT: u16 = 500;

/// An edge opens four a call.
const DESCRIPTORS_PER_CALL: u64 = 4;

/// Beside those: an edge counts the connections it may have.
const SPARE_DESCRIPTORS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_starts_with_another_line_and_has_all() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [1, 2, 0]);
        assert_eq!(order(3, 5), [2, 0, 1]);
    }
}

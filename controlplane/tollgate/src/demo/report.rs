//! What was tried, what should happen, and what happened.
//!
//! It only collects and compares; writing it out is the table's and the JSON's part.

use std::time::Duration;

use tollgate_peers::relay::RelayCounters;

use super::calls::{Baseline, Batch};
use super::fallback::Moved;
use super::hold::Held;
use super::quality::Records;
use super::refusals::Refusal;

/// One line of the result.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What was tried.
    pub(super) what: String,
    /// What should happen.
    pub(super) expected: String,
    /// What happened.
    pub(super) happened: String,
    /// Whether the two agree.
    pub(super) is_right: bool,
}

/// The numbers of the run; those of calls and RTP are of the good calls alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) calls_attempted: u64,
    pub(super) calls_completed: u64,
    pub(super) rtp_sent: u64,
    pub(super) rtp_received: u64,
    pub(super) rtp_lost: u64,
    pub(super) rtp_mismatched: u64,
    pub(super) outside_packets_seen: u64,
    pub(super) outside_cleartext_packets: u64,
    pub(super) refusals_expected: u64,
    pub(super) refusals_correct: u64,
    pub(super) ticketless_calls_reaching_agent: u64,
    pub(super) fallback_refers: u64,
    pub(super) fallback_seconds_from_impairment: f64,
    /// One-way delay in microseconds without the edges, median and 99th percentile.
    pub(super) latency_without_edges_us: [u64; 2],
    /// The same with them.
    pub(super) latency_with_edges_us: [u64; 2],
}

/// The result of a run.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) figures: Figures,
    pub(super) records: Records,
    /// From the first file written to the last finding.
    pub(super) duration: Duration,
}

impl Figures {
    /// Delay the two edges add, median and 99th percentile: the difference of the quantiles, never below 0.
    pub(super) fn added_latency_us(&self) -> [u64; 2] {
        let pairs = self.latency_with_edges_us.iter().zip(self.latency_without_edges_us);
        let mut added = pairs.map(|(with, without)| with.saturating_sub(without));
        [added.next().unwrap_or_default(), added.next().unwrap_or_default()]
    }
}

impl Report {
    /// Whether something was tried and everything happened as it should.
    pub(super) fn is_right(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.is_right)
    }

    pub(super) fn on_self_test(&mut self, is_flagged: bool) {
        let happened = if is_flagged { "both flagged" } else { "not flagged" };
        self.row(
            "the network is shown a plain RTP packet and a plain INVITE",
            "both flagged as clear",
            happened,
            is_flagged,
        );
    }

    pub(super) fn on_baseline(&mut self, baseline: &Baseline) {
        let batch = &baseline.batch;
        self.figures.latency_without_edges_us = QUANTILES.map(|quantile| batch.latency_us(quantile));
        let calls = batch.attempted;
        let is_right = batch.failures.is_empty()
            && batch.lost() == 0
            && batch.mismatched() == 0
            && baseline.flagged_packets == batch.sent()
            && baseline.flagged_texts > 0;
        self.row(
            &format!("{calls} calls at once without the edges, in plain RTP"),
            "all up, none lost, every packet flagged as clear",
            &format!(
                "{} up, {} lost, {} of {} packets flagged{}",
                batch.completed(),
                batch.lost(),
                baseline.flagged_packets,
                batch.sent(),
                first_of(&batch.failures)
            ),
            is_right,
        );
    }

    pub(super) fn on_good_calls(&mut self, batch: &Batch) {
        let figures = &mut self.figures;
        figures.calls_attempted = batch.attempted;
        figures.calls_completed = batch.completed();
        figures.rtp_sent = batch.sent();
        figures.rtp_received = batch.received();
        figures.rtp_lost = batch.lost();
        figures.rtp_mismatched = batch.mismatched();
        figures.latency_with_edges_us = QUANTILES.map(|quantile| batch.latency_us(quantile));
        let (up, sent, lost, other) = (batch.completed(), batch.sent(), batch.lost(), batch.mismatched());
        let is_complete = batch.failures.is_empty() && batch.attempted > 0 && up == batch.attempted;
        self.row(
            &format!(
                "{} calls at once through both edges, 5 s of G.711 each way",
                batch.attempted
            ),
            "all come up, talk and end",
            &format!("{up} did{}", first_of(&batch.failures)),
            is_complete,
        );
        self.row(
            "their payloads, compared bit for bit",
            "none lost, none changed",
            &format!("{sent} sent, {lost} lost, {other} changed"),
            sent > 0 && lost == 0 && other == 0,
        );
    }

    pub(super) fn on_refusals(&mut self, refusals: &[Refusal]) {
        self.figures.refusals_expected = refusals.len() as u64;
        self.figures.refusals_correct = refusals.iter().filter(|refusal| refusal.is_right).count() as u64;
        for refusal in refusals {
            self.row(&refusal.what, refusal.expected, &refusal.happened, refusal.is_right);
        }
    }

    pub(super) fn on_hold(&mut self, held: &Result<Held, String>) {
        let (happened, is_right) = match held {
            Ok(held) => {
                let Held {
                    during: [by_caller, by_called],
                    after: [again, again_called],
                    spoiled,
                    ..
                } = held;
                let happened = format!(
                    "held: {by_caller} and {by_called} packets; resumed: {again} and {again_called}; {spoiled} lost or changed"
                );
                (happened, held.is_right())
            }
            Err(why) => (why.clone(), false),
        };
        self.row(
            "a hold and a resume",
            "held: music one way only; resumed: both ways; none lost or changed",
            &happened,
            is_right,
        );
    }

    pub(super) fn on_fallback(&mut self, moved: &Result<Moved, String>) {
        let (happened, is_right) = match moved {
            Ok(moved) => {
                self.figures.fallback_refers = moved.refers;
                self.figures.fallback_seconds_from_impairment = moved.since_impairment.as_secs_f64();
                let happened = format!(
                    "{} REFER after {:.1} s at {:.0} % loss{}{}",
                    moved.refers,
                    moved.since_impairment.as_secs_f64(),
                    moved.loss_ratio * 100.0,
                    if moved.names_number { "" } else { ", for another number" },
                    if moved.has_ended {
                        "; call ended"
                    } else {
                        "; call not ended"
                    },
                );
                (happened, moved.is_right())
            }
            Err(why) => (why.clone(), false),
        };
        self.row(
            "the path spoiled to 30 % loss in mid call, hold-down 20 s",
            "one REFER after 20 to 26 s; the call ends",
            &happened,
            is_right,
        );
    }

    pub(super) fn on_records(&mut self, records: Records) {
        let trigger = records.trigger.as_deref().unwrap_or("none");
        let is_right = records.expected > 0 && records.found == records.expected && trigger == "loss";
        let happened = format!("{} of {}; fallback: {trigger}", records.found, records.expected);
        self.row(
            "call records of both edges",
            "two a call; fallback: loss",
            &happened,
            is_right,
        );
        self.records = records;
    }

    pub(super) fn on_network(&mut self, counters: &RelayCounters) {
        let figures = &mut self.figures;
        figures.outside_packets_seen = counters.udp_packets.iter().sum();
        figures.outside_cleartext_packets = counters.cleartext_packets + counters.cleartext_texts;
        let (seen, clear) = (figures.outside_packets_seen, figures.outside_cleartext_packets);
        let is_all_of_it = seen >= figures.rtp_sent;
        let connections: u64 = counters.tcp_connections.iter().sum();
        self.row(
            "what the network between the edges saw",
            "packets, and nothing in clear",
            &format!("{seen} packets, {connections} connections, {clear} times clear text"),
            is_all_of_it && clear == 0,
        );
    }

    pub(super) fn on_strangers(&mut self, strangers: &[String]) {
        self.figures.ticketless_calls_reaching_agent = strangers.len() as u64;
        let happened = format!("{} did{}", strangers.len(), first_of(strangers));
        self.row(
            "calls without a good ticket at the agents",
            "none reaches one",
            &happened,
            strangers.is_empty(),
        );
    }

    pub(super) fn on_edges(&mut self, dead: &[String]) {
        let happened = if dead.is_empty() {
            "both run".to_owned()
        } else {
            dead.join("; ")
        };
        self.row("the edges at the end", "both run", &happened, dead.is_empty());
    }

    fn row(&mut self, what: &str, expected: &str, happened: &str, is_right: bool) {
        self.rows.push(Row {
            what: what.to_owned(),
            expected: expected.to_owned(),
            happened: happened.to_owned(),
            is_right,
        });
    }
}

fn first_of(failures: &[String]) -> String {
    failures
        .first()
        .map_or_else(String::new, |first| format!("; first: {first}"))
}

/// Median and 99th percentile.
const QUANTILES: [f64; 2] = [0.5, 0.99];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_right_only_if_something_was_tried_and_all_of_it_went_well() {
        let mut report = Report::default();
        assert!(!report.is_right());
        report.on_self_test(true);
        assert!(report.is_right());
        report.on_strangers(&["+12125550140".to_owned()]);
        assert!(!report.is_right());
        assert_eq!(report.figures.ticketless_calls_reaching_agent, 1);
    }

    #[test]
    fn clear_text_outside_is_a_failure_and_so_is_a_network_that_saw_too_little() {
        let seen = |packets: u64, clear: u64| {
            let mut report = Report::default();
            report.figures.rtp_sent = 100;
            report.on_network(&RelayCounters {
                udp_packets: vec![packets, 0],
                cleartext_packets: clear,
                ..RelayCounters::default()
            });
            report.is_right()
        };
        assert!(seen(100, 0));
        assert!(!seen(100, 1));
        assert!(!seen(99, 0));
    }

    #[test]
    fn added_latency_is_a_difference_and_never_negative() {
        let figures = Figures {
            latency_without_edges_us: [100, 900],
            latency_with_edges_us: [180, 800],
            ..Figures::default()
        };
        assert_eq!(figures.added_latency_us(), [80, 0]);
    }
}

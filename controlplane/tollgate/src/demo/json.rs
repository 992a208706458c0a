//! The result for programs.

use serde_json::{Value, json};

use super::Outcome;
use super::report::Report;

/// One object with the figures of a run, zeros where it did not come to its end.
pub(super) fn object(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Judged(report) => figures(report, None),
        Outcome::Broken(why) => figures(&Report::default(), Some(why)),
        Outcome::Interrupted => figures(&Report::default(), Some("interrupted")),
    }
}

fn figures(report: &Report, failure: Option<&str>) -> Value {
    let figures = &report.figures;
    let [added_p50, added_p99] = figures.added_latency_us();
    let failed = report.rows.iter().filter(|row| !row.is_right);
    json!({
        "calls_attempted": figures.calls_attempted,
        "calls_completed": figures.calls_completed,
        "rtp_sent": figures.rtp_sent,
        "rtp_received": figures.rtp_received,
        "rtp_lost": figures.rtp_lost,
        "rtp_mismatched": figures.rtp_mismatched,
        "outside_packets_seen": figures.outside_packets_seen,
        "outside_cleartext_packets": figures.outside_cleartext_packets,
        "refusals_expected": figures.refusals_expected,
        "refusals_correct": figures.refusals_correct,
        "ticketless_calls_reaching_agent": figures.ticketless_calls_reaching_agent,
        "fallback_refers": figures.fallback_refers,
        "fallback_seconds_from_impairment": figures.fallback_seconds_from_impairment,
        "added_latency_us_p50": added_p50,
        "added_latency_us_p99": added_p99,
        "latency_us_with_edges": figures.latency_with_edges_us,
        "latency_us_without_edges": figures.latency_without_edges_us,
        "duration_seconds": report.duration.as_secs_f64(),
        "failed": failed.map(|row| format!("{}: {}", row.what, row.happened)).collect::<Vec<_>>(),
        "error": failure,
        "ok": failure.is_none() && report.is_right(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_did_not_end_is_not_ok() {
        let mut report = Report::default();
        report.on_self_test(true);
        assert_eq!(object(&Outcome::Judged(Box::new(report)))["ok"], true);
        let broken = object(&Outcome::Interrupted);
        assert_eq!(
            (&broken["ok"], &broken["error"]),
            (&json!(false), &json!("interrupted"))
        );
    }
}

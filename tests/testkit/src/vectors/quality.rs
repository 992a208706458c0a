//! Loss and jitter (RFC 3550 A.3, A.8), bursts and gaps (RFC 3611 §4.7.2), and ratings (ITU-T G.107).
//!
//! Does not run the behaviour of the fallback: that needs a path that loses and delays, not a value to compare.

use std::path::Path;

use serde_json::Value;
use tollgate_media::monitor::burst::BurstGap;
use tollgate_media::monitor::emodel::{
    Equipment, Impairment, delay_impairment_of, effective_equipment, mos, rating, simple_rating,
};
use tollgate_media::monitor::jitter::{JitterEstimator, arrival_units};
use tollgate_media::monitor::sequence::SequenceStats;

use super::fields::{self, Checked, as_number, field, list, malformed, near, number, real, same, text};
use super::report::SuiteReport;

/// Of jitter and densities: the files print six digits.
const PRINTED: f64 = 1e-5;
/// Of the terms of R, which the files print to three digits.
const TERM_OF_R: f64 = 0.001;
const R: f64 = 0.1;
const MOS: f64 = 0.01;

pub(super) fn run(folder: &Path, report: &mut SuiteReport) {
    fields::run_folder(
        folder,
        report,
        &[
            ("edge-jitter/1", |file| {
                file.each("cases", |_, case| jitter_and_loss(case))
            }),
            ("edge-burst/1", |file| {
                file.each("cases", |_, case| bursts_and_gaps(case))
            }),
            ("edge-emodel/1", |file| {
                file.each("cases", |_, case| ratings(case));
                file.each("r_to_mos", |_, pair| opinion_score(pair));
            }),
            ("edge-fallback/1", |file| file.skip()),
        ],
    );
}

fn jitter_and_loss(case: &Value) -> Checked {
    let (mut sequence, mut jitter) = (SequenceStats::default(), JitterEstimator::default());
    let rate = number(case, "clock_rate")?;
    for packet in list(case, "packets_seq_ts_arrival_us")? {
        let Some([seq, timestamp, arrival_us]) = packet.as_array().map(Vec::as_slice) else {
            return Err(malformed("a packet is not sequence, timestamp and arrival"));
        };
        sequence.on_packet(as_number(seq, "a sequence number")?);
        let arrival = arrival_units(as_number(arrival_us, "an arrival")?, rate);
        jitter.on_packet(as_number(timestamp, "a timestamp")?, arrival);
    }
    let expected = field(case, "expected")?;
    for (name, actual) in [
        ("received", sequence.received()),
        ("extended_highest_seq", sequence.extended_highest_seq()),
        ("expected", sequence.expected()),
        ("fraction_lost_first_report", u64::from(sequence.fraction_lost())),
        ("jitter_integer_a8", u64::from(jitter.reported())),
    ] {
        same(name, number(expected, name)?, actual)?;
    }
    let lost = field(expected, "cumulative_lost")?.as_i64();
    let lost = lost.ok_or_else(|| malformed("cumulative_lost is no whole number"))?;
    same("cumulative_lost", lost, sequence.cumulative_lost())?;
    near(
        "jitter_float",
        real(expected, "jitter_float")?,
        jitter.jitter(),
        PRINTED,
    )?;
    let peak = real(expected, "jitter_peak_float")?;
    near("jitter_peak_float", peak, jitter.peak(), PRINTED)
}

fn bursts_and_gaps(case: &Value) -> Checked {
    let mut counts = BurstGap::new(number(case, "gmin")?);
    for packet in text(case, "pattern")?.chars() {
        match packet {
            '1' => counts.on_received(),
            '0' => counts.on_lost(1),
            'X' => counts.on_discarded(),
            other => return Err(malformed(format!("pattern has the letter {other}"))),
        }
    }
    let (expected, totals) = (field(case, "expected")?, counts.totals());
    for (name, actual) in [
        ("packets", totals.packets),
        ("lost", totals.lost),
        ("discarded", totals.discarded),
        ("bursts", totals.bursts),
        ("burst_packets", totals.burst_packets),
        ("burst_lost_or_discarded", totals.burst_bad),
        ("gaps", totals.gaps),
        ("gap_packets", totals.gap_packets),
        ("gap_lost_or_discarded", totals.gap_bad),
        ("loss_rate_256", u64::from(totals.loss_rate_256())),
        ("discard_rate_256", u64::from(totals.discard_rate_256())),
    ] {
        same(name, number(expected, name)?, actual)?;
    }
    for (name, actual) in [
        ("burst_density", totals.burst_density()),
        ("gap_density", totals.gap_density()),
        ("mean_burst_packets", totals.mean_burst_packets()),
        ("mean_gap_packets", totals.mean_gap_packets()),
    ] {
        near(name, real(expected, name)?, actual, PRINTED)?;
    }
    Ok(())
}

fn ratings(case: &Value) -> Checked {
    let equipment = Equipment {
        ie: real(case, "Ie")?,
        bpl: real(case, "Bpl")?,
    };
    let by = Impairment {
        one_way_ms: real(case, "one_way_ms")?,
        loss_percent: real(case, "loss_percent")?,
        burst_ratio: real(case, "burst_ratio")?,
    };
    let (full, simple) = (field(case, "full")?, field(case, "simple")?);
    let (full_r, simple_r) = (rating(equipment, by), simple_rating(equipment, by));
    let effective = effective_equipment(equipment, by);
    near("Ie_eff", real(case, "Ie_eff")?, effective, TERM_OF_R)?;
    let delay = delay_impairment_of(by.one_way_ms);
    near("full Id", real(full, "Id")?, delay, TERM_OF_R)?;
    near("full R", real(full, "R")?, full_r, R)?;
    near("full MOS", real(full, "MOS")?, mos(full_r), MOS)?;
    near("simple R", real(simple, "R")?, simple_r, R)?;
    near("simple MOS", real(simple, "MOS")?, mos(simple_r), MOS)
}

fn opinion_score(pair: &Value) -> Checked {
    let part = |at: usize| pair.get(at).and_then(Value::as_f64);
    let (Some(r), Some(expected)) = (part(0), part(1)) else {
        return Err(malformed("is no pair of R and MOS"));
    };
    near(&format!("MOS of R {r}"), expected, mos(r), MOS)
}

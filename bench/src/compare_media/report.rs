//! The tables people read: medians, spreads, and how far each is from the aims.
//!
//! It computes nothing that `figures` does not give.

use std::fmt::Write;

use tollgate_contract::SrtpSuite;

use super::figures::{Figures, Lines, Spread};
use super::measure::LIMIT_CALLS;
use super::relay::What;

/// All tables as text.
pub(crate) fn tables(figures: &Figures, lines: &Lines) -> String {
    let mut text = String::new();
    let mut loads: Vec<(usize, u16)> = figures
        .samples
        .keys()
        .map(|(suite, calls, _)| (*suite, *calls))
        .collect();
    loads.dedup();
    for (suite, calls) in loads {
        load_table(&mut text, figures, lines, (suite, calls));
    }
    resources_table(&mut text, figures, lines);
    limits_table(&mut text, figures, lines);
    peers_most_table(&mut text, figures, lines);
    text
}

fn load_table(text: &mut String, figures: &Figures, lines: &Lines, (suite, calls): (usize, u16)) {
    let name = SrtpSuite::ALL.get(suite).map_or("", |suite| suite.name());
    let rate = u32::from(calls) * super::PACKETS_PER_CALL;
    line(text, format_args!("\n{calls} calls, {rate} packets/s, {name}"));
    line(
        text,
        format_args!(
            "  {:<38} {:>22} {:>8} {:>8} {:>9} {:>16} {:>9} {:>7} {:>7}",
            "", "CPU us/packet", "x peer", "p50 us", "p99 us*", "p99 all rounds", "loss", "others", "late us"
        ),
    );
    let peers_cpu = figures.spread((suite, calls, lines.peer), |sample| sample.cpu_us);
    for (place, what) in lines.all.iter().enumerate() {
        let at = (suite, calls, place);
        let Some(cpu) = figures.spread(at, |sample| sample.cpu_us) else {
            continue;
        };
        let times = peers_cpu.map_or(0.0, |peer| peer.median / cpu.median);
        let median =
            |figure: fn(&super::measure::Sample) -> f64| figures.spread(at, figure).map_or(0.0, |spread| spread.median);
        let p99 = figures.spread(at, |sample| sample.p99_us);
        let samples = figures.samples.get(&at).map_or(&[][..], Vec::as_slice);
        let bound = if samples.iter().any(|sample| sample.is_generator_bound) {
            "  GENERATOR BOUND"
        } else {
            ""
        };
        line(
            text,
            format_args!(
                "  {:<38} {:>22} {times:>8.2} {:>8.0} {:>9.0} {:>16} {:>8.3}% {:>6.0}% {:>7.0}{bound}",
                what.name(),
                spread_text(Some(cpu), 1.0, 2),
                median(|sample| sample.p50_us),
                figures.p99(at).unwrap_or(0.0),
                p99.map_or_else(String::new, |p99| format!("[{:.0} - {:.0}]", p99.min, p99.max)),
                100.0 * median(|sample| sample.loss),
                100.0 * median(|sample| sample.others),
                median(|sample| sample.late_p99_us),
            ),
        );
    }
    floor_distances(text, figures, lines, (suite, calls));
}

/// What ours costs above the empty relay.
fn floor_distances(text: &mut String, figures: &Figures, lines: &Lines, (suite, calls): (usize, u16)) {
    let cpu = |place| {
        let spread = figures.spread((suite, calls, place), |sample| sample.cpu_us);
        spread.map(|spread| spread.median)
    };
    for (ours, floor) in &lines.ours {
        let (Some(above), Some(floor)) = (cpu(*ours), floor.and_then(cpu)) else {
            continue;
        };
        let name = lines.all.get(*ours).map_or_else(String::new, |what| what.io_path());
        line(
            text,
            format_args!(
                "  above the floor ({name}): {:+.2} us a packet, {:.2} times the floor",
                above - floor,
                above / floor
            ),
        );
    }
}

fn resources_table(text: &mut String, figures: &Figures, lines: &Lines) {
    if figures.idle.is_empty() {
        return;
    }
    line(
        text,
        format_args!("\nA call, from the memory and descriptors of the whole program"),
    );
    for (place, what) in lines.all.iter().enumerate() {
        let (Some(bytes), Some(descriptors)) = (
            figures.bytes_per_call(place),
            figures.descriptors_per_call(*what, place),
        ) else {
            continue;
        };
        line(
            text,
            format_args!(
                "  {:<38} {:>8.1} KiB {descriptors:>6.2} descriptors",
                what.name(),
                bytes / 1024.0
            ),
        );
    }
}

fn limits_table(text: &mut String, figures: &Figures, lines: &Lines) {
    if figures.most.is_empty() {
        return;
    }
    line(
        text,
        format_args!(
            "\nThe most ({LIMIT_CALLS} calls, less than 0.1 % lost, p99 within 20 ms), and too much of it for 3 s"
        ),
    );
    for (place, what) in lines.all.iter().enumerate() {
        let Some(most) = figures.most.get(&place) else { continue };
        let bound = if most.iter().any(|most| most.is_generator_bound) {
            " GENERATOR BOUND"
        } else {
            ""
        };
        line(
            text,
            format_args!(
                "  {:<38} {:>30} packets/s{bound}",
                what.name(),
                spread_text(figures.most_pps(place), 1.0, 0)
            ),
        );
        for over in figures.overload.get(&place).into_iter().flatten() {
            let back = over.recovered_s.map_or_else(
                || format!("{} of {} streams silent for good", over.silent_streams, 2 * LIMIT_CALLS),
                |seconds| format!("every stream heard again after {seconds:.3} s"),
            );
            line(
                text,
                format_args!(
                    "      {:.2} times the most offered, {:.1} % lost: {back}",
                    over.factor,
                    100.0 * over.loss
                ),
            );
        }
    }
}

fn peers_most_table(text: &mut String, figures: &Figures, lines: &Lines) {
    if figures.at_peers_most.is_empty() {
        return;
    }
    line(text, format_args!("\nAt the most that the peer held in the same round"));
    for (place, what) in lines.all.iter().enumerate() {
        let Some(samples) = figures.at_peers_most.get(&place) else {
            continue;
        };
        let over = |figure: fn(&super::measure::Sample) -> f64| Spread::of(samples.iter().map(figure));
        line(
            text,
            format_args!(
                "  {:<38} {:>9.0} packets/s  p99 us {:>26}  CPU us/packet {}",
                what.name(),
                over(|sample| sample.packets_per_second).map_or(0.0, |spread| spread.median),
                spread_text(over(|sample| sample.p99_us), 1.0, 0),
                spread_text(over(|sample| sample.cpu_us), 1.0, 2),
            ),
        );
    }
}

/// Median and spread, each divided by `unit`.
fn spread_text(spread: Option<Spread>, unit: f64, digits: usize) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |spread| {
            format!(
                "{:.digits$} [{:.digits$} - {:.digits$}]",
                spread.median / unit,
                spread.min / unit,
                spread.max / unit
            )
        },
    )
}

/// A warning if the peer does not run as it was measured.
pub(crate) fn peer_warning(figures: &Figures, lines: &Lines) -> Option<String> {
    let is_peer = lines.all.get(lines.peer) == Some(&What::Peer);
    let cpu = figures.spread((0, 500, lines.peer), |sample| sample.cpu_us)?.median;
    (is_peer && !PEER_CPU_US.contains(&cpu)).then(|| {
        format!(
            "the peer takes {cpu:.1} us a packet at 500 calls, not {:.0} to {:.0}: it does not run as it was measured",
            PEER_CPU_US.start(),
            PEER_CPU_US.end()
        )
    })
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes all");
}

/// What the peer took a packet at 500 calls when its configuration was written (bench/peers).
const PEER_CPU_US: std::ops::RangeInclusive<f64> = 13.0..=21.0;

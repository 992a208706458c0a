//! The result for people: at most 100 columns, colours only on a terminal.
//!
//! It decides nothing about right and wrong.

use super::quality::{CallQuality, Heard};
use super::report::{Report, Row};

/// Whether colours are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    is_coloured: bool,
}

impl Paint {
    /// Colours on a terminal, unless `NO_COLOR` is set.
    pub(super) fn new(is_terminal: bool) -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            is_coloured: is_terminal && !is_unwanted,
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn mark(self, is_right: bool) -> String {
        if is_right {
            self.with(GREEN, "ok  ")
        } else {
            self.with(RED, "FAIL")
        }
    }
}

/// The whole result.
pub(super) fn render(report: &Report, paint: Paint) -> String {
    let mut text = String::from(
        "Two enterprises on loopback, each behind its own edge, and a network between that knows no key\n\n",
    );
    text.push_str(&paint.with(
        BOLD,
        &columns("    ", ["what was tried", "what should happen", "what happened"]),
    ));
    text.push('\n');
    for row in &report.rows {
        text.push_str(&render_row(row, paint));
    }
    if !report.records.calls.is_empty() {
        text.push_str(&render_quality(report, paint));
    }
    text.push_str(&render_end(report, paint));
    text
}

fn render_row(row: &Row, paint: Paint) -> String {
    let cells = [&row.what, &row.expected, &row.happened];
    let wrapped: Vec<Vec<String>> = cells
        .iter()
        .zip(WIDTHS)
        .map(|(cell, width)| wrap(cell, width))
        .collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or_default();
    let mut text = String::new();
    for line in 0..height {
        let mark = if line == 0 {
            paint.mark(row.is_right)
        } else {
            "    ".to_owned()
        };
        let mut parts = wrapped.iter().map(|cell| cell.get(line).map_or("", String::as_str));
        let parts = [(); 3].map(|()| parts.next().unwrap_or_default());
        text.push_str(&columns(&mark, parts));
        text.push('\n');
    }
    text
}

fn render_quality(report: &Report, paint: Paint) -> String {
    let header = format!(
        "{:<26}{:>6}  {:<18}{:^23}  {:^23}",
        "quality of each call", "set-up", "SRTP suite", "heard by the caller", "heard by the called"
    );
    let columns = "   R  MOS loss % jit ms";
    let units = format!("{:<26}{:>6}  {:<18}{columns}  {columns}", "", "ms", "");
    let mut text = format!(
        "\n{}\n{}\n",
        paint.with(BOLD, header.trim_end()),
        paint.with(BOLD, units.trim_end())
    );
    for call in report.records.calls.iter().chain(&report.records.moved) {
        text.push_str(&render_call(call));
    }
    text
}

fn render_call(call: &CallQuality) -> String {
    let heard = |heard: &Heard| {
        format!(
            "{:>4.0} {:>4.2} {:>6.1} {:>6.2}",
            heard.r_factor,
            heard.mos,
            heard.loss_ratio * 100.0,
            heard.jitter_ms
        )
    };
    let [near, far] = &call.heard;
    let suite: String = call.suite.chars().take(17).collect();
    let line = format!(
        "{:<26}{:>6}  {suite:<18}{}  {}",
        call.label,
        call.setup_ms,
        heard(near),
        heard(far)
    );
    format!("{}\n", line.trim_end())
}

fn render_end(report: &Report, paint: Paint) -> String {
    let figures = &report.figures;
    let mut text = String::from("\n");
    if figures.rtp_received > 0 {
        let ([p50, p99], [with_p50, with_p99]) = (figures.added_latency_us(), figures.latency_with_edges_us);
        let [without_p50, without_p99] = figures.latency_without_edges_us;
        text.push_str(&format!(
            "Two edges add {p50} us (median) and {p99} us (99 %) one way, agent to agent: {with_p50} and {with_p99} us with\n\
             them, {without_p50} and {without_p99} us without.\n"
        ));
    }
    let wrong = report.rows.iter().filter(|row| !row.is_right).count();
    let seconds = report.duration.as_secs_f64();
    let verdict = match wrong {
        0 => paint.with(GREEN, "Everything happened as it should"),
        1 => paint.with(RED, "One thing differs"),
        more => paint.with(RED, &format!("{more} things differ")),
    };
    text.push_str(&format!("{verdict}, in {seconds:.1} s.\n"));
    text
}

fn columns(mark: &str, cells: [&str; 3]) -> String {
    let [what, expected, happened] = cells;
    let [first, second, _] = WIDTHS;
    format!("{mark} {what:<first$} {expected:<second$} {happened}")
        .trim_end()
        .to_owned()
}

/// Breaks at spaces; a word longer than the width stands alone and is cut.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word: String = word.chars().take(width).collect();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            Some(_) | None => lines.push(word),
        }
    }
    lines
}

/// Columns of the table; with the mark and the gaps they make 100.
const WIDTHS: [usize; 3] = [36, 26, 31];

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_line_is_longer_than_a_hundred_columns() {
        let mut report = Report::default();
        report.on_self_test(true);
        report.on_hold(&Err(
            "no REFER within 32 s and an_extraordinarily_long_word_that_fits_into_no_column_at_all".into(),
        ));
        report.duration = Duration::from_secs(59);
        report.figures.rtp_received = 10_000;
        report.figures.latency_with_edges_us = [99_999, 99_999];
        let heard = Heard {
            r_factor: 93.2,
            mos: 4.41,
            loss_ratio: 1.0,
            jitter_ms: 999.99,
        };
        report.records.calls.push(CallQuality {
            label: "alpha > beta +12125550100".to_owned(),
            setup_ms: 99_999,
            suite: "AES_CM_128_HMAC_SHA1_80".to_owned(),
            heard: [heard; 2],
        });
        for line in render(&report, Paint { is_coloured: false }).lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn colours_are_used_on_a_terminal_only() {
        let mut report = Report::default();
        report.on_self_test(false);
        assert!(!render(&report, Paint { is_coloured: false }).contains('\x1b'));
        assert!(render(&report, Paint { is_coloured: true }).contains("\x1b[31mFAIL"));
    }

    #[test]
    fn text_is_broken_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), Vec::<String>::new());
    }
}

//! The Prometheus text format, version 0.0.4.
//!
//! Written here because the client libraries of the language emit OpenMetrics, which `promtool check metrics` of the
//! releases in use reads as untyped.

use std::fmt::Write as _;

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; the name ends in `_total`.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// A page of metrics being written, family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// A histogram with fixed upper bounds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Exposition {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(
            self.text,
            "# HELP tollgate_{name} {help}\n# TYPE tollgate_{name} {kind}"
        );
    }

    /// A sample of the family begun last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = writeln!(self.text, "tollgate_{name}{} {value}", braced(labels));
    }

    pub(crate) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            below += count;
            let mut labels = labels.to_vec();
            let bound = bound.to_string();
            labels.push(("le", &bound));
            self.sample(&format!("{name}_bucket"), &labels, below as f64);
        }
        let mut labels_inf = labels.to_vec();
        labels_inf.push(("le", "+Inf"));
        self.sample(&format!("{name}_bucket"), &labels_inf, histogram.count as f64);
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, histogram.count as f64);
    }

    /// The page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len()],
            sum: 0.0,
            count: 0,
        }
    }

    pub(crate) fn observe(&mut self, value: f64) {
        if let Some(at) = self.bounds.iter().position(|bound| value <= *bound) {
            self.counts[at] += 1;
        }
        self.sum += value;
        self.count += 1;
    }
}

fn braced(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_labels_escaped() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        [0.5, 1.5, 9.0].into_iter().for_each(|value| histogram.observe(value));
        let mut page = Exposition::default();
        page.family("x_seconds", Kind::Histogram, "X.");
        page.histogram("x_seconds", &[("leg", "a\"b")], &histogram);
        assert_eq!(
            page.into_text(),
            "# HELP tollgate_x_seconds X.\n# TYPE tollgate_x_seconds histogram\n\
             tollgate_x_seconds_bucket{leg=\"a\\\"b\",le=\"1\"} 1\ntollgate_x_seconds_bucket{leg=\"a\\\"b\",le=\"2\"} 2\n\
             tollgate_x_seconds_bucket{leg=\"a\\\"b\",le=\"+Inf\"} 3\ntollgate_x_seconds_sum{leg=\"a\\\"b\"} 11\n\
             tollgate_x_seconds_count{leg=\"a\\\"b\"} 3\n"
        );
    }
}

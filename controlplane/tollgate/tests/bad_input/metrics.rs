//! Figures of the metrics page.

use std::time::{Duration, Instant};

use crate::company::Pair;

/// The sum of all series that begin so; 0 if there is none.
pub(crate) fn sum(page: &str, series: &str) -> u64 {
    let values = page.lines().filter(|line| line.starts_with(series));
    let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

/// A figure of an edge before something happens to it.
pub(crate) struct Before<'a> {
    pair: &'a Pair,
    edge: &'a str,
    series: String,
    value: u64,
}

impl<'a> Before<'a> {
    /// Reads the figure.
    ///
    /// # Panics
    /// If the edge has no such series.
    pub(crate) fn new(pair: &'a Pair, edge: &'a str, series: &str) -> Self {
        let page = pair.page(edge, "/metrics");
        assert!(page.lines().any(|line| line.starts_with(series)), "no series {series}");
        let value = sum(&page, series);
        Self {
            pair,
            edge,
            series: series.to_owned(),
            value,
        }
    }

    /// By how much the figure has risen.
    pub(crate) fn risen(&self) -> u64 {
        sum(&self.pair.page(self.edge, "/metrics"), &self.series) - self.value
    }

    /// The figure rises by this much within a time.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) async fn expect_rise(&self, by: u64, within: Duration) {
        let deadline = Instant::now() + within;
        while self.risen() < by {
            assert!(
                Instant::now() < deadline,
                "{} of {} has risen by {}, not {by}",
                self.series,
                self.edge,
                self.risen()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

//! `[fallback]`: when a call is bad enough for the PSTN.
//!
//! Measures nothing. The profiles are compiled in, so that a name means the same everywhere.

use std::time::Duration;

use serde::Deserialize;

use crate::policy::{Fallback, Thresholds};
use crate::raw::Section;

pub(crate) fn build(root: &Section<'_>) -> Option<Fallback> {
    let section = root.section("fallback");
    let profile = section.choice("profile", PROFILES);
    let fallback = Fallback {
        enabled: section.flag("enabled"),
        monitoring_interval: Duration::from_millis(section.integer("monitoring_interval_ms")),
        hold_down: Duration::from_secs(section.integer("hold_down_s")),
        dead_hold_down: Duration::from_secs(section.integer("dead_hold_down_s")),
        refer_when_called: section.flag("refer_when_called"),
        thresholds: thresholds(&section, &Profile::read(profile.unwrap_or(DEFAULT))),
    };
    profile.map(|_| fallback)
}

/// A profile's file.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    window_ms: u64,
    loss_poor_ratio: f64,
    loss_good_ratio: f64,
    jitter_poor_ms: u64,
    jitter_good_ms: u64,
    dead_after_ms: u64,
}

impl Profile {
    fn read(text: &str) -> Self {
        toml::from_str(text).expect("the compiled-in profiles are tested")
    }
}

const DEFAULT: &str = include_str!("../fallback/default.toml");

/// Names and texts of the profiles.
const PROFILES: &[(&str, &str)] = &[
    ("default", DEFAULT),
    ("sensitive", include_str!("../fallback/sensitive.toml")),
    ("tolerant", include_str!("../fallback/tolerant.toml")),
];

/// The profile's values with the file's overrides; each `good` must lie under its `poor`.
fn thresholds(section: &Section<'_>, profile: &Profile) -> Thresholds {
    let milliseconds = |key: &str, profile_ms| {
        Duration::from_millis(if section.has(key) {
            section.integer(key)
        } else {
            profile_ms
        })
    };
    let thresholds = Thresholds {
        window: milliseconds("window_ms", profile.window_ms),
        loss_poor_ratio: section.ratio("loss_poor_ratio").unwrap_or(profile.loss_poor_ratio),
        loss_good_ratio: section.ratio("loss_good_ratio").unwrap_or(profile.loss_good_ratio),
        jitter_poor: milliseconds("jitter_poor_ms", profile.jitter_poor_ms),
        jitter_good: milliseconds("jitter_good_ms", profile.jitter_good_ms),
        dead_after: milliseconds("dead_after_ms", profile.dead_after_ms),
    };
    let mend = "lower the good one or raise the poor one: without a gap the verdict flaps";
    if thresholds.loss_good_ratio >= thresholds.loss_poor_ratio {
        let (good, poor) = (thresholds.loss_good_ratio, thresholds.loss_poor_ratio);
        section.fault(
            "loss_good_ratio",
            format!("{good} is not under loss_poor_ratio {poor}"),
            mend,
        );
    }
    if thresholds.jitter_good >= thresholds.jitter_poor {
        let (good, poor) = (thresholds.jitter_good.as_millis(), thresholds.jitter_poor.as_millis());
        section.fault(
            "jitter_good_ms",
            format!("{good} is not under jitter_poor_ms {poor}"),
            mend,
        );
    }
    thresholds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_go_from_sensitive_over_default_to_tolerant() {
        let [default, sensitive, tolerant] = [0, 1, 2].map(|index: usize| Profile::read(PROFILES[index].1));
        for (less, more) in [(sensitive, default), (default, tolerant)] {
            assert!(less.loss_poor_ratio < more.loss_poor_ratio);
            assert!(less.jitter_poor_ms < more.jitter_poor_ms);
            assert!(less.dead_after_ms <= more.dead_after_ms);
        }
        for profile in [default, sensitive, tolerant] {
            assert!(profile.loss_good_ratio < profile.loss_poor_ratio);
            assert!(profile.jitter_good_ms < profile.jitter_poor_ms);
        }
    }

    #[test]
    fn an_outage_of_200_ms_is_poor_in_no_profile() {
        for (name, text) in PROFILES {
            let profile = Profile::read(text);
            assert!(200.0 / (profile.window_ms as f64) < profile.loss_poor_ratio, "{name}");
        }
    }
}

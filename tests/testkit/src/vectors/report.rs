//! What a run found: counts for each folder, every failure with both values, and what could not be read.
//!
//! It judges nothing; text, JSON and the exit code are three views of the same counts.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::fields::{CaseError, Checked};

/// Characters of a long value that are printed.
const SHOWN: usize = 96;
/// Characters before the first difference that are printed with it.
const SHOWN_BEFORE: usize = 16;

/// A case whose result is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Path of the file, from the folder of vectors on.
    pub file: String,
    /// The case's id.
    pub case: String,
    /// What was compared.
    pub what: String,
    /// The value in the file.
    pub expected: String,
    /// The value the code gave.
    pub actual: String,
}

/// A file or a case that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Path of the file or folder, from the folder of vectors on.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

/// The result of one sub-folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuiteReport {
    /// Its name.
    pub folder: &'static str,
    /// Cases that ended as expected.
    pub passed: usize,
    /// Cases that did not, one entry each.
    pub failures: Vec<Failure>,
    /// Suites and files nothing was run of, for want of a runner.
    pub skipped: Vec<String>,
    /// Files and cases that could not be run because they are not understood.
    pub unreadable: Vec<Unreadable>,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The sub-folders that were there.
    pub suites: Vec<SuiteReport>,
}

impl SuiteReport {
    pub(super) const fn new(folder: &'static str) -> Self {
        Self {
            folder,
            passed: 0,
            failures: Vec::new(),
            skipped: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Cases that were run.
    #[must_use]
    pub const fn cases(&self) -> usize {
        self.passed + self.failures.len()
    }

    /// Names a suite or file that nothing was run of.
    pub(super) fn skip(&mut self, name: impl Into<String>) {
        self.skipped.push(name.into());
    }

    pub(super) fn unreadable(&mut self, file: &str, why: impl Into<String>) {
        self.unreadable.push(Unreadable {
            file: file.to_owned(),
            why: why.into(),
        });
    }

    /// Counts the result of one case.
    pub(super) fn count(&mut self, file: &str, case: &str, result: Checked) {
        match result {
            Ok(()) => self.passed += 1,
            Err(CaseError::Mismatch { what, expected, actual }) => self.failures.push(Failure {
                file: file.to_owned(),
                case: case.to_owned(),
                what,
                expected,
                actual,
            }),
            Err(CaseError::Malformed(why)) => self.unreadable(file, format!("{case}: {why}")),
        }
    }
}

impl Report {
    /// Every failure, folder by folder.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.suites.iter().flat_map(|suite| &suite.failures)
    }

    /// Everything that could not be understood, folder by folder.
    pub fn unreadable(&self) -> impl Iterator<Item = &Unreadable> {
        self.suites.iter().flat_map(|suite| &suite.unreadable)
    }

    /// Every suite and file nothing was run of.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.suites.iter().flat_map(|suite| &suite.skipped).map(String::as_str)
    }

    /// The cases that were run.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.suites.iter().map(SuiteReport::cases).sum()
    }

    /// 0 if all that was run passed, 1 if a case failed, 2 if something was not understood or nothing was run.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.unreadable().next().is_some() || self.cases() == 0 {
            2
        } else {
            u8::from(self.failures().next().is_some())
        }
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let folders: serde_json::Map<String, Value> = self
            .suites
            .iter()
            .map(|suite| (suite.folder.to_owned(), totals(suite)))
            .collect();
        let failure = |failure: &Failure| {
            json!({
                "file": failure.file, "case": failure.case, "what": failure.what,
                "expected": failure.expected, "actual": failure.actual,
            })
        };
        let unreadable = |of: &Unreadable| json!({ "file": of.file, "why": of.why });
        json!({
            "folders": folders,
            "failures": self.failures().map(failure).collect::<Vec<_>>(),
            "skipped": self.skipped().collect::<Vec<_>>(),
            "unreadable": self.unreadable().map(unreadable).collect::<Vec<_>>(),
        })
    }
}

/// Failures, what was skipped, and the table; what was not understood is counted in it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in self.failures() {
            writeln!(f, "FAILED {} {}: {}", failure.file, failure.case, failure.what)?;
            let [expected, actual] = where_they_differ(&failure.expected, &failure.actual);
            writeln!(f, "  expected {expected}\n  actual   {actual}")?;
        }
        for name in self.skipped() {
            writeln!(f, "SKIPPED {name}: it has no runner yet")?;
        }
        writeln!(f, "folder        cases  passed  failed  skipped  unreadable")?;
        for suite in &self.suites {
            writeln!(
                f,
                "{:<12} {:>6} {:>7} {:>7} {:>8} {:>11}",
                suite.folder,
                suite.cases(),
                suite.passed,
                suite.failures.len(),
                suite.skipped.len(),
                suite.unreadable.len()
            )?;
        }
        Ok(())
    }
}

fn totals(suite: &SuiteReport) -> Value {
    json!({
        "cases": suite.cases(), "passed": suite.passed, "failed": suite.failures.len(),
        "skipped": suite.skipped.len(), "unreadable": suite.unreadable.len(),
    })
}

/// Both values around their first difference, whole when they are short.
fn where_they_differ(expected: &str, actual: &str) -> [String; 2] {
    let pairs = expected.chars().zip(actual.chars());
    let same = pairs.take_while(|(one, other)| one == other).count();
    let start = if expected.len().max(actual.len()) <= SHOWN {
        0
    } else {
        same.saturating_sub(SHOWN_BEFORE)
    };
    [expected, actual].map(|value| {
        let mut shown = String::new();
        if start > 0 {
            let _ = write!(shown, "[{start} characters] ");
        }
        shown.extend(value.chars().skip(start).take(SHOWN));
        let left = value.chars().count().saturating_sub(start + SHOWN);
        if left > 0 {
            let _ = write!(shown, " [{left} more]");
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_shown_around_their_first_difference() {
        let expected = format!("{}b{}", "a".repeat(500), "c".repeat(500));
        let actual = format!("{}x{}", "a".repeat(500), "c".repeat(500));
        let [expected, actual] = where_they_differ(&expected, &actual);
        assert!(expected.starts_with("[484 characters] aaaaaaaaaaaaaaaabccc"));
        assert!(actual.starts_with("[484 characters] aaaaaaaaaaaaaaaaxccc"));
        assert!(expected.ends_with("c [421 more]"));
    }

    #[test]
    fn skipped_suites_alone_are_no_success() {
        let mut suite = SuiteReport::new("sdp");
        suite.skip("sdp");
        let mut report = Report { suites: vec![suite] };
        assert_eq!((report.cases(), report.exit_code()), (0, 2));
        report.suites[0].count("sdp/a", "a", Ok(()));
        assert_eq!((report.cases(), report.exit_code()), (1, 0));
    }
}

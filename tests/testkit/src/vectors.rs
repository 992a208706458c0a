//! The vector runner: every case of a folder of test vectors through the real code, counted and told apart.
//!
//! It knows the shapes of the files and no expected value; a suite without a runner is named as skipped and never
//! counts as passed. Files are told by their `schema`, not by their names. Source: `tests/data/README.md`.

mod fields;
mod manifest;
mod quality;
mod report;
mod sdp;
mod srtp;
mod state;
mod ticket;
mod torture;

use std::fmt;
use std::path::{Path, PathBuf};

pub use report::{Failure, Report, SuiteReport, Unreadable};

/// One sub-folder of vectors and what runs it.
struct Suite {
    folder: &'static str,
    /// Adds what it finds below the sub-folder to the report.
    run: fn(&Path, &mut SuiteReport),
}

/// Every sub-folder there may be, in the order of the report.
const SUITES: [Suite; 7] = [
    Suite {
        folder: "ticket",
        run: ticket::run,
    },
    Suite {
        folder: "srtp",
        run: srtp::run,
    },
    Suite {
        folder: "quality",
        run: quality::run,
    },
    Suite {
        folder: "sip-torture",
        run: torture::run,
    },
    Suite {
        folder: "sip-torture-own",
        run: torture::run,
    },
    Suite {
        folder: "sip-state",
        run: state::run,
    },
    Suite {
        folder: "sdp",
        run: sdp::run,
    },
];

/// The folder has none of the sub-folders of vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoVectors(PathBuf);

impl fmt::Display for NoVectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = SUITES.map(|suite| suite.folder).join(", ");
        write!(f, "{}: has none of the folders {known}", self.0.display())
    }
}

impl std::error::Error for NoVectors {}

/// Runs every case below `dir`; a sub-folder that is not there is left out of the report.
///
/// # Errors
/// [`NoVectors`] if there is no known sub-folder at all. What goes wrong further down is in the report.
pub fn run(dir: &Path) -> Result<Report, NoVectors> {
    let mut suites = Vec::new();
    for suite in SUITES {
        let folder = dir.join(suite.folder);
        if folder.exists() {
            let mut report = SuiteReport::new(suite.folder);
            (suite.run)(&folder, &mut report);
            suites.push(report);
        }
    }
    if suites.is_empty() {
        return Err(NoVectors(dir.to_owned()));
    }
    Ok(Report { suites })
}

//! `vectors DIR [--json]`: runs every test vector below a folder and says what failed, passed or was skipped.
//!
//! All logic is in `tollgate_testkit::vectors`, which the tests call too. Exit codes: 0 all passed, 1 a case failed, 2
//! the folder or a file is not understood.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tollgate_testkit::vectors;

const USAGE: &str = "usage: vectors DIR [--json]";
/// The command line or the folder is wrong.
const NOT_UNDERSTOOD: u8 = 2;

fn main() -> ExitCode {
    let Some((dir, json)) = arguments(std::env::args_os().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(NOT_UNDERSTOOD);
    };
    let report = match vectors::run(&dir) {
        Ok(report) => report,
        Err(why) => {
            eprintln!("vectors: {why}");
            return ExitCode::from(NOT_UNDERSTOOD);
        }
    };
    let mut text = report.to_string();
    if json {
        text.push_str(&format!("{}\n", report.to_json()));
    }
    if let Err(why) = io::stdout().write_all(text.as_bytes()) {
        eprintln!("vectors: {why}");
        return ExitCode::from(NOT_UNDERSTOOD);
    }
    for of in report.unreadable() {
        eprintln!("vectors: {}: {}", of.file, of.why);
    }
    ExitCode::from(report.exit_code())
}

/// The folder, and whether JSON is wanted.
fn arguments(given: impl Iterator<Item = OsString>) -> Option<(PathBuf, bool)> {
    let (mut dir, mut json) = (None, false);
    for argument in given {
        if argument == "--json" {
            json = true;
        } else if dir.is_some() || argument.to_string_lossy().starts_with('-') {
            return None;
        } else {
            dir = Some(PathBuf::from(argument));
        }
    }
    Some((dir?, json))
}

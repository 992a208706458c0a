//! Exit codes (sysexits.h).

use std::fmt::Display;
use std::process::ExitCode;

/// The command line or input data is wrong.
pub(crate) const DATA: u8 = 65;
/// Something that should be there is not: an address in use, an edge that does not answer.
pub(crate) const UNAVAILABLE: u8 = 69;
/// The system refused something.
pub(crate) const OS: u8 = 71;
/// A file cannot be written.
pub(crate) const CANNOT_CREATE: u8 = 73;
/// The policy is wrong.
pub(crate) const CONFIG: u8 = 78;

/// Says what went wrong and ends with a code.
pub(crate) fn fail(code: u8, why: impl Display) -> ExitCode {
    eprintln!("tollgate: {why}");
    ExitCode::from(code)
}

/// Success, or the error in words.
#[cfg(feature = "demo")]
pub(crate) fn of(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(OS, why),
    }
}

//! Reading JSON vectors and comparing: every missing or unfit field is an error of the file, never a panic.
//!
//! It knows no suite; the table of schemas says what a file holds.

use std::fmt::{Debug, Display};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::report::SuiteReport;

/// Why a case did not pass.
#[derive(Debug)]
pub(super) enum CaseError {
    /// The code gave something else.
    Mismatch {
        what: String,
        expected: String,
        actual: String,
    },
    /// The case is not understood.
    Malformed(String),
}

/// The end of one case: it stops at the first difference.
pub(super) type Checked = Result<(), CaseError>;

/// The name of a schema, and what runs a file of it.
pub(super) type Schema = (&'static str, fn(&mut File<'_>));

/// One vector file and where its cases are counted.
pub(super) struct File<'a> {
    name: String,
    content: Value,
    report: &'a mut SuiteReport,
}

impl File<'_> {
    /// Runs each case of one of the file's lists; `check` gets the whole file too.
    pub(super) fn each(&mut self, list_name: &str, check: impl Fn(&Value, &Value) -> Checked) {
        let Some(cases) = self.content.get(list_name).and_then(Value::as_array) else {
            self.report.unreadable(&self.name, format!("{list_name} is no list"));
            return;
        };
        for (at, case) in cases.iter().enumerate() {
            let id = case.get("id").and_then(Value::as_str);
            let id = id.map_or_else(|| format!("{list_name}[{at}]"), str::to_owned);
            self.report.count(&self.name, &id, check(&self.content, case));
        }
    }

    /// Names the file as one that nothing was run of.
    pub(super) fn skip(&mut self) {
        self.report.skip(self.name.clone());
    }
}

/// Runs every JSON file of a folder, in the order of their names, by its schema.
pub(super) fn run_folder(folder: &Path, report: &mut SuiteReport, schemas: &[Schema]) {
    let files = match json_files(folder) {
        Ok(files) => files,
        Err(why) => return report.unreadable(report.folder, why),
    };
    for path in files {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{}/{file_name}", report.folder);
        if let Err(why) = run_file(&path, &name, report, schemas) {
            report.unreadable(&name, why);
        }
    }
}

fn json_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err("holds no vector file".to_owned());
    }
    files.sort();
    Ok(files)
}

fn run_file(path: &Path, name: &str, report: &mut SuiteReport, schemas: &[Schema]) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let content: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let schema = content.get("schema").and_then(Value::as_str).ok_or("has no schema")?;
    let known = schemas.iter().find(|(known, _)| *known == schema);
    let (_, run) = known.ok_or_else(|| format!("is of the unknown schema {schema}"))?;
    let seen = |report: &SuiteReport| report.cases() + report.skipped.len() + report.unreadable.len();
    let before = seen(report);
    run(&mut File {
        name: name.to_owned(),
        content,
        report,
    });
    if seen(report) == before {
        return Err("holds no case".to_owned());
    }
    Ok(())
}

/// A case or file that is not understood.
pub(super) fn malformed(why: impl Into<String>) -> CaseError {
    CaseError::Malformed(why.into())
}

pub(super) fn field<'a>(value: &'a Value, name: &str) -> Result<&'a Value, CaseError> {
    value.get(name).ok_or_else(|| malformed(format!("has no {name}")))
}

pub(super) fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], CaseError> {
    let list = field(value, name)?.as_array();
    let list = list.map(Vec::as_slice);
    list.ok_or_else(|| malformed(format!("{name} is no list")))
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, CaseError> {
    let text = field(value, name)?.as_str();
    text.ok_or_else(|| malformed(format!("{name} is no text")))
}

/// A count within the range of `T`.
pub(super) fn number<T: TryFrom<u64>>(value: &Value, name: &str) -> Result<T, CaseError> {
    as_number(field(value, name)?, name)
}

/// The same of a value that stands alone; `name` is for the error.
pub(super) fn as_number<T: TryFrom<u64>>(value: &Value, name: &str) -> Result<T, CaseError> {
    let number = value.as_u64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| malformed(format!("{name} is no count within range")))
}

pub(super) fn real(value: &Value, name: &str) -> Result<f64, CaseError> {
    let real = field(value, name)?.as_f64();
    real.ok_or_else(|| malformed(format!("{name} is no number")))
}

pub(super) fn bytes(value: &Value, name: &str) -> Result<Vec<u8>, CaseError> {
    from_hex(text(value, name)?).ok_or_else(|| malformed(format!("{name} is not hexadecimal")))
}

/// Exactly `N` bytes.
pub(super) fn array<const N: usize>(value: &Value, name: &str) -> Result<[u8; N], CaseError> {
    let bytes = bytes(value, name)?;
    bytes
        .try_into()
        .map_err(|_| malformed(format!("{name} has not {N} bytes")))
}

pub(super) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let [high, low] = pair else { return None };
            let digit = |letter: u8| char::from(letter).to_digit(16);
            u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
        })
        .collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares two values of the same kind.
pub(super) fn same<T: PartialEq + Display>(what: &str, expected: T, actual: T) -> Checked {
    if expected == actual {
        return Ok(());
    }
    mismatch(what, expected, actual)
}

/// Compares bytes, shown in hexadecimal.
pub(super) fn same_bytes(what: &str, expected: &[u8], actual: &[u8]) -> Checked {
    same(what, hex(expected), hex(actual))
}

/// Compares with a tolerance.
pub(super) fn near(what: &str, expected: f64, actual: f64, tolerance: f64) -> Checked {
    if (expected - actual).abs() <= tolerance {
        return Ok(());
    }
    mismatch(what, format!("{expected} ± {tolerance}"), actual)
}

pub(super) fn mismatch(what: &str, expected: impl Display, actual: impl Display) -> Checked {
    Err(CaseError::Mismatch {
        what: what.to_owned(),
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

/// The value the code gave; a refusal where it had to give one is a difference.
pub(super) fn given<T, E: Debug>(what: &str, result: Result<T, E>) -> Result<T, CaseError> {
    result.map_err(|why| CaseError::Mismatch {
        what: what.to_owned(),
        expected: "accepted".to_owned(),
        actual: format!("refused: {why:?}"),
    })
}

/// The trapezoid panics at an invalid message or a leak, which is a difference like any other.
pub(super) fn caught(play: impl FnOnce() -> Checked) -> Checked {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|why| {
        let said = why.downcast_ref::<String>().cloned().unwrap_or_default();
        mismatch("the edge", "valid messages without inside addresses", said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_of_odd_length_or_with_another_letter_is_refused() {
        assert_eq!(from_hex("00fF"), Some(vec![0, 255]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        for bad in ["0", "000", "0g", "é0"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}

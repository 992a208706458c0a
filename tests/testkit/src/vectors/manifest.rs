//! Raw vectors and the table that says what becomes of each: `manifest.tsv` beside the files.
//!
//! It knows the columns that every such table has; what a verdict means is for the suite.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::fields::{CaseError, Checked, hex, malformed};
use super::report::SuiteReport;

/// A raw file and its line of the table.
pub(super) struct Row<'m> {
    head: &'m [&'m str],
    cells: Vec<&'m str>,
    /// The file's content.
    pub(super) bytes: Vec<u8>,
}

impl<'m> Row<'m> {
    /// The cell of a column.
    pub(super) fn cell(&self, column: &str) -> Result<&'m str, CaseError> {
        let at = self.head.iter().position(|known| *known == column);
        let cell = at.and_then(|at| self.cells.get(at).copied());
        cell.ok_or_else(|| malformed(format!("has no column {column}")))
    }
}

/// Runs every line of the table, in its order.
pub(super) fn run(folder: &Path, report: &mut SuiteReport, mut check: impl FnMut(&Row<'_>) -> Checked) {
    let name = format!("{}/manifest.tsv", report.folder);
    let text = match fs::read_to_string(folder.join("manifest.tsv")) {
        Ok(text) => text,
        Err(why) => return report.unreadable(&name, why.to_string()),
    };
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let mut is_empty = true;
    for line in lines.filter(|line| !line.is_empty()) {
        is_empty = false;
        let mut row = Row {
            head: &head,
            cells: line.split('\t').collect(),
            bytes: Vec::new(),
        };
        let file = row.cell("file").unwrap_or_default();
        let result = read(folder, &row).and_then(|bytes| {
            row.bytes = bytes;
            check(&row)
        });
        report.count(&name, file, result);
    }
    if is_empty {
        report.unreadable(&name, "holds no case");
    }
}

/// The content of a line's file, if it is that of the table: a changed line end would change what is tested.
fn read(folder: &Path, row: &Row<'_>) -> Result<Vec<u8>, CaseError> {
    let bytes = fs::read(folder.join(row.cell("file")?)).map_err(|why| malformed(why.to_string()))?;
    let is_same = row.cell("sha256")? == hex(&Sha256::digest(&bytes));
    is_same
        .then_some(bytes)
        .ok_or_else(|| malformed("is not the file of the manifest"))
}

//! `tollgate check`: everything that is wrong with a policy, at once, each with its file, line, key and mend.
//!
//! It binds no address: whether one is free shows when the edge starts.

use std::path::Path;
use std::process::ExitCode;

use tollgate_contract::Admission;
use tollgate_control::{CompileError, Names, compile};
use tollgate_policy::{PolicyError, PolicyErrors};
use toml::de::DeTable;

use crate::boot::{Fault, tls_of};
use crate::exit;

/// Checks a policy file, the files it names, and whether it can be put in force.
#[allow(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn check(path: &Path, json: bool) -> ExitCode {
    let policy = match tollgate_policy::load(path) {
        Ok(policy) => policy,
        Err(errors) if json => return refuse_as_json(errors.as_slice()),
        Err(errors) => return refuse(&errors),
    };
    let mut faults = Vec::new();
    if let Err(errors) = compile(&policy, &Names::new(), Admission::Open) {
        faults.extend(compile_faults(&errors));
    }
    faults.extend(tls_of(&policy).err().into_iter().flatten());
    match (faults.is_empty(), json) {
        (true, true) => println!("{}", serde_json::json!({ "ok": true, "errors": [] })),
        (true, false) => {
            let (routes, keys) = (policy.routes.len(), policy.tickets.keys.len());
            println!("{}: in order ({routes} routes, {keys} ticket keys)", path.display());
        }
        (false, true) => return refuse_as_json(&located(path, &faults)),
        (false, false) => return refuse_faults(path, &faults),
    }
    ExitCode::SUCCESS
}

/// Prints a policy's errors.
pub(crate) fn refuse(errors: &PolicyErrors) -> ExitCode {
    eprintln!("{errors}");
    ExitCode::from(exit::CONFIG)
}

/// Prints why an edge does not start, as a policy's errors look; the first fault decides the exit code.
pub(crate) fn refuse_faults(path: &Path, faults: &[Fault]) -> ExitCode {
    located(path, faults).iter().for_each(|error| eprintln!("{error}"));
    ExitCode::from(faults.first().map_or(exit::CONFIG, |fault| fault.code))
}

/// What a policy says that cannot be put in force.
pub(crate) fn compile_faults(errors: &[CompileError]) -> Vec<Fault> {
    let fault = |why: &CompileError| Fault::new(exit::CONFIG, "", why.to_string(), "change what is named");
    errors.iter().map(fault).collect()
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn refuse_as_json(errors: &[PolicyError]) -> ExitCode {
    println!("{}", serde_json::json!({ "ok": false, "errors": errors }));
    ExitCode::from(exit::CONFIG)
}

pub(crate) fn located(path: &Path, faults: &[Fault]) -> Vec<PolicyError> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let error = |fault: &Fault| PolicyError {
        file: path.display().to_string(),
        line: line_of(&text, &fault.key),
        key: fault.key.clone(),
        problem: fault.problem.clone(),
        mend: fault.mend.to_owned(),
    };
    faults.iter().map(error).collect()
}

/// The line of a key such as `media.inside[0].ports` from 1; that of the table it would stand in if it is not written,
/// and 0 if there is none.
fn line_of(text: &str, key: &str) -> usize {
    let Ok(root) = DeTable::parse(text) else { return 0 };
    let (mut table, mut at) = (Some(root.get_ref()), None);
    for step in key.split('.') {
        let (name, index) = step.split_once('[').unwrap_or((step, ""));
        let found = table.and_then(|table| table.iter().find(|(known, _)| known.get_ref() == name));
        let Some((known, value)) = found else { break };
        at = Some(known.span().start);
        table = value.get_ref().as_table();
        let index = index.trim_end_matches(']').parse::<usize>();
        let item = index.ok().and_then(|index| value.get_ref().as_array()?.get(index));
        if let Some(item) = item {
            at = Some(item.span().start);
            table = item.get_ref().as_table();
        }
    }
    let before = at.and_then(|at| text.as_bytes().get(..at));
    before.map_or(0, |before| before.iter().filter(|byte| **byte == b'\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_key_is_found_in_every_way_of_writing_it() {
        let text = "a = 1\n[b]\nc = { d = 2 }\n[[e]]\nf = 3\n[[e]]\nf = 4\ng.h = 5\n";
        let lines = [
            "a",
            "b",
            "b.c.d",
            "e[0].f",
            "e[1].f",
            "e[1].g.h",
            "e[1].missing",
            "missing",
            "",
        ];
        assert_eq!(lines.map(|key| line_of(text, key)), [1, 2, 3, 5, 7, 8, 6, 0, 0]);
        assert_eq!(line_of("not = = toml", "not"), 0);
    }
}

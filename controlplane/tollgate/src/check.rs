//! `tollgate check`: everything that is wrong with a policy, at once.

use std::path::Path;
use std::process::ExitCode;

use tollgate_contract::Admission;
use tollgate_control::{Names, compile};
use tollgate_policy::PolicyErrors;

use crate::boot::tls_of;
use crate::exit;

/// Checks a policy file, the files it names, and whether it can be put in force.
#[allow(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn check(path: &Path, json: bool) -> ExitCode {
    let policy = match tollgate_policy::load(path) {
        Ok(policy) => policy,
        Err(errors) if json => {
            println!("{}", serde_json::json!({ "ok": false, "errors": errors }));
            return ExitCode::from(exit::CONFIG);
        }
        Err(errors) => return refuse(&errors),
    };
    let mut problems: Vec<String> = Vec::new();
    if let Err(errors) = compile(&policy, &Names::new(), Admission::Open) {
        problems.extend(errors.iter().map(ToString::to_string));
    }
    if let Err(why) = tls_of(&policy) {
        problems.push(why.to_string());
    }
    if json {
        println!(
            "{}",
            serde_json::json!({ "ok": problems.is_empty(), "problems": problems })
        );
    } else if problems.is_empty() {
        let (routes, keys) = (policy.routes.len(), policy.tickets.keys.len());
        println!("{}: in order ({routes} routes, {keys} ticket keys)", path.display());
    }
    if problems.is_empty() {
        return ExitCode::SUCCESS;
    }
    if !json {
        problems
            .iter()
            .for_each(|problem| eprintln!("{}: {problem}", path.display()));
    }
    ExitCode::from(exit::CONFIG)
}

/// Prints a policy's errors.
pub(crate) fn refuse(errors: &PolicyErrors) -> ExitCode {
    eprintln!("{errors}");
    ExitCode::from(exit::CONFIG)
}

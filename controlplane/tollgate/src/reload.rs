//! Taking on a changed policy file, whole or not at all, with the difference told; and `tollgate reload`, which asks for
//! it.
//!
//! What was made at start, sockets and threads, is not made anew: a file that changes them is refused and says so. Calls
//! in progress keep what they began with.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use tollgate_contract::Admission;
use tollgate_control::{ReloadAnswer, compile, resolve};
use tollgate_policy::{Change, Policy, PolicyError, diff};

use crate::admin_client::{exchange, json_in};
use crate::args::ReloadOptions;
use crate::boot::{certificates_of, tls_of};
use crate::check::{compile_faults, located};
use crate::edge::Edge;
use crate::exit::{self, fail};

/// Asks a running edge to reload, and prints what came of it.
#[allow(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn ask(options: &ReloadOptions) -> ExitCode {
    let answer = exchange(&options.at, "POST", "/v1/reload", None)
        .and_then(|(_, body)| json_in(&body).map_err(|why| format!("{} answers no JSON: {why}", options.at.admin)));
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return fail(exit::UNAVAILABLE, why),
    };
    let is_applied = answer["applied"] == true;
    if options.json {
        println!("{answer}");
    } else {
        print!("{}", words(&answer));
    }
    ExitCode::from(if is_applied { 0 } else { exit::CONFIG })
}

/// The answer for people: what differs, and what is wrong if it was refused.
fn words(answer: &Value) -> String {
    let mut text = String::new();
    let list = |what: &str| answer[what].as_array().map(Vec::as_slice).unwrap_or_default();
    for change in list("changes") {
        let _ = writeln!(text, "{}", change["text"].as_str().unwrap_or_default());
    }
    for error in list("errors") {
        let part = |what: &str| error[what].as_str().unwrap_or_default();
        let _ = writeln!(text, "{}: {}\n    mend: {}", part("key"), part("problem"), part("mend"));
    }
    text.push_str(match answer["applied"] == true {
        true if list("changes").is_empty() => {
            "in force; the text is the same, and the files it names were read again\n"
        }
        true => "in force for new calls\n",
        false => "refused: the old policy stays in force\n",
    });
    text
}

impl Edge {
    /// Reads the policy file again and takes it on, or says why not.
    pub(crate) async fn reload(&mut self) -> ReloadAnswer {
        let answer = match self.try_reload().await {
            Ok(changes) => ReloadAnswer {
                is_applied: true,
                body: json!({ "applied": true, "changes": shown(&changes) }),
            },
            Err(Refused { errors, changes }) => ReloadAnswer {
                is_applied: false,
                body: json!({ "applied": false, "errors": errors, "changes": shown(&changes) }),
            },
        };
        log(&answer.body);
        answer
    }

    async fn try_reload(&mut self) -> Result<Vec<Change>, Refused> {
        // The text may change between the two readings; then what is compared is what was there first.
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let policy = tollgate_policy::load(&self.path).map_err(|errors| Refused {
            errors: errors.as_slice().to_vec(),
            changes: Vec::new(),
        })?;
        let changes = diff(&self.text, &text);
        let refused = |errors| Refused {
            errors,
            changes: changes.clone(),
        };
        let fixed: Vec<PolicyError> = changes
            .iter()
            .filter(|change| change.needs_restart)
            .map(|change| self.needs_restart(change))
            .collect();
        if !fixed.is_empty() {
            return Err(refused(fixed));
        }
        let tls = tls_of(&policy).map_err(|faults| refused(located(&self.path, &faults)))?;
        let (names, _) = resolve(&policy, &self.names).await;
        let base = compile(&policy, &names, Admission::Open)
            .map_err(|errors| refused(located(&self.path, &compile_faults(&errors))))?;
        let certificates = certificates_of(&tls);
        self.plane
            .handle
            .set_tls(tls.inside, Some(tls.outside))
            .map_err(|why| refused(vec![self.error("outside.tls", &why.to_string(), "see tollgate check")]))?;
        self.plane.set_certificates(certificates);
        self.take_on(policy, names, text);
        self.rebase(base);
        Ok(changes)
    }

    fn take_on(&mut self, policy: Policy, names: tollgate_control::Names, text: String) {
        self.policy = policy;
        self.names = names;
        self.text = text;
    }

    fn needs_restart(&self, change: &Change) -> PolicyError {
        let problem = "is about what is made at start, and differs from what runs";
        self.error(&change.key, problem, "change it back, or start Tollgate anew")
    }

    fn error(&self, key: &str, problem: &str, mend: &str) -> PolicyError {
        PolicyError {
            file: self.path.display().to_string(),
            line: 0,
            key: key.to_owned(),
            problem: problem.to_owned(),
            mend: mend.to_owned(),
        }
    }
}

/// Why a policy is not taken on.
struct Refused {
    errors: Vec<PolicyError>,
    changes: Vec<Change>,
}

fn shown(changes: &[Change]) -> Value {
    let shown = changes.iter().map(|change| {
        let mut value = json!(change);
        value["text"] = json!(change.to_string());
        value
    });
    shown.collect()
}

fn log(body: &Value) {
    let count = |what: &str| body[what].as_array().map_or(0, Vec::len);
    if body["applied"] == true {
        tracing::info!(
            event = "reloaded",
            changes = count("changes"),
            "the policy is in force for new calls"
        );
    } else {
        tracing::error!(
            event = "reload_refused",
            errors = count("errors"),
            "the old policy stays in force"
        );
    }
}

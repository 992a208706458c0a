//! A command of the program, run to its end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::company::Papers;

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Everything it wrote.
    pub(crate) fn words(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Its errors, for a command with `--json`.
    pub(crate) fn errors(&self) -> Vec<Value> {
        let answer: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why}: {self:?}"));
        assert_eq!(answer["ok"], false, "{answer}");
        answer["errors"].as_array().unwrap().clone()
    }
}

/// The program with arguments.
pub(crate) fn tollgate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(args);
    command
}

/// A verb on the policy of a company.
pub(crate) fn with_policy(papers: &Papers, verb: &[&str]) -> Ended {
    run(tollgate(verb).arg("--policy").arg(papers.path("alpha.toml")))
}

/// Runs a command that must end by itself.
pub(crate) fn run(command: &mut Command) -> Ended {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{command:?} goes on: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Ended {
        code: output.status.code(),
        stdout,
        stderr,
    }
}

/// `run`, `check` and `check --json` all refuse for this one reason.
pub(crate) fn expect_refused(papers: &Papers, key: &str, line: usize, words: &str) -> String {
    let policy = papers.path("alpha.toml");
    let mut said = String::new();
    for verb in ["run", "check"] {
        let ended = with_policy(papers, &[verb]);
        assert_eq!(ended.code, Some(78), "{verb}: {ended:?}");
        expect_told(&ended, &policy, key, line, words);
        said += &ended.words();
    }
    let ended = with_policy(papers, &["check", "--json"]);
    assert_eq!(ended.code, Some(78), "{ended:?}");
    let errors = ended.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(
        (&errors[0]["key"], &errors[0]["line"]),
        (&key.into(), &line.into()),
        "{errors:?}"
    );
    assert!(
        errors[0]["problem"].as_str().unwrap().contains(words),
        "{words}: {errors:?}"
    );
    assert!(!errors[0]["mend"].as_str().unwrap().is_empty(), "{errors:?}");
    said + &ended.words()
}

/// File, line, key, problem and mend stand in the text.
pub(crate) fn expect_told(ended: &Ended, policy: &Path, key: &str, line: usize, words: &str) {
    let place = format!("{}:{line}: {key}: ", policy.display());
    let told = ended.stderr.lines().find(|told| told.starts_with(&place));
    let told = told.unwrap_or_else(|| panic!("{place} is not told: {}", ended.stderr));
    assert!(told.contains(words), "{words}: {told}");
    assert!(ended.stderr.contains("\n    mend: "), "{}", ended.stderr);
}

/// The line of a key below the `nth` heading, counted from 0, of a policy.
pub(crate) fn line_below(text: &str, heading: &str, nth: usize, key: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let headings = lines.iter().enumerate().filter(|(_, line)| **line == heading);
    let (start, _) = headings.into_iter().nth(nth).unwrap();
    let below = lines[start..]
        .iter()
        .position(|line| line.starts_with(&format!("{key} =")));
    start + below.unwrap() + 1
}

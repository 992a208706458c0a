//! Every cause for which something is dropped or refused is made by the data plane and named by a test.
//!
//! It reads the sources: a variant that no test names is a failure path nobody has walked.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The enums of causes, and where they are.
const CAUSES: [(&str, &str); 8] = [
    ("DropReason", "dataplane/media/src/drop_reason.rs"),
    ("Violation", "dataplane/contract/src/counters.rs"),
    ("AdmissionResult", "dataplane/contract/src/counters.rs"),
    ("TicketCause", "dataplane/contract/src/tickets.rs"),
    ("CallOutcome", "dataplane/contract/src/report.rs"),
    ("InvalidMessage", "dataplane/sip/src/error.rs"),
    ("SendFailure", "dataplane/call/src/transport.rs"),
    ("HandshakeFailure", "dataplane/runtime/src/telemetry.rs"),
];

/// The folders of the workspace with code.
const FOLDERS: [&str; 4] = ["dataplane", "policies", "controlplane", "tests"];

/// What marks the tests at the end of a source file.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

#[test]
fn every_cause_is_named_by_a_test() {
    let code = Code::read();
    for (name, variants) in causes() {
        let named = named(&code.tests, name);
        let missing: Vec<_> = variants.difference(&named).collect();
        assert!(missing.is_empty(), "no test names {name}::{missing:?}");
    }
}

#[test]
fn every_cause_is_made_somewhere_in_the_data_plane() {
    let code = Code::read();
    for (name, variants) in causes() {
        let made = named(&code.dataplane, name);
        let missing: Vec<_> = variants.difference(&made).collect();
        assert!(missing.is_empty(), "nothing makes {name}::{missing:?}");
    }
}

#[test]
fn a_variant_missing_from_the_tests_would_be_seen() {
    let text = "/// Doc.\npub enum Fruit {\n    /// Red.\n    Apple,\n    /// Yellow.\n    Pear(u8),\n    Plum { ripe: bool },\n}\n";
    let all = BTreeSet::from(["Apple".to_owned(), "Pear".to_owned(), "Plum".to_owned()]);
    assert_eq!(variants(text, "Fruit"), all);
    let tests = "assert_eq!(x, Fruit::Apple); // Fruit::Pear\nOtherFruit::Plum";
    assert_eq!(named(tests, "Fruit"), BTreeSet::from(["Apple".to_owned()]));
}

/// The code of the workspace, its definitions of causes left out.
struct Code {
    tests: String,
    dataplane: String,
}

impl Code {
    fn read() -> Self {
        let (mut tests, mut dataplane) = (String::new(), String::new());
        let this = Path::new(file!()).file_name();
        for folder in FOLDERS {
            for path in sources(&root().join(folder)) {
                let name = path
                    .strip_prefix(root())
                    .expect("below the root")
                    .to_string_lossy()
                    .into_owned();
                let text = fs::read_to_string(&path).expect("readable");
                let (code, own_tests) = text.split_once(TESTS).unwrap_or((&text, ""));
                tests += own_tests;
                if is_test(&name) && path.file_name() != this {
                    tests += code;
                } else if folder == "dataplane" && CAUSES.iter().all(|(_, definition)| *definition != name) {
                    dataplane += code;
                }
            }
        }
        assert!(tests.len() > 200_000 && dataplane.len() > 200_000, "little was read");
        Self { tests, dataplane }
    }
}

/// The causes and their variants.
fn causes() -> Vec<(&'static str, BTreeSet<String>)> {
    let read = |(name, path): (&'static str, &str)| {
        let text = fs::read_to_string(root().join(path)).expect("a definition");
        let variants = variants(&text, name);
        assert!(variants.len() > 4, "{name} in {path}: {variants:?}");
        (name, variants)
    };
    CAUSES.into_iter().map(read).collect()
}

/// The variants of an enum, or of the macro call that writes it.
fn variants(text: &str, name: &str) -> BTreeSet<String> {
    let heading = if name == "DropReason" {
        "\ndrop_reasons! {\n".to_owned()
    } else {
        format!("enum {name} {{\n")
    };
    let (_, body) = text.split_once(&heading).expect("the enum");
    let (body, _) = body.split_once("\n}").expect("its end");
    let is_variant = |line: &&str| line.starts_with("    ") && line.trim_start().starts_with(char::is_uppercase);
    body.lines()
        .filter(is_variant)
        .map(|line| word(line.trim_start()))
        .collect()
}

/// The variants that stand in a text by the full name of their enum, comments left out.
fn named(text: &str, name: &str) -> BTreeSet<String> {
    let mark = format!("{name}::");
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices(&mark) {
            let before = code.get(..at).and_then(|before| before.chars().next_back());
            if !before.is_some_and(is_word) {
                found.insert(word(&code[at + mark.len()..]));
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| is_word(*letter)).collect()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Whether a file holds nothing but tests: a package's `tests` folder, or a module of tests with a file of its own.
fn is_test(name: &str) -> bool {
    let name = name.strip_prefix("tests/").unwrap_or(name);
    name.contains("/tests/") || name.ends_with("/tests.rs") || name.ends_with("/vectors.rs")
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("two folders below the root").to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

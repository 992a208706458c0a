//! The import rules of ARCHITECTURE.md, read from the manifests, and where `unsafe` may stand.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Package, folder, and the packages of the workspace it may depend on.
const RULES: [(&str, &str, &[&str]); 14] = [
    ("tollgate-contract", "dataplane/contract", &[]),
    ("tollgate-ticket", "dataplane/ticket", &["tollgate-contract"]),
    ("tollgate-sip", "dataplane/sip", &["tollgate-contract"]),
    ("tollgate-media", "dataplane/media", &["tollgate-contract"]),
    (
        "tollgate-call",
        "dataplane/call",
        &["tollgate-contract", "tollgate-media", "tollgate-sip", "tollgate-ticket"],
    ),
    (
        "tollgate-runtime",
        "dataplane/runtime",
        &["tollgate-call", "tollgate-contract", "tollgate-media", "tollgate-sip"],
    ),
    ("tollgate-policy", "policies", &[]),
    (
        "tollgate-validator",
        "controlplane/validator",
        &["tollgate-contract", "tollgate-ticket"],
    ),
    (
        "tollgate-control",
        "controlplane/control",
        &[
            "tollgate-contract",
            "tollgate-policy",
            "tollgate-ticket",
            "tollgate-validator",
        ],
    ),
    (
        "tollgate-peers",
        "tests/peers",
        &["tollgate-contract", "tollgate-ticket"],
    ),
    (
        "tollgate",
        "controlplane/tollgate",
        &[
            "tollgate-call",
            "tollgate-contract",
            "tollgate-control",
            "tollgate-media",
            "tollgate-peers",
            "tollgate-policy",
            "tollgate-runtime",
            "tollgate-sip",
            "tollgate-ticket",
            "tollgate-validator",
        ],
    ),
    (
        "tollgate-testkit",
        "tests/testkit",
        &[
            "tollgate-call",
            "tollgate-contract",
            "tollgate-control",
            "tollgate-media",
            "tollgate-peers",
            "tollgate-policy",
            "tollgate-runtime",
            "tollgate-sip",
            "tollgate-ticket",
            "tollgate-validator",
        ],
    ),
    ("tollgate-scenarios", "tests/scenarios", &[]),
    (
        "tollgate-bench",
        "bench",
        &[
            "tollgate-call",
            "tollgate-contract",
            "tollgate-media",
            "tollgate-peers",
            "tollgate-runtime",
            "tollgate-sip",
            "tollgate-testkit",
            "tollgate-ticket",
        ],
    ),
];

/// The packages that may use tokio.
const ASYNC: [&str; 4] = ["tollgate", "tollgate-bench", "tollgate-control", "tollgate-peers"];

/// The one file with `unsafe`: the counting allocator.
const ALLOCATOR: &str = "tests/testkit/src/alloc.rs";

#[test]
fn every_member_has_a_rule() {
    let manifest = manifest(&root());
    let members = manifest["workspace"]["members"].as_array().expect("members");
    let members: BTreeSet<&str> = members.iter().filter_map(toml::Value::as_str).collect();
    let ruled: BTreeSet<&str> = RULES.iter().map(|(_, folder, _)| *folder).collect();
    let unruled: Vec<_> = members.difference(&ruled).collect();
    assert!(unruled.is_empty(), "no rule for {unruled:?}");
    assert!(ruled.is_subset(&members));
}

#[test]
fn each_package_depends_on_those_below_it_alone() {
    for (package, folder, allowed) in RULES {
        let manifest = manifest(&root().join(folder));
        assert_eq!(manifest["package"]["name"].as_str(), Some(package));
        let used = dependencies(&manifest, "dependencies");
        for used in used.iter().filter(|name| name.starts_with("tollgate")) {
            assert!(allowed.contains(&used.as_str()), "{package} must not depend on {used}");
        }
    }
}

#[test]
fn the_data_plane_knows_neither_the_control_plane_nor_the_policies() {
    for (package, folder, _) in RULES.iter().filter(|(_, folder, _)| folder.starts_with("dataplane/")) {
        let manifest = manifest(&root().join(folder));
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let used = dependencies(&manifest, kind);
            for above in ["tollgate", "tollgate-control", "tollgate-policy"] {
                assert!(!used.contains(above), "{package} names {above} in {kind}");
            }
        }
    }
}

#[test]
fn the_rules_have_no_cycle() {
    let rules: BTreeMap<&str, &[&str]> = RULES.iter().map(|(package, _, allowed)| (*package, *allowed)).collect();
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    while settled.len() < rules.len() {
        let next = rules.iter().find(|(package, allowed)| {
            !settled.contains(*package) && allowed.iter().all(|below| settled.contains(below))
        });
        settled.insert(next.expect("a package above settled ones only").0);
    }
}

#[test]
fn only_the_control_plane_and_the_peers_use_tokio() {
    for (package, folder, _) in RULES {
        let used = dependencies(&manifest(&root().join(folder)), "dependencies");
        let is_async = used.iter().any(|name| name.starts_with("tokio"));
        assert!(!is_async || ASYNC.contains(&package), "{package} uses tokio");
    }
}

#[test]
fn unsafe_stands_in_the_counting_allocator_and_nowhere_else() {
    let word = ["un", "safe"].concat();
    let mut seen = 0;
    for (_, folder, _) in RULES {
        for file in sources(&root().join(folder)) {
            let name = file
                .strip_prefix(root())
                .expect("below the root")
                .to_string_lossy()
                .into_owned();
            let text = fs::read_to_string(&file).expect("readable");
            let uses = text.lines().filter(|line| uses_word(line, &word)).count();
            if name == ALLOCATOR {
                assert!(uses > 0 && text.contains("// SAFETY: "));
            } else {
                assert_eq!(uses, 0, "{name}");
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} files found");
}

#[test]
fn every_crate_forbids_it_and_the_allocators_denies_it() {
    let forbids = ["#![forbid(un", "safe_code)]"].concat();
    let denies = ["#![deny(un", "safe_code)]"].concat();
    for (package, folder, _) in RULES {
        for root_file in crate_roots(&root().join(folder)) {
            let text = fs::read_to_string(&root_file).expect("readable");
            let wanted = if package == "tollgate-testkit" && root_file.ends_with("lib.rs") {
                &denies
            } else {
                &forbids
            };
            assert!(text.contains(wanted.as_str()), "{} lacks {wanted}", root_file.display());
        }
    }
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("two folders below the root").to_owned()
}

fn manifest(folder: &Path) -> toml::Table {
    let text = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    text.parse().expect("valid TOML")
}

/// The dependencies of a kind, those of single targets included.
fn dependencies(manifest: &toml::Table, kind: &str) -> BTreeSet<String> {
    let names = |table: &toml::Table| -> Vec<String> {
        let section = table.get(kind).and_then(toml::Value::as_table);
        section
            .map(|section| section.keys().cloned().collect())
            .unwrap_or_default()
    };
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let of_targets = targets
        .into_iter()
        .flat_map(toml::Table::values)
        .filter_map(toml::Value::as_table);
    names(manifest).into_iter().chain(of_targets.flat_map(names)).collect()
}

/// Whether a line uses the word as a keyword: neither in a comment nor as a part of a lint's name.
fn uses_word(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|part| part == word)
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

/// The files that are roots of crates: the library and the programs.
fn crate_roots(folder: &Path) -> Vec<PathBuf> {
    let is_root = |path: &PathBuf| {
        let inner = path.strip_prefix(folder).expect("below the folder");
        let parts: Vec<_> = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        matches!(parts[..], ["src", "lib.rs" | "main.rs"] | ["src", "bin", _])
    };
    sources(folder).into_iter().filter(is_root).collect()
}

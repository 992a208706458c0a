//! Who may import whom (ARCHITECTURE.md): checked against the manifests, so that a new arrow is a decision.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A crate's folder and which of ours it may use in its product code.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("dataplane/contract", &[]),
    ("dataplane/ticket", &["contract"]),
    ("dataplane/sip", &["contract"]),
    ("dataplane/media", &["contract"]),
    ("dataplane/call", &["contract", "ticket", "sip", "media"]),
    ("dataplane/runtime", &["contract", "call"]),
    ("policies", &[]),
    ("controlplane/control", &["contract", "policy", "ticket"]),
    (
        "controlplane/tollgate",
        &[
            "call", "contract", "control", "media", "policy", "runtime", "sip", "ticket",
        ],
    ),
];

#[test]
fn every_crate_uses_only_those_below_it() {
    for (folder, allowed) in ALLOWED {
        let used: BTreeSet<String> = dependencies(folder)
            .into_iter()
            .filter_map(|name| name.strip_prefix("tollgate-").map(str::to_owned))
            .collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        assert!(used.is_subset(&allowed), "{folder} uses {used:?}, may use {allowed:?}");
    }
}

#[test]
fn tokio_is_in_the_control_plane_alone() {
    for (folder, _) in ALLOWED.iter().filter(|(folder, _)| !folder.starts_with("controlplane")) {
        let found: Vec<String> = dependencies(folder)
            .into_iter()
            .filter(|name| name.starts_with("tokio"))
            .collect();
        assert!(found.is_empty(), "{folder}: {found:?}");
    }
}

#[test]
fn unsafe_is_forbidden_in_every_crate_and_stands_nowhere() {
    for (folder, _) in ALLOWED {
        let root = workspace().join(folder).join("src");
        let entry = ["lib.rs", "main.rs"]
            .map(|name| root.join(name))
            .into_iter()
            .find(|path| path.exists());
        let entry = entry.expect("a crate has a root");
        let text = fs::read_to_string(&entry).expect("readable");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{}", entry.display());
    }
}

/// The names under `[dependencies]` of a crate's manifest.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = fs::read_to_string(workspace().join(folder).join("Cargo.toml")).expect("readable");
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

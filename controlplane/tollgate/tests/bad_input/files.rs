//! Files that a policy names and that do not hold what they should.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use tollgate_peers::agent::SipTransport;
use tollgate_peers::certs::{Authority, Validity};

use crate::command::{expect_refused, expect_told, line_below, run, tollgate};
use crate::company::{Papers, ticket_key};
use crate::leaks::Secrets;

const CERTIFICATE: &str = "outside.tls.certificate";
const PRIVATE_KEY: &str = "outside.tls.private_key";
const TRUST_ROOTS: &str = "outside.tls.trust_roots";
const KEY_FILE: &str = "tickets.keys[0].key_file";

/// The user `nobody`, who may read what all may.
const NOBODY: u32 = 65_534;

#[test]
fn certificates_and_keys_that_cannot_be_used_are_told_by_file_line_key_and_mend() {
    let papers = Papers::write(64, SipTransport::Tcp, "");
    let pem = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let own = papers.text("alpha.pem");
    let stranger = Authority::new("Other CA").issue(&["alpha.example"], &[]);
    let cases = [
        ("alpha.key", stranger.key_pem.clone(), "does not belong to"),
        ("alpha.key", own.clone(), "no private key"),
        ("alpha.key", pem("PRIVATE KEY", "AAAA"), "unusable private key"),
        (
            "alpha.key",
            papers.text("alpha.key").replace("-----END", "!-----END"),
            "broken PEM",
        ),
        ("alpha.key", String::new(), "no private key"),
        ("alpha.pem", String::new(), "no certificate"),
        ("alpha.pem", "garbage\0garbage".to_owned(), "no certificate"),
        ("alpha.pem", pem("CERTIFICATE", "AAAA"), "not an X.509"),
        ("alpha.pem", pem("CERTIFICATE", "(not base64)"), "broken PEM"),
        ("alpha.pem", own[..own.len() / 2].to_owned(), "broken PEM"),
        ("ca.pem", String::new(), "no certificate"),
        ("ca.pem", pem("CERTIFICATE", "AAAA"), "unusable trust root"),
    ];
    let mut secrets = Secrets::default();
    [&papers.text("alpha.key"), &papers.text("beta.key"), &stranger.key_pem]
        .into_iter()
        .for_each(|key| secrets.add_pem(key));
    for (file, contents, words) in cases {
        let key = match file {
            "alpha.key" => PRIVATE_KEY,
            "alpha.pem" => CERTIFICATE,
            _ => TRUST_ROOTS,
        };
        let good = papers.text(file);
        fs::write(papers.path(file), contents).unwrap();
        let said = refused(&papers, key, words);
        assert!(said.contains(&papers.path(file).display().to_string()), "{said}");
        secrets.expect_absent(key, &said);
        fs::write(papers.path(file), good).unwrap();
    }
}

#[test]
fn a_certificate_of_our_own_that_does_not_bear_the_domain_is_told_with_its_names() {
    let papers = Papers::write(67, SipTransport::Tcp, "");
    for (names, words) in [
        (
            &["www.alpha.example", "other.example"][..],
            "names www.alpha.example, other.example, and not alpha.example",
        ),
        (&["*.example"], "names no SIP domain"),
    ] {
        let identity = papers.authority.issue(names, &[]);
        fs::write(papers.path("alpha.pem"), identity.cert_pem).unwrap();
        fs::write(papers.path("alpha.key"), identity.key_pem).unwrap();
        refused(&papers, CERTIFICATE, words);
    }
}

#[test]
fn an_expired_certificate_of_our_own_is_told_with_its_age() {
    let papers = Papers::write(58, SipTransport::Tcp, "");
    let expired = papers.authority.issue_at("alpha.example", Validity::Expired);
    let mut secrets = Secrets::default();
    secrets.add_pem(&expired.key_pem);
    fs::write(papers.path("alpha.pem"), expired.cert_pem).unwrap();
    fs::write(papers.path("alpha.key"), expired.key_pem).unwrap();
    secrets.expect_absent("expired", &refused(&papers, CERTIFICATE, "days ago"));
}

#[test]
fn certificate_files_that_are_not_there_are_told_all_at_once() {
    let papers = Papers::write(66, SipTransport::Tcp, "");
    for file in ["alpha.pem", "alpha.key", "ca.pem"] {
        fs::remove_file(papers.path(file)).unwrap();
    }
    let text = papers.text("alpha.toml");
    for verb in ["run", "check"] {
        let ended = crate::command::with_policy(&papers, &[verb]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        for (key, name) in [
            (CERTIFICATE, "certificate"),
            (PRIVATE_KEY, "private_key"),
            (TRUST_ROOTS, "trust_roots"),
        ] {
            let line = line_below(&text, "[outside.tls]", 0, name);
            expect_told(&ended, &papers.path("alpha.toml"), key, line, "cannot be read");
        }
    }
}

#[test]
fn a_wrong_ticket_key_file_is_told_and_nothing_of_it_shown() {
    let papers = Papers::write(68, SipTransport::Tcp, "");
    let key = papers.text("alpha.epoch");
    let mut secrets = Secrets::default();
    secrets.add_bytes(&ticket_key("alpha"));
    let cases: [(Vec<u8>, &str); 7] = [
        (Vec::new(), "64 hexadecimal digits are needed"),
        (key[..63].into(), "63 characters"),
        (format!("{key}0").into(), "65 characters"),
        (
            key.replace(&key[10..11], "g").into(),
            "64 hexadecimal digits are needed",
        ),
        (format!("key = {key}").into(), "70 characters"),
        ([key.as_bytes(), &[0xff, 0xfe]].concat(), "cannot be read"),
        (key.repeat(2_000).into(), "has 128000 bytes"),
    ];
    let file = papers.path("alpha.epoch");
    for (contents, words) in cases {
        fs::write(&file, contents).unwrap();
        secrets.expect_absent(words, &refused(&papers, KEY_FILE, words));
    }
    fs::remove_file(&file).unwrap();
    refused(&papers, KEY_FILE, "cannot be read: No such file");
    fs::create_dir(&file).unwrap();
    refused(&papers, KEY_FILE, "is not a file");
}

#[test]
fn a_file_this_user_may_not_read_is_told_as_such() {
    let papers = Papers::write(70, SipTransport::Tcp, "");
    fs::set_permissions(&papers.folder, fs::Permissions::from_mode(0o755)).unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mode = if is_root { 0o600 } else { 0 };
    // The program where that user finds it, whoever owns the folder it was built in.
    let program = papers.path("tollgate");
    // Copied by another process: a file this one has open for writing cannot be run while a sibling test forks.
    let mut copy = std::process::Command::new("cp");
    assert!(
        copy.arg(env!("CARGO_BIN_EXE_tollgate"))
            .arg(&program)
            .status()
            .unwrap()
            .success()
    );
    let text = papers.text("alpha.toml");
    for (file, key, heading) in [
        ("alpha.key", PRIVATE_KEY, "[outside.tls]"),
        ("alpha.epoch", KEY_FILE, "[[tickets.keys]]"),
    ] {
        fs::set_permissions(papers.path(file), fs::Permissions::from_mode(mode)).unwrap();
        let mut command = std::process::Command::new(&program);
        command.args(["run", "--policy"]).arg(papers.path("alpha.toml"));
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let ended = run(&mut command);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let line = line_below(&text, heading, 0, key.rsplit('.').next().unwrap());
        expect_told(&ended, &papers.path("alpha.toml"), key, line, "Permission denied");
        fs::set_permissions(papers.path(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
}

#[test]
fn a_policy_that_is_not_there_and_records_that_cannot_be_written_are_told() {
    let papers = Papers::write(
        72,
        SipTransport::Tcp,
        "[logging]\ncall_records = \"no/such/folder/records.jsonl\"\n",
    );
    let ended = run(tollgate(&["check", "--policy", "/no/such/policy.toml"]).env_remove("RUST_LOG"));
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(
        ended.stderr.contains("/no/such/policy.toml: cannot be read"),
        "{ended:?}"
    );
    let ended = crate::command::with_policy(&papers, &["run"]);
    assert_eq!(ended.code, Some(73), "{ended:?}");
    let line = line_below(&papers.text("alpha.toml"), "[logging]", 0, "call_records");
    expect_told(
        &ended,
        &papers.path("alpha.toml"),
        "logging.call_records",
        line,
        "No such file",
    );
}

/// Both commands refuse for one key of the policy; what they said.
fn refused(papers: &Papers, key: &str, words: &str) -> String {
    let (table, name) = key.rsplit_once('.').unwrap();
    let heading = match table.strip_suffix("[0]") {
        Some(tables) => format!("[[{tables}]]"),
        None => format!("[{table}]"),
    };
    let line = line_below(&papers.text("alpha.toml"), &heading, 0, name);
    expect_refused(papers, key, line, words)
}

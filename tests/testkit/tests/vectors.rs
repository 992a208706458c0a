//! The vectors of `tests/data` through the one runner, and that the runner sees what is wrong with a vector.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tollgate_testkit::vectors::{self, Report, SuiteReport};

const PACKETS: &str = "srtp/aes_cm_128_hmac_sha1_80.json";
const DERIVATION: &str = "srtp/rfc3711_rfc6188_kdf_keystream.json";

#[test]
fn every_vector_passes_and_none_is_lost() {
    let report = vectors::run(&data()).unwrap();
    let unread: Vec<_> = report.unreadable().collect();
    assert_eq!(report.exit_code(), 0, "{report}{unread:?}");
    let passed: Vec<_> = report.suites.iter().map(|suite| (suite.folder, suite.passed)).collect();
    assert_eq!(
        passed,
        [
            ("ticket", 18),
            ("srtp", 486),
            ("quality", 49),
            ("sip-torture", 87),
            ("sip-torture-own", 94),
            ("sip-state", 17),
            ("sdp", 34),
        ]
    );
}

#[test]
fn flipped_expectation_is_a_failure_of_that_case_alone() {
    for (file, list, pointer, value) in [
        ("ticket/tickets.json", "cases", "/expect", json!("mac|time")),
        (PACKETS, "packets", "/protected", Value::Null),
        (PACKETS, "packets", "/plain", Value::Null),
        (PACKETS, "sequences", "/events/0/expect", json!("reject")),
        (PACKETS, "sequences", "/events/0/plain", Value::Null),
        (DERIVATION, "kdf", "/rtcp_salt", Value::Null),
        (DERIVATION, "keystream", "/keystream_blocks/feff", Value::Null),
        (DERIVATION, "keystream", "/iv", Value::Null),
        ("srtp/rfc7714_session_level.json", "cases", "/protected", Value::Null),
        (
            "srtp/dtls_srtp_key_block.json",
            "cases",
            "/server_protected",
            Value::Null,
        ),
        ("srtp/dtls_srtp_key_block.json", "cases", "/client_salt", Value::Null),
        ("quality/jitter_loss.json", "cases", "/expected/received", json!(1)),
        (
            "quality/jitter_loss.json",
            "cases",
            "/expected/jitter_float",
            json!(0.5),
        ),
        ("quality/burst_gap.json", "cases", "/expected/bursts", json!(7)),
        ("quality/burst_gap.json", "cases", "/expected/gap_density", json!(0.9)),
        ("quality/emodel.json", "cases", "/full/R", json!(93.4)),
        ("quality/emodel.json", "cases", "/simple/MOS", json!(4.3)),
        ("quality/emodel.json", "r_to_mos", "/1", json!(1.02)),
        ("sdp/sdes.json", "cases", "/keys/0/master_salt", Value::Null),
        ("sdp/sdes.json", "cases", "/keys/0/lifetime", json!(5)),
        ("sdp/sdes.json", "cases", "/valid", json!(false)),
        ("sdp/offer_answer.json", "cases", "/legal", json!(false)),
        ("sdp/offer_answer.json", "cases", "/open_streams", json!([0])),
    ] {
        let name = format!("flipped-{}-{list}{}", file.replace('/', "-"), pointer.replace('/', "-"));
        let good = only(&run_one(&name, file, |_| {})).clone();
        let bad = run_one(&name, file, |content| {
            let place = content.pointer_mut(&format!("/{list}/0{pointer}")).unwrap();
            *place = if value.is_null() {
                last_digit_changed(place)
            } else {
                value.clone()
            };
        });
        let suite = only(&bad);
        assert_eq!(
            (suite.passed, suite.cases()),
            (good.cases() - 1, good.cases()),
            "{name}"
        );
        assert_eq!(bad.exit_code(), 1, "{name}");
        let failure = bad.failures().next().unwrap();
        assert_eq!(failure.file, file);
        assert_ne!(failure.expected, failure.actual, "{name}");
        assert!(bad.to_string().contains(&format!("FAILED {file} {}", failure.case)));
    }
}

#[test]
fn failure_shows_the_expected_and_the_actual_value() {
    let report = run_one("shows", "ticket/tickets.json", |content| {
        content["cases"][0]["expect"] = json!("mac");
    });
    let failure = report.failures().next().unwrap();
    assert_eq!((failure.case.as_str(), failure.what.as_str()), ("good", "result"));
    assert_eq!((failure.expected.as_str(), failure.actual.as_str()), ("mac", "PASS"));
    let json = report.to_json();
    assert_eq!(json["failures"][0]["actual"], "PASS");
    assert_eq!(
        json["folders"]["ticket"],
        json!({"cases": 18, "passed": 17, "failed": 1, "skipped": 0, "unreadable": 0})
    );
}

#[test]
fn every_accepted_result_of_a_case_passes() {
    let report = run_one("accepted", "ticket/tickets.json", |content| {
        content["cases"][0]["expect"] = json!("domain|PASS");
    });
    assert_eq!((only(&report).passed, report.exit_code()), (18, 0));
}

#[test]
fn packet_protected_with_another_key_fails() {
    let report = run_one("other-key", PACKETS, |content| {
        let key = &mut content["packets"][0]["master_key"];
        *key = last_digit_changed(key);
    });
    assert_eq!(report.failures().next().unwrap().what, "protected");
}

#[test]
fn file_without_a_runner_is_skipped_by_name_and_not_passed() {
    let dir = fresh("skipped");
    place(&dir, "quality/fallback.json", |_| {});
    let report = vectors::run(&dir).unwrap();
    let skipped: Vec<_> = report.skipped().collect();
    assert_eq!(skipped, ["quality/fallback.json"]);
    let suite = only(&report);
    assert_eq!((suite.cases(), suite.passed, suite.skipped.len()), (0, 0, 1));
    let json = report.to_json();
    assert_eq!(json["folders"]["quality"]["passed"], 0);
    assert_eq!(json["folders"]["quality"]["skipped"], 1);
    assert!(report.to_string().contains("SKIPPED quality/fallback.json"));
}

#[test]
fn changed_step_or_end_of_a_sequence_fails_it_alone() {
    for (case, pointer, changed) in [
        (0, "/steps/4", "A! 100"),
        (0, "/afterwards", "the call is still up"),
        (2, "/steps/6", "P>B BYE"),
        (3, "/steps/5", "P>A 200"),
        (3, "/afterwards", "no dialog, transaction, pinhole or port is left"),
        (6, "/steps/6", "P>B INFO"),
        (7, "/steps/1", "P>A 481"),
        (8, "/steps/4", "P>B INVITE"),
        (9, "/afterwards", "A saw the same key, address and port"),
        (13, "/steps/1", "P>A 200"),
        (16, "/steps/6", "P>B NOTIFY"),
    ] {
        let name = format!("sequence-{case}{}", pointer.replace('/', "-"));
        let report = run_one(&name, "sip-state/sequences.json", |file| {
            *file.pointer_mut(&format!("/cases/{case}{pointer}")).unwrap() = json!(changed);
        });
        assert_eq!((only(&report).passed, report.exit_code()), (16, 1), "{name}: {report}");
    }
}

#[test]
fn raw_message_counts_only_with_its_verdict_and_its_bytes() {
    let good = "own-good-invite-udp.sip";
    let bad = "own-bad-two-from.sip";
    for (file, from, to, code) in [
        (good, "", "", 0),
        (bad, "", "", 0),
        (good, "\taccept\t", "\treject-400\t", 1),
        (bad, "\treject-400\tdrop\t", "\taccept\t-\t", 1),
        (bad, "\treject-400\tdrop\t", "\treject-403\t-\t", 1),
    ] {
        let dir = fresh(&format!("raw-{file}-{}", to.trim().replace('\t', "-")));
        place_raw(&dir, file, |line| line.replace(from, to));
        let report = vectors::run(&dir).unwrap();
        assert_eq!((only(&report).cases(), report.exit_code()), (1, code), "{report}");
    }
    let dir = fresh("raw-altered");
    place_raw(&dir, good, str::to_owned);
    let path = dir.join("sip-torture").join(good);
    let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
    fs::write(path, text.replace("\r\n", "\n")).unwrap();
    let report = vectors::run(&dir).unwrap();
    assert_eq!((only(&report).cases(), report.exit_code()), (0, 2));
    assert!(
        report
            .unreadable()
            .next()
            .unwrap()
            .why
            .contains("not the file of the manifest")
    );
}

#[test]
fn files_are_told_by_their_schema_whatever_their_name() {
    let dir = fresh("renamed");
    let text = fs::read(data().join("quality/burst_gap.json")).unwrap();
    fs::create_dir(dir.join("quality")).unwrap();
    fs::write(dir.join("quality/other.json"), text).unwrap();
    assert_eq!(only(&vectors::run(&dir).unwrap()).passed, 12);
}

#[test]
fn malformed_file_is_named_and_the_others_still_run() {
    let dir = fresh("malformed");
    place(&dir, "ticket/tickets.json", |_| {});
    for (name, text, why) in [
        ("a-cut.json", r#"{"schema": "edge-ticket/1", "#, "EOF"),
        ("b-nameless.json", "[]", "has no schema"),
        (
            "c-foreign.json",
            r#"{"schema": "edge-burst/1", "cases": []}"#,
            "unknown schema",
        ),
        ("d-no-list.json", r#"{"schema": "edge-ticket/1"}"#, "cases is no list"),
        (
            "e-empty.json",
            r#"{"schema": "edge-ticket/1", "cases": []}"#,
            "holds no case",
        ),
    ] {
        let file = dir.join("ticket").join(name);
        fs::write(&file, text).unwrap();
        let report = vectors::run(&dir).unwrap();
        let of = report.unreadable().next().unwrap();
        assert_eq!(of.file, format!("ticket/{name}"));
        assert!(of.why.contains(why), "{name}: {}", of.why);
        assert_eq!((only(&report).passed, report.exit_code()), (18, 2));
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn malformed_case_is_neither_passed_nor_failed() {
    type Spoil = fn(&mut Value);
    let table: [(&str, Spoil); 9] = [
        ("ticket/tickets.json", |file| {
            drop(file["cases"][0].as_object_mut().unwrap().remove("expect"))
        }),
        ("ticket/tickets.json", |file| {
            file["cases"][0]["context"] = json!({"denied": ["x"]})
        }),
        ("ticket/tickets.json", |file| {
            file["cases"][0]["context"] = json!({"now": "noon"})
        }),
        (PACKETS, |file| file["packets"][0]["plain"] = json!("xyz")),
        (PACKETS, |file| file["packets"][0]["roc"] = json!(1_u64 << 32)),
        (PACKETS, |file| file["packets"][0]["suite"] = json!("NULL")),
        (PACKETS, |file| {
            file["sequences"][0]["events"][0]["expect"] = json!("maybe")
        }),
        (DERIVATION, |file| file["kdf"][0]["key_derivation_rate"] = json!(1)),
        ("quality/burst_gap.json", |file| {
            file["cases"][0]["pattern"] = json!("1102")
        }),
    ];
    for (at, (file, spoil)) in table.into_iter().enumerate() {
        let name = format!("malformed-case-{at}");
        let good = only(&run_one(&name, file, |_| {})).clone();
        let report = run_one(&name, file, spoil);
        let suite = only(&report);
        assert_eq!((suite.passed, suite.failures.len()), (good.passed - 1, 0), "{name}");
        assert_eq!((suite.unreadable.len(), report.exit_code()), (1, 2), "{name}");
    }
}

#[test]
fn folder_without_vectors_is_an_error() {
    let dir = fresh("none");
    let why = vectors::run(&dir.join("missing")).unwrap_err().to_string();
    assert!(why.contains("missing: has none of the folders ticket, srtp,"), "{why}");
    assert!(vectors::run(&dir).is_err());
    fs::create_dir(dir.join("srtp")).unwrap();
    let report = vectors::run(&dir).unwrap();
    assert_eq!(report.unreadable().next().unwrap().why, "holds no vector file");
    assert_eq!(report.exit_code(), 2);
}

#[test]
fn program_ends_with_the_reports_code_and_one_json_object_last() {
    let output = program(&[data().to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(last_line(&output)["folders"]["srtp"]["passed"], 486);

    let dir = fresh("program");
    place(&dir, "ticket/tickets.json", |file| {
        file["cases"][0]["expect"] = json!("time")
    });
    let output = program(&["--json", dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(last_line(&output)["failures"][0]["expected"], "time");

    fs::write(dir.join("ticket/tickets.json"), "{").unwrap();
    let output = program(&[dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ticket/tickets.json: EOF"));

    for arguments in [&["/nowhere"][..], &[], &["--yaml", "."], &[".", "."]] {
        let output = program(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data")
}

/// An empty folder of this test's own.
fn fresh(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vectors").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A changed copy of one vector file.
fn place(dir: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let mut content: Value = serde_json::from_slice(&fs::read(data().join(file)).unwrap()).unwrap();
    change(&mut content);
    let path = dir.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content.to_string()).unwrap();
}

/// One torture message and its line of the table, which may be changed.
fn place_raw(dir: &Path, file: &str, change: impl FnOnce(&str) -> String) {
    let (from, to) = (data().join("sip-torture"), dir.join("sip-torture"));
    fs::create_dir(&to).unwrap();
    fs::copy(from.join(file), to.join(file)).unwrap();
    let table = fs::read_to_string(from.join("manifest.tsv")).unwrap();
    let head = table.lines().next().unwrap();
    let line = table.lines().find(|line| line.starts_with(file)).unwrap();
    fs::write(to.join("manifest.tsv"), format!("{head}\n{}\n", change(line))).unwrap();
}

/// The report of a folder that holds nothing but a changed copy of one file.
fn run_one(name: &str, file: &str, change: impl FnOnce(&mut Value)) -> Report {
    let dir = fresh(name);
    place(&dir, file, change);
    vectors::run(&dir).unwrap()
}

fn only(report: &Report) -> &SuiteReport {
    assert_eq!(report.suites.len(), 1);
    &report.suites[0]
}

fn last_digit_changed(hex: &Value) -> Value {
    let mut digits = hex.as_str().unwrap().to_owned();
    let last = digits.pop().unwrap();
    digits.push(if last == '0' { '1' } else { '0' });
    digits.into()
}

fn program(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vectors"));
    command.args(arguments).output().unwrap()
}

fn last_line(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

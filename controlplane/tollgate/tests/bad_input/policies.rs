//! A policy with many mistakes.

use std::fs;

use tollgate_peers::agent::SipTransport;

use crate::command::{expect_told, with_policy};
use crate::company::Papers;

/// What stands in the good policy, what in the bad one, and the key and words of the mistake.
const MISTAKES: [(&str, &str, &str, &str); 10] = [
    ("mode = \"trunk\"", "mode = \"trank\"", "mode", "trank"),
    (
        "domain = \"alpha.example\"",
        "domain = \"alpha example\"",
        "domain",
        "alpha example",
    ),
    (
        "transport = \"udp\"",
        "transport = \"sctp\"",
        "inside.listeners[0].transport",
        "sctp",
    ),
    (
        ":5061\"\n[outside",
        ":99999\"\n[outside",
        "outside.listeners[0].bind",
        ":99999",
    ),
    (
        "\"alpha.pem\"",
        "\"missing.pem\"",
        "outside.tls.certificate",
        "missing.pem",
    ),
    ("max_calls = 20", "max_calls = 0", "media.max_calls", "0 is not from 1"),
    (
        "\"20000-20079\"\n[[media.outside]]",
        "\"20079-20000\"\n[[media.outside]]",
        "media.inside[0].ports",
        "20079-20000",
    ),
    (
        "epoch = 1\n",
        "epoch = \"one\"\n",
        "tickets.keys[0].epoch",
        "is of type",
    ),
    (
        "number = \"+12125550123\"",
        "number = \"2125550123\"",
        "routes[0].number",
        "2125550123",
    ),
    (
        "[admin]\n",
        "[admin]\ncolour = \"red\"\n",
        "admin.colour",
        "is not a key",
    ),
];

#[test]
fn ten_mistakes_are_told_at_once_each_with_its_line_key_and_mend() {
    let papers = Papers::write(74, SipTransport::Tcp, "");
    let mut text = papers.text("alpha.toml");
    for (good, bad, ..) in MISTAKES {
        assert!(text.contains(good), "{good}");
        text = text.replacen(good, bad, 1);
    }
    fs::write(papers.path("alpha.toml"), &text).unwrap();
    let line_of = |bad: &str| {
        let mark = bad
            .lines()
            .find(|line| !line.is_empty() && !line.starts_with('['))
            .unwrap();
        text.lines().position(|line| line.contains(mark)).unwrap() + 1
    };
    for verb in ["check", "run"] {
        let ended = with_policy(&papers, &[verb]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        for (_, bad, key, words) in MISTAKES {
            expect_told(&ended, &papers.path("alpha.toml"), key, line_of(bad), words);
        }
        assert_eq!(ended.stderr.matches("\n    mend: ").count(), 10, "{}", ended.stderr);
        assert!(ended.stderr.contains("10 mistakes in the policy"), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    let ended = with_policy(&papers, &["check", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(78), ""), "{ended:?}");
    let errors = ended.errors();
    assert_eq!(errors.len(), 10, "{errors:?}");
    for (_, bad, key, words) in MISTAKES {
        let error = errors
            .iter()
            .find(|error| error["key"] == key)
            .unwrap_or_else(|| panic!("{key}: {errors:?}"));
        assert_eq!(error["line"], line_of(bad), "{error}");
        assert_eq!(error["file"], papers.path("alpha.toml").display().to_string());
        let said = |field: &str| error[field].as_str().unwrap().to_owned();
        assert!(said("problem").contains(words) && !said("mend").is_empty(), "{error}");
    }
}

#[test]
fn a_good_policy_passes_and_says_so() {
    let papers = Papers::write(76, SipTransport::Tcp, "");
    let ended = with_policy(&papers, &["check"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("in order (3 routes, 1 ticket keys)"), "{ended:?}");
    let ended = with_policy(&papers, &["check", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.trim(), r#"{"errors":[],"ok":true}"#);
}

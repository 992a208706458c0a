//! Session descriptions, crypto lines, and offers with their answers, through calls in virtual time (RFC 8866, 4568,
//! 3264).
//!
//! What goes out is read by the judge and line by line here, not by the reader under test.

use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;
use tollgate_contract::{Side, SrtpSuite};
use tollgate_sip::sdp::{CryptoLine, crypto_line};

use super::fields::{
    self, Checked, bytes, caught, field, given, list, malformed, mismatch, number, same, same_bytes, text,
};
use super::manifest::{self, Row};
use super::report::SuiteReport;
use crate::judge::defects;
use crate::message::Message;
use crate::sdp::Sdp;
use crate::srtp_end::key;
use crate::trapezoid::{Setup, Trapezoid};

use Side::{Inside, Outside};

/// Lines that are the edge's to write, and attributes that are (edge.md 4).
const REWRITTEN: [&str; 5] = ["v=", "o=", "c=", "m=", "a=rtcp:"];

/// The edge's own address outside, which some example has too.
const EDGE_OUTSIDE: &str = "198.51.100.1";

/// The suite of the far party.
const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

pub(super) fn run(folder: &Path, report: &mut SuiteReport) {
    if folder.join("manifest.tsv").exists() {
        manifest::run(folder, report, |row| caught(|| description(row)));
    }
    fields::run_folder(
        folder,
        report,
        &[
            ("edge-sdes/1", |file| {
                file.each("cases", |_, case| caught(|| crypto(case)))
            }),
            ("edge-offer-answer/1", |file| {
                file.each("cases", |_, case| caught(|| offer_and_answer(case)))
            }),
        ],
    );
}

/// The agent offers the description: it goes out rewritten, or is refused.
fn description(row: &Row<'_>) -> Checked {
    let (verdict, check) = (row.cell("verdict")?, row.cell("check")?);
    let body = std::str::from_utf8(&row.bytes).map_err(|_| malformed("is not UTF-8"))?;
    let mut bed = Setup {
        has_both_families: true,
        ..Setup::default()
    }
    .build();
    bed.invite(Inside, Some(body));
    let (answers, passed) = (bed.take(Inside), bed.take(Outside));
    let is_final = |status: &u16| *status >= 200;
    let refused = answers.iter().filter_map(|sent| sent.message.status()).find(is_final);
    let actual = match (passed.first(), refused) {
        (Some(_), None) => "accept".to_owned(),
        (None, Some(status)) => format!("reject-{status}"),
        (sent, status) => format!("sent {}, refused {status:?}", sent.is_some()),
    };
    let other = check.strip_prefix("or ").map(|code| format!("reject-{code}"));
    if actual != verdict && other.as_ref() != Some(&actual) {
        return mismatch("outcome", verdict, actual);
    }
    match passed.first() {
        Some(sent) => rewritten(body, &sent.bytes, &sent.message.body),
        None => same(
            "calls, transactions and ports left",
            "[0, 0, 0]".to_owned(),
            format!("{:?}", bed.leftovers()),
        ),
    }
}

/// Every address and port is the edge's, what says "none" still does, and all other lines are kept in order.
fn rewritten(sent: &str, message: &[u8], passed: &str) -> Checked {
    let is_address = |word: &&str| {
        word.parse::<IpAddr>()
            .is_ok_and(|ip| !ip.is_unspecified() && *word != EDGE_OUTSIDE)
    };
    let words = sent.split_ascii_whitespace().filter(is_address);
    let inside: Vec<String> = words.map(str::to_owned).collect();
    let found = defects(message, &inside);
    same("defects", String::new(), found.join("; "))?;
    let is_kept = |line: &&str| !REWRITTEN.iter().any(|start| line.starts_with(start));
    let mut left = passed.lines();
    for line in sent.lines().filter(is_kept) {
        if !left.any(|other| other == line) {
            return mismatch("kept in its order", line, passed);
        }
    }
    let streams = |text: &str, is_ours: bool| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("m="));
        lines.map(|line| stream(line, is_ours)).collect()
    };
    let (expected, actual) = (streams(sent, false), streams(passed, true));
    same("streams", expected.join(", "), actual.join(", "))?;
    // A stream without a port may be shown there too.
    let holds = |text: &str| text.matches("c=IN IP4 0.0.0.0").count();
    same("c=IN IP4 0.0.0.0 stays", true, holds(passed) >= holds(sent))
}

/// Kind, whether it is open, and formats of an m= line; one of ours has an even port of our range and SRTP.
fn stream(line: &str, is_ours: bool) -> String {
    let mut words = line.split(' ');
    let (kind, port) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (profile, formats) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>().join(" "));
    let port: u16 = port.parse().unwrap_or(1);
    let is_good =
        !is_ours || port == 0 || ((16_384..16_400).contains(&port) && port.is_multiple_of(2) && profile == "RTP/SAVP");
    format!(
        "{kind} {} {formats}{}",
        if port == 0 { "closed" } else { "open" },
        if is_good { "" } else { " (not ours)" }
    )
}

/// The line is read as the file says, and a call from outside that offers it comes in, or is refused for it.
fn crypto(case: &Value) -> Checked {
    let line = text(case, "line")?;
    let is_valid = field(case, "valid")?
        .as_bool()
        .ok_or_else(|| malformed("valid is no truth value"))?;
    let note = text(case, "note")?;
    let read = line.strip_prefix("a=").and_then(|line| line.strip_prefix("crypto:"));
    let read = CryptoLine::parse(read.ok_or_else(|| malformed("is no crypto line"))?);
    let is_refused = note.contains("Tollgate refuses the line");
    let is_usable = is_valid && !is_refused;
    match (&read, is_usable) {
        (_, true) => keys(case, &given("the line", read)?)?,
        (Err(_), false) => {}
        (Ok(_), false) => return mismatch("the line", "refused", "read"),
    }
    let mut bed = Setup::default().build();
    bed.snapshot.media.suites = SrtpSuite::ALL.to_vec();
    let offer = Sdp {
        profile: "RTP/SAVP",
        crypto: vec![line.trim_start_matches("a=").to_owned()],
        ..Sdp::plain(bed.peer.media)
    };
    bed.invite(Outside, Some(&offer.text()));
    let inward: Vec<String> = bed
        .take(Inside)
        .iter()
        .map(|sent| sent.message.name().to_owned())
        .collect();
    let outward: Vec<String> = bed
        .take(Outside)
        .iter()
        .map(|sent| sent.message.name().to_owned())
        .collect();
    let (expected_in, expected_out) = if is_usable { ("INVITE", "100") } else { ("", "488") };
    same("to the agent", expected_in, inward.join(" ").as_str())?;
    same("to the peer", expected_out, outward.join(" ").as_str())
}

fn keys(case: &Value, line: &CryptoLine) -> Checked {
    same("tag", number::<u32>(case, "tag")?, line.tag)?;
    same("suite", text(case, "suite")?, line.suite.to_string().as_str())?;
    let expected = list(case, "keys")?;
    same("number of keys", expected.len(), line.keys.len())?;
    for (expected, key) in expected.iter().zip(&line.keys) {
        let both = [bytes(expected, "master_key")?, bytes(expected, "master_salt")?].concat();
        same_bytes("key and salt", &both, key.key_and_salt.expose())?;
        let shown = |name: &str| field(expected, name).map(|value| value.as_u64());
        same(
            "lifetime",
            format!("{:?}", shown("lifetime")?),
            format!("{:?}", key.lifetime),
        )?;
        let mki = shown("mki")?.zip(shown("mki_length")?);
        let actual = key.mki.map(|(value, length)| (value, u64::from(length)));
        same("MKI and its length", format!("{mki:?}"), format!("{actual:?}"))?;
    }
    Ok(())
}

/// The offer and its answer cross the edge both ways, each as its side would write it: plain inside, SRTP outside.
fn offer_and_answer(case: &Value) -> Checked {
    let (offer, answer) = (text(case, "offer")?, text(case, "answer")?);
    let is_legal = field(case, "legal")?
        .as_bool()
        .ok_or_else(|| malformed("legal is no truth value"))?;
    let open = field(case, "open_streams")?
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let open: Vec<u64> = open.iter().filter_map(Value::as_u64).collect();
    outbound(offer, answer, is_legal, &open)?;
    if offer.contains("RTP/SAVP") {
        // The agent is offered, and answers, plain RTP in any case: the fall-back this case is about is none there.
        return Ok(());
    }
    inbound(offer, answer, is_legal, &open)
}

fn outbound(offer: &str, answer: &str, is_legal: bool, open: &[u64]) -> Checked {
    let mut bed = Setup::default().build();
    let is_about_profiles = offer.contains("RTP/SAVP");
    bed.invite(Inside, Some(&plain(offer)));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    let answer = if is_about_profiles {
        answer.to_owned()
    } else {
        secure(answer, Some(&invite))
    };
    bed.respond(Outside, &invite, 200, Some(&answer));
    judged(&mut bed, Inside, is_legal, open)
}

fn inbound(offer: &str, answer: &str, is_legal: bool, open: &[u64]) -> Checked {
    let mut bed = Setup::default().build();
    bed.invite(Outside, Some(&secure(offer, None)));
    bed.expect(Outside, "100");
    let invite = bed.expect(Inside, "INVITE");
    bed.respond(Inside, &invite, 200, Some(answer));
    judged(&mut bed, Outside, is_legal, open)
}

/// Whether the caller was told the answer, with the open streams it should have, or that the call has failed.
fn judged(bed: &mut Trapezoid, caller: Side, is_legal: bool, open: &[u64]) -> Checked {
    let told = bed.take(caller);
    let last = told.last().map(|sent| &sent.message);
    let status = last.and_then(Message::status).unwrap_or_default();
    same("the answer is accepted", is_legal, status == 200)?;
    if !is_legal {
        let callee: Vec<String> = bed
            .take(caller.other())
            .iter()
            .map(|sent| sent.message.name().to_owned())
            .collect();
        return same("the callee's leg", "ACK BYE", callee.join(" ").as_str());
    }
    let body = last.map(|message| message.body.as_str()).unwrap_or_default();
    let lines = body.lines().filter(|line| line.starts_with("m=")).enumerate();
    let is_open = |(_, line): &(usize, &str)| line.split(' ').nth(1) != Some("0");
    let actual: Vec<u64> = lines.filter(is_open).map(|(at, _)| at as u64).collect();
    same("open streams", format!("{open:?}"), format!("{actual:?}"))
}

/// As the agent would write it: plain RTP without keys.
fn plain(description: &str) -> String {
    let lines = description.lines().filter(|line| !line.starts_with("a=crypto"));
    lines
        .map(|line| format!("{}\r\n", line.replace("RTP/SAVP", "RTP/AVP")))
        .collect()
}

/// As a peer would write it: SRTP with a key for each open stream, under the tag it was offered where it answers.
fn secure(description: &str, offered: Option<&Message>) -> String {
    let tag = offered.map_or(1, |invite| crate::sdp::heard(&invite.body, 0).line(SUITE).0);
    let mut out = String::new();
    for line in description.lines() {
        out.push_str(&format!("{}\r\n", line.replace("RTP/AVP", "RTP/SAVP")));
        if line.starts_with("m=") && !line.contains(" 0 RTP/") {
            out.push_str(&format!("a={}\r\n", crypto_line(tag, SUITE, &key(SUITE, 1))));
        }
    }
    out
}

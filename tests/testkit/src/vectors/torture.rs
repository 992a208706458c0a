//! Torture messages through the inside listeners of a running edge to a recording TLS peer (RFC 4475, RFC 5118).
//!
//! The verdict is read from what the peer recorded and what the sender was answered; nothing of the edge's own parser
//! judges. A marker behind each message proves that the edge passes things on, so silence is never success by itself.

mod edge;
mod recorder;
mod wire;

use std::path::Path;
use std::time::Duration;

use self::edge::Edge;
use self::wire::Wire;
use super::fields::{CaseError, Checked, malformed, mismatch, same};
use super::manifest::{self, Row};
use super::report::SuiteReport;
use crate::judge::{Judged, defects, framed, meddling};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of one message.
#[derive(Debug)]
struct Outcome {
    /// What the peer recorded of it, ACK and CANCEL left out.
    passed: Vec<Vec<u8>>,
    /// The final answer the sender got.
    answer: Option<Vec<u8>>,
}

pub(super) fn run(folder: &Path, report: &mut SuiteReport) {
    let mut edge = match Edge::start() {
        Ok(edge) => edge,
        Err(why) => return report.unreadable(report.folder, format!("no edge runs: {why}")),
    };
    let mut seen: Vec<Vec<u8>> = Vec::new();
    manifest::run(folder, report, |row| {
        let call_id = call_id_of(&row.bytes);
        if call_id.as_ref().is_some_and(|call_id| seen.contains(call_id)) {
            // Each message meets an edge without a transaction of its own; some examples of the RFCs share theirs.
            edge = Edge::start().map_err(|why| malformed(format!("no edge runs: {why}")))?;
        }
        seen.extend(call_id);
        torture(&mut edge, row)?;
        edge.is_well()
    });
}

fn call_id_of(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(Judged::of(framed(bytes))?.value("call-id")?.to_vec())
}

fn torture(edge: &mut Edge, row: &Row<'_>) -> Checked {
    let others = row
        .cell("also_ok")?
        .split(';')
        .filter(|other| !["-", ""].contains(other));
    let allowed: Vec<&str> = [row.cell("verdict")?].into_iter().chain(others).collect();
    let outcome = send(edge, row.cell("transport")?, &row.bytes)?;
    let actual = match (&outcome.passed[..], &outcome.answer) {
        ([], None) => "drop".to_owned(),
        ([], Some(answer)) => format!("reject-{}", name_of(answer)),
        ([..], _) => "accept".to_owned(),
    };
    if !allowed.contains(&actual.as_str()) {
        return mismatch("outcome", allowed.join(" or "), actual);
    }
    match (&outcome.passed[..], &outcome.answer) {
        ([], None) => Ok(()),
        ([], Some(answer)) => check_answer(&row.bytes, answer),
        ([passed], _) => check_passed(edge, &row.bytes, passed),
        (many, _) => mismatch("messages passed on", 1, many.len()),
    }
}

/// What was passed on has no defect, and of what is nobody's to touch nothing is changed.
fn check_passed(edge: &Edge, sent: &[u8], passed: &[u8]) -> Checked {
    let sent = framed(sent);
    let hidden = [edge.hidden(), media_addresses(sent)].concat();
    let found = [defects(passed, &hidden), meddling(sent, passed, &edge.hidden())].concat();
    same(
        "passed on",
        "as it should be".to_owned(),
        said(&found, "as it should be"),
    )?;
    let hops = |message: &[u8]| {
        let value = Judged::of(message)?.value("max-forwards")?.to_vec();
        String::from_utf8(value).ok()?.trim().parse::<u32>().ok()
    };
    let expected = hops(sent).map_or(70, |hops| hops.saturating_sub(1));
    same("Max-Forwards", expected, hops(passed).unwrap_or_default())
}

/// The addresses in the c= lines of a description: the other side gets the edge's.
fn media_addresses(message: &[u8]) -> Vec<String> {
    let Some(message) = Judged::of(message) else {
        return Vec::new();
    };
    let kind = String::from_utf8_lossy(message.value("content-type").unwrap_or_default()).to_ascii_lowercase();
    let body = String::from_utf8_lossy(message.body()).into_owned();
    let lines = body
        .lines()
        .filter(|line| line.starts_with("c=") && (kind.contains("sdp") || kind.starts_with("multipart")));
    lines
        .filter_map(|line| line.split(' ').next_back())
        .map(str::to_owned)
        .collect()
}

/// An answer is to the request: what names it is repeated, and a 420 names what is not supported (RFC 3261 §8.2.6.2,
/// §20.29).
fn check_answer(sent: &[u8], answer: &[u8]) -> Checked {
    let (Some(sent), Some(answer)) = (Judged::of(framed(sent)), Judged::of(answer)) else {
        return Ok(());
    };
    for name in ["call-id", "cseq", "from"] {
        let shown =
            |message: &Judged<'_>| String::from_utf8_lossy(message.value(name).unwrap_or_default()).into_owned();
        same(name, shown(&sent), shown(&answer))?;
    }
    let to = |message: &Judged<'_>| message.value("to").unwrap_or_default().to_vec();
    let is_same_to = to(&answer).starts_with(&to(&sent));
    same("To repeated", true, is_same_to)?;
    if answer.name() != "420" {
        return Ok(());
    }
    let tags = |message: &Judged<'_>, name: &str| {
        let values: Vec<&[u8]> = message.values(name).collect();
        let text = String::from_utf8_lossy(&values.join(&b","[..])).into_owned();
        let mut tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
        tags.sort();
        tags.join(",")
    };
    same(
        "Unsupported",
        tags(&sent, "proxy-require"),
        tags(&answer, "unsupported"),
    )
}

fn said(found: &[String], good: &str) -> String {
    if found.is_empty() {
        good.to_owned()
    } else {
        found.join("; ")
    }
}

fn name_of(message: &[u8]) -> String {
    Judged::of(message).map_or_else(|| "nothing".to_owned(), |message| message.name().to_owned())
}

/// Sends one message, then a marker that passes through and an OPTIONS that the edge itself answers.
fn send(edge: &mut Edge, transport: &str, bytes: &[u8]) -> Result<Outcome, CaseError> {
    let broken = |why: std::io::Error| malformed(format!("the sender: {why}"));
    let before = edge.recorder.len();
    let (mut wire, mut other) = (edge.wire(transport).map_err(broken)?, edge.wire("UDP").map_err(broken)?);
    let (marker, mut replies) = (edge.marker(), Vec::new());
    // Of a stream that is closed behind the message, what was said before counts; the rest is asked another way.
    let is_answered = wire.send(bytes).is_ok() && follow(edge, &mut wire, &marker, &mut replies);
    if !is_answered && !follow(edge, &mut other, &marker, &mut Vec::new()) {
        return Err(differs("an OPTIONS and a good message afterwards", "answered"));
    }
    let recorded = edge.recorder.wait(before, &marker, PATIENCE);
    let recorded = recorded.ok_or_else(|| differs("a good message afterwards", "passed on"))?;
    let is_counted = |message: &Vec<u8>| !matches!(name_of(message).as_str(), "ACK" | "CANCEL");
    let is_final = |reply: &Vec<u8>| name_of(reply).len() == 3 && !name_of(reply).starts_with('1');
    Ok(Outcome {
        passed: recorded.into_iter().filter(is_counted).collect(),
        answer: replies.into_iter().find(is_final),
    })
}

fn differs(what: &str, expected: &str) -> CaseError {
    CaseError::Mismatch {
        what: what.to_owned(),
        expected: expected.to_owned(),
        actual: "not so".to_owned(),
    }
}

/// Sends the marker and the OPTIONS and collects what is answered until both are. Returns whether they were.
fn follow(edge: &Edge, wire: &mut Wire, marker: &str, replies: &mut Vec<Vec<u8>>) -> bool {
    let probe = format!("probe-{marker}");
    let behind = [
        wire.request("MESSAGE", "sip:marker@recorder.example.org", marker),
        wire.request("OPTIONS", &format!("sip:{}", edge.inside(wire)), &probe),
    ];
    if behind.iter().any(|message| wire.send(message).is_err()) {
        return false;
    }
    let (mut is_passed, mut is_alive) = (false, false);
    while !(is_passed && is_alive) {
        let Some(reply) = wire.next(PATIENCE) else {
            return false;
        };
        let Some(read) = Judged::of(&reply) else {
            replies.push(reply);
            continue;
        };
        let call_id = read.value("call-id").unwrap_or_default();
        let (is_of_marker, is_of_probe) = (call_id == marker.as_bytes(), call_id == probe.as_bytes());
        let is_ok = read.name() == "200";
        is_passed |= is_of_marker && is_ok;
        is_alive |= is_of_probe && is_ok;
        if (is_of_marker || is_of_probe) && !is_ok {
            return false;
        }
        if !is_of_marker && !is_of_probe {
            replies.push(reply);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use tollgate_contract::RouteTable;

    use super::*;

    #[test]
    fn edge_that_passes_nothing_on_fails_even_what_it_should_drop() {
        let mut edge = Edge::routing(|_| RouteTable::default()).unwrap();
        for bytes in [&b"\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n"] {
            let failed = send(&mut edge, "UDP", bytes).unwrap_err();
            assert!(matches!(failed, CaseError::Mismatch { .. }), "{failed:?}");
        }
    }
}

//! 20,000 grammar mutations of good messages: none makes the edge panic, and none goes on with a defect (edge.md 3).
//!
//! What goes out is judged by the testkit's own small reader, which shares no code with the edge.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tollgate_contract::{NumberPattern, Route, RouteTable, Side, Transport};
use tollgate_testkit::judge::{defects, framed, meddling};
use tollgate_testkit::mutate::Mutator;
use tollgate_testkit::{Setup, Trapezoid};

use Side::{Inside, Outside};

/// The seed of every run; `MUTATION_SEED` asks for another.
const SEED: u64 = 4475;

/// Messages for one edge; then it must be empty, and the next begins.
const PER_EDGE: usize = 250;

#[test]
fn no_mutation_from_the_agent_goes_out_with_a_defect() {
    let (passed, refused) = torture(Inside, 15_000);
    // Neither a wall nor an open door would prove anything.
    assert!(passed > 1_500, "only {passed} were passed on");
    assert!(refused > 5_000, "only {refused} were refused");
}

#[test]
fn no_mutation_from_a_peer_comes_in_with_a_defect() {
    let (passed, refused) = torture(Outside, 5_000);
    assert!(passed > 400, "only {passed} were passed on");
    assert!(refused > 1_500, "only {refused} were refused");
}

/// Sends so many mutations and judges what goes to the other side. Returns how many went on, and how many did not.
fn torture(from: Side, count: usize) -> (usize, usize) {
    let asked = std::env::var("MUTATION_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut mutator = Mutator::new(asked.unwrap_or(SEED) + from.index() as u64);
    let (mut passed, mut refused, mut faults) = (0, 0, Vec::new());
    for first in (0..count).step_by(PER_EDGE) {
        let mut bed = edge();
        let hidden: Vec<String> = match from {
            Inside => ["10.9.0.1", "10.0.0.1", "10.0.0.5"].map(str::to_owned).to_vec(),
            Outside => Vec::new(),
        };
        for number in first..first + PER_EDGE {
            let good = good(&mut bed, from, number, &mut mutator);
            let message = mutator.mutate(good);
            bed.send_bytes(from, message.clone());
            let went_on = judge(&mut bed, from, &message, (&hidden, &mut faults));
            passed += usize::from(went_on);
            refused += usize::from(!went_on);
        }
        bed.wait(Duration::from_secs(200));
        assert_eq!(bed.leftovers(), [0, 0, 0], "calls, transactions, ports");
    }
    let shown: Vec<&String> = faults.iter().take(5).collect();
    assert!(faults.is_empty(), "{} faults, the first: {shown:#?}", faults.len());
    (passed, refused)
}

/// Everything that reached the other side is without defect; what wants an answer is refused. Returns whether the
/// message itself did.
fn judge(bed: &mut Trapezoid, from: Side, message: &[u8], (hidden, faults): (&[String], &mut Vec<String>)) -> bool {
    let mut went_on = false;
    for sent in bed.take(from.other()) {
        let text = String::from_utf8_lossy(&sent.bytes).into_owned();
        let is_own = ["ACK ", "CANCEL ", "SIP/2.0 "]
            .iter()
            .any(|start| text.starts_with(start));
        let mut found = defects(&sent.bytes, hidden);
        if !is_own {
            found.extend(meddling(framed(message), &sent.bytes, hidden));
            bed.send_bytes(from.other(), refusal(&sent.bytes));
            went_on = true;
        }
        if !found.is_empty() {
            let was = String::from_utf8_lossy(message);
            faults.push(format!("{found:?}\n--- sent\n{was}\n--- passed on\n{text}"));
        }
    }
    bed.take(from);
    bed.take(from.other());
    went_on
}

/// A 603 that repeats what a response repeats.
fn refusal(request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    let head = text
        .split("\r\n\r\n")
        .next()
        .unwrap_or_default()
        .replace("\r\n ", " ")
        .replace("\r\n\t", " ");
    let repeated = ["via", "v", "from", "f", "to", "t", "call-id", "i", "cseq"];
    let mut out = "SIP/2.0 603 Decline\r\n".to_owned();
    for line in head.split("\r\n").skip(1) {
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        if repeated.contains(&name.as_str()) {
            let tag = if ["to", "t"].contains(&name.as_str()) && !line.contains(";tag=") {
                ";tag=x"
            } else {
                ""
            };
            out.push_str(&format!("{line}{tag}\r\n"));
        }
    }
    format!("{out}Content-Length: 0\r\n\r\n").into_bytes()
}

/// An edge with a catch-all route, and room for what rests after each call.
fn edge() -> Trapezoid {
    let mut bed = Setup {
        pairs: 1_024,
        max_calls: 1_024,
        ..Setup::over(Transport::Udp)
    }
    .build();
    let route = Route {
        domain: "b.example".into(),
        targets: Arc::from([bed.peer.address]),
        ticket: None,
        expires: None,
    };
    bed.snapshot.routes = RouteTable::from_routes(0, [(NumberPattern::Any, Arc::new(route))]);
    bed.snapshot.limits.calls_per_second_per_peer = 1_000_000;
    // What is sent back to the sender repeats its faults.
    bed.seeks_faults = false;
    bed.seeks_leaks = false;
    bed
}

/// What the agent sends outside any dialog besides INVITE.
const ALONE: [&str; 4] = ["OPTIONS", "MESSAGE", "REGISTER", "STRANGE"];

/// A good message of a side with a Call-ID and branch of this number: half from a torture file, where they are of the
/// side.
fn good(bed: &mut Trapezoid, from: Side, number: usize, mutator: &mut Mutator) -> Vec<u8> {
    let bytes = match (from, mutator.pick(2)) {
        (Inside, 0) => {
            let files = torture_files();
            files[mutator.pick(files.len())].clone()
        }
        (Inside | Outside, _) => written(bed, from, mutator),
    };
    let bytes = replace(&bytes, b"z9hG4bK", format!("z9hG4bK{number}").as_bytes());
    let bytes = replace(&bytes, b"Call-ID: ", format!("Call-ID: {number}-").as_bytes());
    replace(&bytes, b"\ni: ", format!("\ni: {number}-").as_bytes())
}

fn written(bed: &mut Trapezoid, from: Side, mutator: &mut Mutator) -> Vec<u8> {
    let offer = match from {
        Inside => bed.agent_sdp().text(),
        Outside => bed.peer_sdp().text(),
    };
    let mut message = bed.party(from).invite(Some(&offer));
    if mutator.pick(3) > 0 {
        message = message
            .with("Subject", "one,\r\n two; three")
            .with("Supported", "100rel, timer")
            .with(
                "P-Asserted-Identity",
                "\"A \\\"B\\\" <c>\" <sip:+12125550100@c.example;user=phone>",
            )
            .with("X-Unknown", "a=b;c, \"d\" <e>");
    }
    if from == Outside || mutator.pick(2) > 0 {
        return message.to_bytes();
    }
    let method = ALONE[mutator.pick(ALONE.len())];
    let number = message.cseq().0;
    message = message.without("Content-Type").without("Contact");
    message.start = format!("{method} sip:somebody@elsewhere.example;transport=tcp SIP/2.0");
    message.body = "hello".to_owned();
    message
        .set("CSeq", format!("{number} {method}"))
        .with("Content-Type", "text/plain")
        .to_bytes()
}

/// The good torture messages, read once.
fn torture_files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut paths = Vec::new();
        for folder in ["sip-torture", "sip-torture-own"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(folder);
            let entries = fs::read_dir(&folder).expect("the folder");
            paths.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
        let is_good = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("own-good") || name.starts_with("good")
        };
        paths.retain(is_good);
        paths.sort();
        assert!(paths.len() > 20);
        paths.iter().map(|path| fs::read(path).expect("readable")).collect()
    })
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + to.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

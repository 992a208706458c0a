//! What the edges wrote about the calls: their call records, matched to the agents' calls.
//!
//! It measures nothing itself.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::calls::Batch;
use super::company::Company;
use super::fallback::Moved;

/// The quality of one call, as both edges recorded it.
#[derive(Clone, Debug)]
pub(super) struct CallQuality {
    /// Who called whom.
    pub(super) label: String,
    /// From the INVITE to its 200 at the caller, milliseconds.
    pub(super) setup_ms: u128,
    /// The SRTP suite.
    pub(super) suite: String,
    /// What came from outside at the caller's edge, and at the called side's.
    pub(super) heard: [Heard; 2],
}

/// One direction's quality behind the network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// R-factor, 0 to 100.
    pub(super) r_factor: f64,
    /// Mean opinion score, 1 to 5.
    pub(super) mos: f64,
    /// Share of packets lost.
    pub(super) loss_ratio: f64,
    /// Jitter (RFC 3550), milliseconds.
    pub(super) jitter_ms: f64,
}

/// What was found in the records.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Records that should be there, two a call.
    pub(super) expected: usize,
    /// Those that were.
    pub(super) found: usize,
    /// Quality of each good call.
    pub(super) calls: Vec<CallQuality>,
    /// Of the call that fell back.
    pub(super) moved: Option<CallQuality>,
    /// What the calling edge recorded about the fallback: its trigger.
    pub(super) trigger: Option<String>,
}

/// A call to look for: its label, set-up time and caller, and its Call-IDs at the caller and the called agent.
struct Wanted<'a> {
    label: String,
    setup: Duration,
    caller: usize,
    call_ids: &'a [String; 2],
}

/// Reads the records of both edges, waiting a moment for the last of them.
pub(super) async fn read(folder: &Path, companies: &[Company; 2], good: &Batch, moved: Option<&Moved>) -> Records {
    let wanted: Vec<Wanted<'_>> = good
        .talks
        .iter()
        .map(|talk| {
            let called = if talk.label.caller == 0 {
                "alpha > beta"
            } else {
                "beta > alpha"
            };
            Wanted {
                label: format!("{called} {}", talk.label.number),
                setup: talk.setup,
                caller: talk.label.caller,
                call_ids: &talk.call_ids,
            }
        })
        .collect();
    let moved = moved.map(|moved| Wanted {
        label: "the spoiled call".to_owned(),
        setup: moved.setup,
        caller: 0,
        call_ids: &moved.call_ids,
    });
    let expected = 2 * (wanted.len() + usize::from(moved.is_some()));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let books = companies.each_ref().map(|company| parse(&company.records_path(folder)));
        let mut records = Records {
            expected,
            ..Records::default()
        };
        records.calls = wanted
            .iter()
            .filter_map(|call| find(&books, call, &mut records.found))
            .collect();
        records.moved = moved.as_ref().and_then(|call| find(&books, call, &mut records.found));
        records.trigger = moved.as_ref().and_then(|call| {
            let record = books.first()?.get(call.call_ids.first()?)?;
            Some(record["fallback"]["trigger"].as_str()?.to_owned())
        });
        if records.found >= expected || Instant::now() > deadline {
            return records;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The records by the agent's Call-ID. A line being written is read the next time.
fn parse(path: &Path) -> HashMap<String, Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records
        .filter_map(|record| Some((record["call_id"].as_str()?.to_owned(), record)))
        .collect()
}

fn find(books: &[HashMap<String, Value>; 2], call: &Wanted<'_>, found: &mut usize) -> Option<CallQuality> {
    let [at_caller, at_called] = if call.caller == 0 {
        [&books[0], &books[1]]
    } else {
        [&books[1], &books[0]]
    };
    let [caller_id, called_id] = call.call_ids;
    let records = [at_caller.get(caller_id), at_called.get(called_id)];
    *found += records.iter().flatten().count();
    let [Some(near), Some(far)] = records else { return None };
    Some(CallQuality {
        label: call.label.clone(),
        setup_ms: call.setup.as_millis(),
        suite: near["media"][0]["suite"].as_str().unwrap_or("none").to_owned(),
        heard: [heard(near), heard(far)],
    })
}

fn heard(record: &Value) -> Heard {
    let direction = &record["media"][0]["from_outside"];
    let number = |name: &str| direction[name].as_f64().unwrap_or_default();
    Heard {
        r_factor: number("r_factor"),
        mos: number("mos"),
        loss_ratio: number("loss_ratio"),
        jitter_ms: number("jitter_s") * 1e3,
    }
}

/// How long a record may come after its call.
const PATIENCE: Duration = Duration::from_secs(3);

//! One JSON line for each call at its end: the call detail record.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use tollgate_contract::{CallEnded, DirectionQuality, FallbackEvent, MediaView};

/// Where records go.
#[derive(Debug)]
pub enum RecordSink {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(File),
}

/// Opens the sink of a policy.
///
/// # Errors
/// The file cannot be opened for appending.
pub fn open_sink(sink: &tollgate_policy::RecordSink) -> io::Result<RecordSink> {
    match sink {
        tollgate_policy::RecordSink::Off => Ok(RecordSink::Off),
        tollgate_policy::RecordSink::Stdout => Ok(RecordSink::Stdout),
        tollgate_policy::RecordSink::File(path) => open(path).map(RecordSink::File),
    }
}

impl RecordSink {
    /// Writes a record as one line.
    ///
    /// # Errors
    /// The line could not be written; the call is over in any case.
    pub(crate) fn write(&mut self, record: &Value) -> io::Result<()> {
        let line = format!("{record}\n");
        match self {
            Self::Off => Ok(()),
            Self::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Self::File(file) => file.write_all(line.as_bytes()),
        }
    }
}

/// The record of a call. The called number is shown by its last four digits.
pub(crate) fn record(call: &CallEnded) -> Value {
    json!({
        "event": "call_end",
        "call_id": call.call_id_inside,
        "call_id_outside": call.call_id_outside,
        "direction": call.way.name(),
        "peer": call.peer_domain,
        "called": call.called.map(|number| masked(&number.to_string())),
        "ticket": call.ticket.map(uuid),
        "result": call.outcome.name(),
        "reason": call.reason,
        "status": call.status,
        "started_unix_s": call.started.as_secs_f64(),
        "setup_s": call.setup.map(|time| time.as_secs_f64()),
        "answer_s": call.answer.map(|time| time.as_secs_f64()),
        "talk_s": call.talk.map(|time| time.as_secs_f64()),
        "media": call.media.iter().map(media).collect::<Vec<_>>(),
        "fallback": call.fallback.as_ref().map(fallback),
    })
}

/// A media line as records and `show media` give it.
pub(crate) fn media(view: &MediaView) -> Value {
    json!({
        "index": view.index,
        "kind": view.kind,
        "suite": view.suite.map(|suite| suite.name()),
        "local_ports": {"inside": view.local[0], "outside": view.local[1]},
        "remote": {"inside": view.remote[0], "outside": view.remote[1]},
        "latched": {"inside": view.latched[0], "outside": view.latched[1]},
        "from_inside": quality(&view.quality[0]),
        "from_outside": quality(&view.quality[1]),
    })
}

/// A fallback and its evidence.
pub(crate) fn fallback(event: &FallbackEvent) -> Value {
    json!({
        "trigger": event.trigger.name(),
        "side": event.side.name(),
        "loss_ratio": event.loss_ratio,
        "jitter_s": f64::from(event.jitter_us) / 1e6,
        "since_trigger_s": event.since_trigger.as_secs_f64(),
        "stage": event.stage,
    })
}

/// A number with all but its last four digits hidden.
pub(crate) fn masked(number: &str) -> String {
    let keep = number.len().saturating_sub(4);
    number
        .chars()
        .enumerate()
        .map(|(at, digit)| if at > 0 && at < keep { '*' } else { digit })
        .collect()
}

fn quality(quality: &DirectionQuality) -> Value {
    json!({
        "packets": quality.packets,
        "bytes": quality.bytes,
        "expected": quality.expected,
        "lost": quality.lost,
        "loss_ratio": quality.loss_ratio(),
        "duplicates": quality.duplicates,
        "reordered": quality.reordered,
        "longest_burst": quality.longest_burst,
        "jitter_s": f64::from(quality.jitter_us) / 1e6,
        "jitter_max_s": f64::from(quality.jitter_max_us) / 1e6,
        "r_factor": quality.r_factor,
        "mos": quality.mos,
        "codec": quality.codec,
    })
}

fn uuid(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]).join("-")
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_their_last_digits_alone() {
        assert_eq!(masked("+14085551234"), "+*******1234");
        assert_eq!(masked("+12"), "+12");
    }

    #[test]
    fn a_uuid_has_its_dashes() {
        assert_eq!(uuid([0x6b; 16]), "6b6b6b6b-6b6b-6b6b-6b6b-6b6b6b6b6b6b");
    }
}

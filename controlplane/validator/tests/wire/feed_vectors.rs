//! The vectors of the native feed: single messages and whole sessions.

use std::time::Duration;

use serde_json::Value;
use tollgate_contract::Now;
use tollgate_validator::feed::session::{Output, Reader, ReaderConfig};
use tollgate_validator::feed::{Decoder, Frame, Malformed, Message};

use crate::data::{OURS, feed_messages, feed_sessions, now, rules, unhex};

#[test]
fn every_message_is_read_judged_and_written_as_its_vector_says() {
    let file = feed_messages();
    let rules = rules(&file);
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let bytes = unhex(case["frame"].as_str().unwrap());
        let mut decoder = Decoder::default();
        let (taken, body) = decoder.push(&bytes).unwrap();
        assert_eq!(taken, bytes.len(), "{id}");
        let parsed = Message::parse(body.unwrap());
        if let Some(name) = case["malformed"].as_str() {
            let malformed = parsed.unwrap_err();
            assert_eq!(malformed.name(), name, "{id}");
            if let Malformed::UnknownKind { revision } = malformed {
                assert_eq!(revision, case["revision"].as_u64(), "{id}");
            }
            continue;
        }
        let message = parsed.unwrap_or_else(|malformed| panic!("{id}: {malformed:?}"));
        assert_eq!(message.kind().name(), case["kind"].as_str().unwrap(), "{id}");
        let written = message.encode().unwrap();
        assert_eq!(Message::parse(written.body()).unwrap(), message, "{id}");
        if let Some(verdict) = case["check"].as_str() {
            let Message::Record { record, .. } = message else {
                panic!("{id} is no record")
            };
            let checked = record.check(&rules, now().unix);
            assert_eq!(checked.map_or_else(|fault| fault.name(), |_| "ok"), verdict, "{id}");
        }
    }
    assert!(cases.len() >= 80);
}

#[test]
fn every_session_goes_as_its_vector_says() {
    let file = feed_sessions();
    let sessions = file["sessions"].as_array().unwrap();
    for session in sessions {
        let mut config = ReaderConfig::new(OURS);
        config.rules = rules(&file);
        if let Some(max) = session["max_routes"].as_u64() {
            config.bounds.routes = usize::try_from(max).unwrap();
        }
        let mut play = Play::new(config);
        for (index, step) in session["steps"].as_array().unwrap().iter().enumerate() {
            let at = format!("{} step {index}", session["id"]);
            let seen = play.step(step);
            assert_eq!(seen.applied, list(&step["applied"]), "applied, {at}");
            assert_eq!(seen.acks, list(&step["acks"]), "acks, {at}");
            assert_eq!(seen.nacks, list(&step["nacks"]), "nacks, {at}");
            assert_eq!(seen.closed, step["closed"], "closed, {at}");
            if !step["position"].is_null() {
                let position = play.reader.position().unwrap();
                let position = serde_json::json!([position.generation, position.revision]);
                assert_eq!(position, step["position"], "{at}");
            }
        }
    }
    assert!(sessions.len() >= 25);
}

struct Play {
    now: Now,
    reader: Reader,
}

#[derive(Default)]
struct Seen {
    applied: Vec<Value>,
    acks: Vec<Value>,
    nacks: Vec<Value>,
    closed: Value,
}

impl Play {
    fn new(config: ReaderConfig) -> Self {
        let now = now();
        let mut reader = Reader::new(config);
        reader.handle_connected(now);
        while reader.poll_output().is_some() {}
        Self { now, reader }
    }

    fn step(&mut self, step: &Value) -> Seen {
        for body in step["say"].as_array().into_iter().flatten() {
            let frame = Frame::new(body.as_str().unwrap().as_bytes()).unwrap();
            self.reader.handle_bytes(self.now, frame.bytes());
        }
        if step["lose"] == true {
            self.reader.handle_closed();
        }
        if step["connect"] == true {
            self.reader.handle_connected(self.now);
        }
        if let Some(millis) = step["pass_ms"].as_u64() {
            self.now = self.now.plus(Duration::from_millis(millis));
            self.reader.handle_timeout(self.now);
        }
        self.drain()
    }

    fn drain(&mut self) -> Seen {
        let mut seen = Seen::default();
        while let Some(output) = self.reader.poll_output() {
            match output {
                Output::Apply(batch) => {
                    seen.applied
                        .push(serde_json::json!([batch.replaces_all, batch.facts.len()]));
                }
                Output::Close(reason) => seen.closed = reason.name().into(),
                Output::Report(_) => {}
                Output::Send(frame) => {
                    let sent: Value = serde_json::from_slice(frame.body()).unwrap();
                    match sent["type"].as_str().unwrap() {
                        "Ack" => seen.acks.push(sent["revision"].clone()),
                        "Nack" => seen.nacks.push(serde_json::json!([sent["revision"], sent["code"]])),
                        _ => {}
                    }
                }
            }
        }
        seen
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

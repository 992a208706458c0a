//! Bytes and orders of events that no honest end produces: nothing panics, nothing grows without bound, and what is
//! handed on has passed its checks.
//!
//! Each body is an ordinary function of its input, so that a found input can be replayed by a test of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tollgate_contract::{E164, Now, Secret};
use tollgate_validator::facts::{Fact, LearnedRoute, RouteRef};
use tollgate_validator::feed::session::{Batch, Output, Reader, ReaderConfig};
use tollgate_validator::feed::{self, Frame, Message};
use tollgate_validator::vap::session::{Client, ClientConfig, ClientOutput, Server, ServerConfig, ServerOutput};
use tollgate_validator::{VServiceId, valinfo, vap};

use crate::data::{OURS, feed_messages, feed_sessions, now, rules, unhex, valinfos, vap_messages};

/// Most routes a fuzzed reader or client holds.
const MAX_ROUTES: usize = 3;

#[test]
fn mutated_feed_messages_never_panic() {
    let seeds = seeds(&feed_messages(), "frame");
    for seed in 0..4_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let bytes = mutated(&mut random, &seeds);
        feed_message(&bytes);
        feed_stream(&mut random, &bytes);
    }
}

#[test]
fn mutated_vap_messages_never_panic_and_are_never_authentic() {
    let seeds = seeds(&vap_messages(), "hex");
    let key = vap::Key::derive("edge1", &Secret::new(b"another".to_vec()));
    for seed in 0..10_000 {
        let mut random = StdRng::seed_from_u64(seed);
        vap_stream(&mut random, &mutated(&mut StdRng::seed_from_u64(!seed), &seeds), &key);
    }
}

#[test]
fn mutated_valinfos_never_panic_and_stay_within_their_bounds() {
    let file = valinfos();
    let documents = file["cases"].as_array().unwrap().iter();
    let seeds: Vec<Vec<u8>> = documents
        .map(|case| case["document"].as_str().unwrap().into())
        .collect();
    for seed in 0..10_000 {
        let document = mutated(&mut StdRng::seed_from_u64(seed), &seeds);
        let groups = valinfo::parse(&document).unwrap_or_default();
        let text = |group: &valinfo::ValInfo| group.uris.iter().map(String::len).sum::<usize>();
        assert!(groups.iter().map(text).sum::<usize>() <= document.len(), "seed {seed}");
    }
}

#[test]
fn a_reader_keeps_its_rules_whatever_a_validator_does() {
    let pool = session_steps();
    let (mut snapshots, mut deltas) = (0, 0);
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model::new(seed);
        for _ in 0..60 {
            reader_step(&mut random, &mut model, &pool);
        }
        snapshots += model.snapshots;
        deltas += model.deltas;
    }
    assert!(
        snapshots > 50 && deltas > 50,
        "{snapshots} snapshots and {deltas} deltas: too few to show anything"
    );
}

#[test]
fn a_vap_client_keeps_its_rules_whatever_a_server_does() {
    let learned: usize = (0..200).map(vap_client_session).sum();
    assert!(learned > 500, "{learned} routes: too few to show anything");
}

/// Reads one frame's body; what is read is written and read again.
fn feed_message(bytes: &[u8]) {
    let body = bytes.get(4..).unwrap_or_default();
    let Ok(message) = Message::parse(body) else { return };
    let Ok(frame) = message.encode() else { return };
    assert_eq!(Message::parse(frame.body()), Ok(message));
}

/// Pushes bytes in random pieces.
fn feed_stream(random: &mut StdRng, bytes: &[u8]) {
    let mut decoder = feed::Decoder::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = &rest[..random.random_range(1..=rest.len())];
        let Ok((taken, frame)) = decoder.push(piece) else {
            return;
        };
        assert!(taken > 0 && taken <= piece.len());
        assert!(frame.is_none_or(|frame| frame.len() <= feed::MAX_FRAME_LEN));
        rest = &rest[taken..];
    }
}

fn vap_stream(random: &mut StdRng, bytes: &[u8], key: &vap::Key) {
    let mut decoder = vap::Decoder::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = &rest[..random.random_range(1..=rest.len())];
        let Ok((taken, read)) = decoder.push(piece) else { return };
        assert!(taken > 0 && taken <= piece.len());
        rest = &rest[taken..];
        let Some(Ok(parsed)) = read.map(|read| read.parsed) else {
            continue;
        };
        assert!(!parsed.is_authentic(key));
        assert!(parsed.message.encode(None).is_some(), "what was read can be written");
    }
}

/// A reader with what its shell would hold, built from its batches alone.
struct Model {
    now: Now,
    reader: Reader,
    routes: BTreeMap<String, LearnedRoute>,
    rules: tollgate_validator::checks::RouteRules,
    seed: u64,
    snapshots: usize,
    deltas: usize,
}

impl Model {
    fn new(seed: u64) -> Self {
        let rules = rules(&feed_sessions());
        let mut config = ReaderConfig::new(OURS);
        config.rules = rules.clone();
        config.bounds.routes = MAX_ROUTES;
        config.messages_per_second = 50;
        Self {
            now: now(),
            reader: Reader::new(config),
            routes: BTreeMap::new(),
            rules,
            seed,
            snapshots: 0,
            deltas: 0,
        }
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        let mut answers = 0;
        while let Some(output) = self.reader.poll_output() {
            outputs += 1;
            match output {
                Output::Apply(batch) => self.apply(batch),
                Output::Send(frame) => {
                    answers += 1;
                    assert!(Message::parse(frame.body()).is_ok(), "seed {}", self.seed);
                }
                Output::Report(_) | Output::Close(_) => {}
            }
        }
        assert!(
            outputs < 2_000 && answers < 700,
            "seed {}: {outputs} outputs",
            self.seed
        );
        let unix = self.now.unix;
        let live = self.routes.values().filter(|route| route.is_live(unix)).count();
        assert!(live <= MAX_ROUTES, "seed {}: {live} routes", self.seed);
    }

    fn apply(&mut self, batch: Batch) {
        if batch.replaces_all {
            self.routes.clear();
            self.snapshots += 1;
        } else {
            self.deltas += 1;
        }
        assert_eq!(
            self.reader.position().map(|ours| ours.instance),
            Some(batch.position.instance)
        );
        for fact in batch.facts {
            match fact {
                Fact::RouteUpsert(route) => {
                    let again = self.rules.check(&(&*route).into(), self.now.unix);
                    assert_eq!(again.as_ref(), Ok(&*route), "seed {}", self.seed);
                    self.routes.insert(route.route_id.to_string(), *route);
                }
                Fact::RouteWithdraw(withdraw) => self.routes.retain(|id, route| match &withdraw.which {
                    RouteRef::Id(of) => of.as_str() != id,
                    RouteRef::NumberAndDomain(number, domain) => !is_at(route, *number, domain.as_str()),
                }),
                Fact::TicketKey(_) => panic!("seed {}: a key that was not asked for", self.seed),
                Fact::TicketRevoke(_)
                | Fact::DomainPolicy(_)
                | Fact::LocalNumbers(_)
                | Fact::LocalService(_)
                | Fact::MappingUpsert(_)
                | Fact::MappingWithdraw(_) => {}
            }
        }
    }
}

fn is_at(route: &LearnedRoute, number: E164, domain: &str) -> bool {
    route.number == number && route.domain.as_str() == domain
}

/// One event: time, loss, a step of the vectors as it is or spoiled, a message with another revision, or noise.
fn reader_step(random: &mut StdRng, model: &mut Model, pool: &[Vec<Vec<u8>>]) {
    let step = &pool[random.random_range(0..pool.len())];
    match random.random_range(0..20) {
        0 => model.reader.handle_closed(),
        1..=3 => {
            model.reader.handle_connected(model.now);
            give_body(model, ack().as_bytes());
        }
        4 => {
            model.now = model.now.plus(Duration::from_millis(random.random_range(0..8_000)));
            model.reader.handle_timeout(model.now);
        }
        5 => {
            let mut noise = [0; 64];
            let keep = random.random_range(0..64);
            random.fill(&mut noise[keep..]);
            give(model, &noise);
        }
        6..=8 => {
            let spoiled = random.random_range(0..step.len());
            for (index, body) in step.iter().enumerate() {
                let body = if index == spoiled {
                    &mutated(random, pool.concat().as_slice())
                } else {
                    body
                };
                give_body(model, body);
            }
        }
        9..=14 => step.iter().for_each(|body| give_body(model, body)),
        _ => {
            let body = &step[random.random_range(0..step.len())];
            let revised = with_revision(body, random.random_range(0..30));
            give_body(model, revised.as_deref().unwrap_or(body));
        }
    }
    model.drain();
    if let Some(due) = model.reader.poll_timeout() {
        assert!(due <= model.now.instant + Duration::from_secs(600));
    }
}

fn ack() -> String {
    r#"{"type":"HelloAck","major":1,"minor":0,"instance":"02020202020202020202020202020202","generation":1,"revision":9}"#
        .to_owned()
}

fn with_revision(body: &[u8], revision: u64) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    value["revision"] = revision.into();
    serde_json::to_vec(&value).ok()
}

fn give_body(model: &mut Model, body: &[u8]) {
    if let Ok(frame) = Frame::new(body) {
        give(model, frame.bytes());
    }
}

/// Gives bytes as a shell does: drains between the calls, waits when told to.
fn give(model: &mut Model, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let taken = model.reader.handle_bytes(model.now, bytes);
        bytes = &bytes[taken..];
        model.drain();
        if taken == 0 {
            let due = model
                .reader
                .poll_timeout()
                .expect("a throttled reader says when to go on");
            model.now = model.now.plus(due.saturating_duration_since(model.now.instant));
            model.reader.handle_timeout(model.now);
        }
    }
}

/// A registered client whose server's bytes are spoiled from some point on; how many routes it learned.
fn vap_client_session(seed: u64) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let now = now();
    let password = || Secret::new(b"tollgate-test".to_vec());
    let mut config = ClientConfig::new("edge1", password());
    config.vservices = vec![VServiceId(7)];
    config.bounds.routes = MAX_ROUTES;
    let mut server_config = ServerConfig::new("edge1", password());
    server_config.vservices = vec![VServiceId(7)];
    let mut client = Client::new(config, StdRng::seed_from_u64(seed + 1));
    let mut server = Server::new(server_config, StdRng::seed_from_u64(seed + 2), now);
    client.handle_connected(now);
    let mut learned = 0;
    let mut held = BTreeSet::new();
    for round in 0..40 {
        while let Some(output) = client.poll_output() {
            match output {
                ClientOutput::Send(bytes) => server.handle_bytes(now, &bytes),
                ClientOutput::Apply(facts) => {
                    for fact in &facts {
                        let Fact::RouteUpsert(route) = fact else {
                            panic!("seed {seed}: {fact:?}")
                        };
                        held.insert(route.route_id.clone());
                    }
                    learned += facts.len();
                }
                ClientOutput::Report(_) | ClientOutput::Close(_) => {}
            }
        }
        let document = format!(
            "<valinfo><number>+{}</number><ticket>A</ticket><route><SIPURI>sip:u@p.example:1;maddr=192.0.2.4</SIPURI></route></valinfo>",
            random.random_range(1..30)
        );
        let mut document = document.into_bytes();
        if random.random_bool(0.5) {
            document = mutated(&mut random, &[document]);
        }
        server.notify_document(VServiceId(7), &document);
        while let Some(output) = server.poll_output() {
            let ServerOutput::Send(mut bytes) = output else {
                continue;
            };
            if round > 10 && random.random_bool(0.2) {
                bytes = mutated(&mut random, &[bytes]);
            }
            client.handle_bytes(now, &bytes);
        }
    }
    assert!(held.len() <= MAX_ROUTES, "seed {seed}");
    learned
}

/// What the session vectors say, step by step.
fn session_steps() -> Vec<Vec<Vec<u8>>> {
    let file = feed_sessions();
    let sessions = file["sessions"].as_array().unwrap().iter();
    let steps = sessions.flat_map(|session| session["steps"].as_array().unwrap());
    let said = steps.filter_map(|step| step["say"].as_array());
    said.map(|bodies| bodies.iter().map(|body| body.as_str().unwrap().into()).collect())
        .collect()
}

fn seeds(file: &Value, key: &str) -> Vec<Vec<u8>> {
    let cases = file["cases"].as_array().unwrap().iter();
    cases.map(|case| unhex(case[key].as_str().unwrap())).collect()
}

/// A seed with up to eight bytes changed, inserted, removed, doubled or cut.
fn mutated(random: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(0..8) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.random()),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            4 if at < bytes.len() => bytes[at] = *b"\"{}[],:0-9<>&;=+".get(random.random_range(0..16)).unwrap(),
            _ => {
                let copy: Vec<u8> = bytes.iter().skip(at).take(40).copied().collect();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

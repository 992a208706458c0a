//! Both ends against each other, and a reader against a validator that does not play by the rules.

use std::time::Duration;

use tollgate_contract::{Now, Secret, TicketAlg, Way};

use super::*;
use crate::checks::RouteFault;
use crate::facts::{
    Fact, LearnedKey, LearnedKeyState, RouteFeedback, RouteOutcome, RouteRef, RouteWithdraw, TrunkClass, UpFact,
    VcrReport, WithdrawReason,
};
use crate::feed::{
    Counts, Decoder, Digest, FactFault, Frame, Heartbeat, Hello, Kind, Message, NackCode, Record, RingState,
    SnapshotBegin, SnapshotEnd, capability,
};
use crate::testing::{claim, now, route, upsert};
use crate::{InstanceId, VServiceId};

#[test]
fn a_reader_gets_a_snapshot_and_then_each_change() {
    let mut pair = Pair::new();
    pair.publish(&upsert("r1", 1));
    pair.publish(&upsert("r2", 2));
    pair.connect();
    let batches = pair.take_batches();
    assert_eq!(batches.len(), 1);
    assert!(batches[0].replaces_all && batches[0].facts.len() == 2);
    pair.publish(&upsert("r3", 3));
    pair.publish(&withdraw("r1"));
    pair.pump();
    let batches = pair.take_batches();
    assert!(
        batches
            .iter()
            .all(|batch| !batch.replaces_all && batch.facts.len() == 1)
    );
    assert_eq!(batches.last().unwrap().facts[0], withdraw("r1"));
    assert_eq!(pair.reader.position().unwrap().revision, 4);
    assert_eq!(pair.writer.acknowledged(), 4);
}

#[test]
fn after_a_loss_only_what_was_missed_is_told() {
    let mut pair = Pair::new();
    pair.publish(&upsert("r1", 1));
    pair.connect();
    pair.lose();
    pair.publish(&upsert("r2", 2));
    pair.take_batches();
    pair.connect();
    let batches = pair.take_batches();
    assert_eq!(batches.len(), 1);
    assert!(!batches[0].replaces_all);
    assert_eq!(batches[0].position.revision, 2);
}

#[test]
fn a_reader_that_missed_more_than_the_journal_holds_gets_a_snapshot() {
    let mut pair = Pair::new();
    pair.publish(&upsert("r1", 1));
    pair.connect();
    pair.lose();
    pair.take_batches();
    for n in 0..10_050 {
        pair.publish(&upsert("r1", n % 10_000));
    }
    pair.connect();
    let batches = pair.take_batches();
    assert_eq!(batches.len(), 1);
    assert!(batches[0].replaces_all && batches[0].facts.len() == 1);
}

#[test]
fn kept_facts_are_gone_on_from_after_a_restart() {
    let mut pair = Pair::new();
    pair.publish(&upsert("r1", 1));
    pair.connect();
    let kept = pair.take_batches().remove(0);
    pair.lose();
    pair.reader = Reader::new(pair.reader.config.clone());
    pair.reader.restore(kept.position, &kept.facts, pair.now);
    pair.publish(&withdraw("r1"));
    pair.connect();
    let batches = pair.take_batches();
    assert!(batches.len() == 1 && !batches[0].replaces_all);
}

#[test]
fn a_snapshot_half_told_changes_nothing_when_the_connection_is_lost() {
    let mut lone = Lone::established();
    lone.snapshot(1, 5, &[upsert("r1", 1)]);
    let before = lone.reader.position();
    lone.take();
    lone.say(&begin(1, 6, 2));
    lone.say(&record(6, &upsert("r9", 9)));
    lone.reader.handle_closed();
    assert!(lone.take().batches.is_empty());
    assert_eq!(lone.reader.position(), before);
    lone.hello(1, 6);
    lone.say(&record(6, &upsert("r2", 2)));
    assert_eq!(lone.take().batches.len(), 1, "deltas go on from the old state");
}

#[test]
fn a_stale_generation_is_refused_and_the_facts_stand() {
    let mut lone = Lone::in_generation(3);
    lone.snapshot(3, 5, &[upsert("r1", 1)]);
    let before = lone.reader.position();
    lone.take();
    lone.snapshot(2, 9, &[]);
    assert_eq!(lone.take().nacks, [(Some(9), NackCode::Stale)]);
    lone.snapshot(3, 4, &[]);
    let taken = lone.take();
    assert_eq!(taken.nacks, [(Some(4), NackCode::Stale)]);
    assert!(taken.batches.is_empty());
    assert_eq!(lone.reader.position(), before);
    lone.reader.handle_closed();
    lone.hello(2, 9);
    let taken = lone.take();
    assert_eq!(taken.closed, Some(CloseReason::Stale));
    assert_eq!(taken.nacks, [(Some(9), NackCode::Stale)]);
    assert_eq!(lone.reader.position(), before);
}

#[test]
fn a_delta_told_again_is_acknowledged_without_change() {
    let mut lone = Lone::established();
    lone.snapshot(1, 5, &[]);
    let delta = record(6, &upsert("r1", 1));
    lone.say(&delta);
    assert_eq!(lone.take().batches.len(), 2);
    lone.say(&delta);
    let taken = lone.take();
    assert!(taken.batches.is_empty() && taken.nacks.is_empty());
    assert_eq!(taken.acks, [6]);
    lone.say(&record(6, &upsert("r2", 2)));
    assert_eq!(
        lone.take().nacks,
        [(Some(6), NackCode::Stale)],
        "another message of that revision"
    );
    lone.say(&record(3, &upsert("r2", 2)));
    assert_eq!(lone.take().nacks, [(Some(3), NackCode::Stale)]);
}

#[test]
fn a_refused_delta_told_again_is_refused_again() {
    let mut lone = Lone::established();
    lone.snapshot(1, 5, &[]);
    lone.take();
    let mut bad = claim("r1", 1);
    bad.targets[0].uri = "sip:u@peer.example:1;maddr=10.0.0.1".into();
    let delta = Message::Record {
        revision: 6,
        record: Record::Claim(Box::new(bad)),
    };
    for _ in 0..2 {
        lone.say(&delta);
        let taken = lone.take();
        assert_eq!(taken.nacks, [(Some(6), NackCode::Verify)]);
        assert!(taken.batches.is_empty());
    }
    lone.say(&record(7, &upsert("r1", 1)));
    assert_eq!(lone.take().acks, [7]);
}

#[test]
fn deltas_before_any_snapshot_are_stale() {
    let mut lone = Lone::established();
    lone.say(&record(1, &upsert("r1", 1)));
    let taken = lone.take();
    assert_eq!(taken.nacks, [(Some(1), NackCode::Stale)]);
    assert!(taken.batches.is_empty());
}

#[test]
fn one_bad_route_does_not_spoil_a_snapshot() {
    let mut lone = Lone::established();
    let mut bad = claim("r2", 2);
    bad.expires_at = lone.now.unix;
    lone.snapshot_of(1, 5, vec![Record::Claim(Box::new(bad)), Record::of(&upsert("r1", 1))]);
    let taken = lone.take();
    assert_eq!(taken.nacks, [(Some(5), NackCode::Verify)]);
    assert_eq!(taken.acks, [5]);
    assert_eq!(taken.batches[0].facts.len(), 1);
    assert!(matches!(&taken.batches[0].facts[0], Fact::RouteUpsert(route) if route.route_id.as_str() == "r1"));
    let expired = FactFault::Route(RouteFault::Expired);
    let refused = |report: &Report| matches!(report, Report::RecordRefused { fault, .. } if *fault == expired);
    assert!(taken.reports.iter().any(refused));
}

#[test]
fn a_snapshot_that_does_not_add_up_is_refused_whole() {
    let good = [Record::of(&upsert("r1", 1)), Record::of(&upsert("r2", 2))];
    let spoils: [fn(&mut SnapshotEnd); 4] = [
        |end| end.digest = Digest([0; 32]),
        |end| end.counts.routes = 3,
        |end| end.revision = 6,
        |end| end.generation = 2,
    ];
    for spoil in spoils {
        let mut lone = Lone::established();
        lone.snapshot_with(1, 5, good.to_vec(), spoil);
        let taken = lone.take();
        assert!(taken.batches.is_empty() && taken.nacks.len() == 1);
        assert_eq!(taken.nacks[0].1, NackCode::Verify);
        assert_eq!(lone.reader.position(), None);
    }
}

#[test]
fn a_snapshot_over_the_bounds_gives_507_and_leaves_the_old_state() {
    let mut lone = Lone::with(|config| config.bounds.routes = 2);
    lone.snapshot(1, 5, &[upsert("r1", 1)]);
    lone.take();
    let before = lone.reader.position();
    lone.snapshot(1, 6, &[upsert("a", 1), upsert("b", 2), upsert("c", 3)]);
    let taken = lone.take();
    assert_eq!(taken.nacks, [(Some(6), NackCode::Full)]);
    assert!(taken.batches.is_empty());
    assert_eq!(lone.reader.position(), before);
}

#[test]
fn a_snapshot_that_tells_more_than_it_announced_is_refused_at_once() {
    let mut lone = Lone::established();
    lone.say(&begin(1, 5, 1));
    for _ in 0..50 {
        lone.say(&record(5, &upsert("r1", 1)));
    }
    assert_eq!(lone.take().nacks, [(Some(5), NackCode::Verify)]);
}

#[test]
fn a_snapshot_that_says_one_thing_over_and_over_is_bounded_by_its_bytes() {
    let mut lone = Lone::with(|config| config.bounds.bytes = 2_000);
    lone.snapshot(1, 5, &vec![upsert("r1", 1); 10]);
    let taken = lone.take();
    assert_eq!(taken.nacks, [(Some(5), NackCode::Full)]);
    assert!(taken.batches.is_empty());
}

#[test]
fn a_full_table_gives_507_until_something_ends() {
    let mut lone = Lone::with(|config| config.bounds.routes = 2);
    lone.snapshot(1, 5, &[upsert("r1", 1), upsert("r2", 2)]);
    lone.take();
    lone.say(&record(6, &upsert("r3", 3)));
    assert_eq!(lone.take().nacks, [(Some(6), NackCode::Full)]);
    lone.say(&record(7, &upsert("r2", 4)));
    assert_eq!(lone.take().acks, [7], "replacing takes no further place");
    lone.say(&record(8, &withdraw("r1")));
    lone.say(&record(9, &upsert("r3", 3)));
    assert_eq!(lone.take().acks, [8, 9]);
    lone.now = lone.now.plus(Duration::from_secs(86_400));
    let mut late = claim("r5", 5);
    late.expires_at += Duration::from_secs(86_400);
    lone.say(&Message::Record {
        revision: 10,
        record: Record::Claim(Box::new(late)),
    });
    assert_eq!(lone.take().acks, [10], "what has ended makes room");
}

#[test]
fn a_withdrawal_by_number_and_domain_makes_room() {
    let mut lone = Lone::with(|config| config.bounds.routes = 2);
    lone.snapshot(1, 5, &[upsert("r1", 1), upsert("r2", 1)]);
    let route = route("r1", 1);
    let which = RouteRef::NumberAndDomain(route.number, route.domain);
    let fact = Fact::RouteWithdraw(RouteWithdraw {
        which,
        reason: WithdrawReason::Failed,
    });
    lone.say(&record(6, &fact));
    lone.say(&record(7, &upsert("r3", 3)));
    lone.say(&record(8, &upsert("r4", 4)));
    assert_eq!(lone.take().acks, [5, 6, 7, 8]);
}

#[test]
fn ticket_keys_go_only_to_who_asked_for_them() {
    let key = Fact::TicketKey(LearnedKey {
        epoch: 1,
        alg: TicketAlg::V2HmacSha256,
        secret: Secret::new(vec![7; 32]),
        not_before: Duration::ZERO,
        issue_until: Duration::from_secs(2_000_000_000),
        accept_until: Duration::from_secs(2_000_000_000),
        state: LearnedKeyState::Issuing,
    });
    for wants_keys in [false, true] {
        let mut pair = Pair::with(|config| config.wants_keys = wants_keys);
        pair.publish(&key);
        pair.connect();
        let batches = pair.take_batches();
        assert_eq!(batches[0].facts.contains(&key), wants_keys);
    }
    let mut lone = Lone::established();
    lone.snapshot(1, 5, &[]);
    lone.take();
    lone.say(&record(6, &key));
    assert_eq!(lone.take().nacks, [(Some(6), NackCode::Policy)]);
}

#[test]
fn an_unknown_kind_is_refused_and_the_session_goes_on() {
    let mut lone = Lone::established();
    lone.snapshot(1, 5, &[]);
    lone.take();
    for _ in 0..500 {
        lone.say_raw(br#"{"type":"RoutePaint","revision":6,"colour":"red"}"#);
    }
    let taken = lone.take();
    assert!(taken.nacks.len() == 500 && taken.nacks.iter().all(|nack| *nack == (Some(6), NackCode::Syntax)));
    assert_eq!(taken.closed, None);
    lone.say_raw(br#"{"type":"Heartbeat","revision":5,"clock_ms":1800000000000,"mood":{"good":[1]}}"#);
    assert!(lone.take().nacks.is_empty(), "unknown fields are ignored");
}

#[test]
fn frames_that_are_no_messages_end_the_connection_after_a_hundred() {
    let mut lone = Lone::established();
    for _ in 0..100 {
        lone.say_raw(b"\xff");
    }
    assert_eq!(lone.take().closed, None);
    lone.say_raw(b"[]");
    assert_eq!(lone.take().closed, Some(CloseReason::TooManyFaults));
}

#[test]
fn a_frame_over_64_kib_ends_the_connection() {
    let mut lone = Lone::established();
    lone.reader.handle_bytes(lone.now, &[0xff; 8]);
    let taken = lone.take();
    assert_eq!(taken.nacks, [(None, NackCode::Syntax)]);
    assert_eq!(taken.closed, Some(CloseReason::FrameTooLong));
    assert_eq!(lone.reader.handle_bytes(lone.now, b"more"), 4);
    assert!(lone.take().is_empty());
}

#[test]
fn hello_comes_first_and_in_time() {
    let mut lone = Lone::new(ReaderConfig::new(InstanceId([1; 16])));
    lone.reader.handle_connected(lone.now);
    lone.say(&begin(1, 1, 0));
    assert_eq!(lone.take().closed, Some(CloseReason::HelloExpected));
    lone.reader.handle_connected(lone.now);
    lone.pass(Duration::from_secs(10));
    assert_eq!(lone.take().closed, Some(CloseReason::HelloTimeout));
    lone.reader.handle_connected(lone.now);
    lone.say(&Message::HelloAck(Hello {
        major: 2,
        ..hello_ack(1, 1)
    }));
    assert_eq!(lone.take().closed, Some(CloseReason::Version));
}

#[test]
fn a_silent_validator_is_left_after_the_heartbeat_timeout() {
    let mut lone = Lone::established();
    for _ in 0..4 {
        lone.pass(Duration::from_secs(10));
        lone.say(&heartbeat(&lone, 0));
        assert_eq!(lone.take().closed, None);
    }
    lone.pass(Duration::from_millis(14_999));
    assert_eq!(lone.take().closed, None);
    lone.pass(Duration::from_millis(1));
    assert_eq!(lone.take().closed, Some(CloseReason::HeartbeatTimeout));
}

#[test]
fn a_snapshot_that_never_ends_is_given_up() {
    let mut lone = Lone::established();
    lone.say(&begin(1, 5, 9));
    for _ in 0..60 {
        lone.pass(Duration::from_secs(10));
        lone.say(&heartbeat(&lone, 0));
    }
    assert_eq!(lone.take().closed, Some(CloseReason::SnapshotTimeout));
}

#[test]
fn both_ends_of_a_quiet_connection_stay_alive_by_heartbeats() {
    let mut pair = Pair::new();
    pair.connect();
    for _ in 0..100 {
        pair.pass(Duration::from_secs(5));
    }
    assert!(pair.reader.is_established());
}

#[test]
fn a_flood_is_read_at_its_rate_and_no_message_is_lost() {
    let mut lone = Lone::with(|config| config.messages_per_second = 100);
    lone.pass(Duration::from_secs(1));
    lone.snapshot(1, 5, &[]);
    lone.take();
    let stream: Vec<u8> = (6..1_006)
        .flat_map(|revision| record(revision, &upsert("r1", 1)).encode().unwrap().bytes().to_vec())
        .collect();
    let (mut rest, mut acks, mut waits) = (&stream[..], 0, 0);
    while !rest.is_empty() {
        let taken = lone.reader.handle_bytes(lone.now, rest);
        rest = &rest[taken..];
        let outputs = lone.take();
        assert!(outputs.acks.len() <= 256);
        acks += outputs.acks.len();
        if taken == 0 {
            waits += 1;
            let ready = lone.reader.poll_timeout().unwrap();
            lone.pass(ready - lone.now.instant);
        }
    }
    assert_eq!(acks, 1_000);
    assert!(waits > 800, "{waits}");
    assert!(lone.reader.outputs.capacity() < 4_096);
}

#[test]
fn what_the_control_plane_tells_reaches_the_validator() {
    let mut pair = Pair::new();
    let feedback = UpFact::Feedback(RouteFeedback {
        route_id: "r1".parse().unwrap(),
        outcome: RouteOutcome::Forbidden,
        count: 3,
        window: Duration::from_secs(60),
    });
    assert_eq!(pair.reader.tell(&feedback), Err(NotTold::NotConnected));
    pair.connect();
    let vcr = UpFact::Vcr(VcrReport {
        direction: Way::Outbound,
        calling: None,
        called: "+14085550001".parse().unwrap(),
        start: Duration::from_nanos(1_800_000_000_123_456_789),
        stop: Duration::from_nanos(1_800_000_060_000_000_001),
        vservice_id: VServiceId(u64::MAX),
        trunk_class: TrunkClass::Supervised,
    });
    for fact in [&feedback, &vcr] {
        pair.reader.tell(fact).unwrap();
        pair.pump();
    }
    assert_eq!(pair.told_up, [feedback, vcr]);
}

#[test]
fn another_instance_has_to_tell_everything_again() {
    let mut lone = Lone::in_generation(7);
    lone.snapshot(7, 9, &[upsert("r1", 1)]);
    lone.take();
    lone.reader.handle_closed();
    lone.reader.handle_connected(lone.now);
    lone.say(&Message::HelloAck(Hello {
        instance: InstanceId([8; 16]),
        ..hello_ack(1, 1)
    }));
    lone.say(&record(10, &upsert("r2", 2)));
    let taken = lone.take();
    assert!(taken.reports.contains(&Report::InstanceChanged {
        instance: InstanceId([8; 16])
    }));
    assert_eq!(taken.nacks, [(Some(10), NackCode::Stale)]);
    lone.snapshot(1, 1, &[]);
    assert_eq!(lone.take().batches.len(), 1);
}

#[test]
fn a_writer_answers_a_stale_delta_with_a_new_snapshot() {
    let mut pair = Pair::new();
    pair.publish(&upsert("r1", 1));
    pair.connect();
    pair.take_batches();
    let nack = Message::Nack(crate::feed::Nack {
        revision: Some(1),
        code: NackCode::Stale,
        text: "revision".into(),
    });
    let frame = nack.encode().unwrap();
    pair.writer.handle_bytes(pair.now, &pair.source, frame.bytes());
    pair.pump();
    assert!(pair.take_batches().is_empty(), "not so soon after the last one");
    pair.pass(Duration::from_secs(5));
    pair.pass(Duration::from_secs(5));
    let batches = pair.take_batches();
    assert!(batches.len() == 1 && batches[0].replaces_all);
}

#[test]
fn ring_state_clocks_and_gaps_are_reported_once() {
    let mut lone = Lone::established();
    lone.snapshot(1, 5, &[]);
    lone.take();
    let clock = lone.now.unix + Duration::from_secs(60);
    for expected in [1, 0] {
        lone.say(&Message::Heartbeat(Heartbeat {
            revision: 5,
            clock,
            ring: Some(RingState::Down),
        }));
        let reports = lone.take().reports;
        let count = |wanted: &Report| reports.iter().filter(|report| *report == wanted).count();
        assert_eq!(count(&Report::Ring { is_up: false }), expected);
        assert_eq!(count(&Report::ClocksApart { offset_ms: 60_000 }), expected);
    }
    lone.say(&heartbeat(&lone, 6));
    assert!(lone.take().reports.contains(&Report::Behind { theirs: 6, ours: 5 }));
}

/// A validator and a control plane, joined by perfect wires in virtual time.
struct Pair {
    now: Now,
    source: Source,
    writer: Writer,
    reader: Reader,
    batches: Vec<Batch>,
    told_up: Vec<UpFact>,
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ReaderConfig)) -> Self {
        let now = now();
        let mut config = ReaderConfig::new(InstanceId([1; 16]));
        change(&mut config);
        Self {
            now,
            source: Source::new(InstanceId([2; 16]), 1, Bounds::default()),
            writer: Writer::new(WriterConfig::default(), now),
            reader: Reader::new(config),
            batches: Vec::new(),
            told_up: Vec::new(),
        }
    }

    fn publish(&mut self, fact: &Fact) {
        self.source.publish(fact, self.now.unix).unwrap();
    }

    fn connect(&mut self) {
        self.writer = Writer::new(WriterConfig::default(), self.now);
        self.reader.handle_connected(self.now);
        self.pump();
    }

    fn lose(&mut self) {
        self.reader.handle_closed();
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.plus(by);
        self.reader.handle_timeout(self.now);
        self.writer.handle_timeout(self.now, &self.source);
        self.pump();
    }

    fn pump(&mut self) {
        loop {
            let mut is_idle = true;
            while let Some(output) = self.reader.poll_output() {
                is_idle = false;
                match output {
                    Output::Send(frame) => self.writer.handle_bytes(self.now, &self.source, frame.bytes()),
                    Output::Apply(batch) => self.batches.push(batch),
                    Output::Report(_) => {}
                    Output::Close(reason) => panic!("{reason:?}"),
                }
            }
            if let Some(output) = self.writer.poll_output(&self.source) {
                is_idle = false;
                match output {
                    WriterOutput::Send(frame) => {
                        let taken = self.reader.handle_bytes(self.now, frame.bytes());
                        assert_eq!(taken, frame.bytes().len());
                    }
                    WriterOutput::Up(fact) => self.told_up.push(fact),
                    WriterOutput::Report(_) => {}
                    WriterOutput::Close(reason) => panic!("{reason:?}"),
                }
            }
            if is_idle {
                return;
            }
        }
    }

    fn take_batches(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.batches)
    }
}

/// A reader alone, told things by hand.
struct Lone {
    now: Now,
    reader: Reader,
}

/// What a reader put out.
#[derive(Default)]
struct Taken {
    batches: Vec<Batch>,
    acks: Vec<u64>,
    nacks: Vec<(Option<u64>, NackCode)>,
    reports: Vec<Report>,
    closed: Option<CloseReason>,
}

impl Taken {
    fn note_sent(&mut self, message: Message) {
        if let Message::Ack(ack) = &message {
            self.acks.push(ack.revision);
        } else if let Message::Nack(nack) = &message {
            self.nacks.push((nack.revision, nack.code));
        } else {
            assert!(matches!(message.kind(), Kind::Hello | Kind::Heartbeat), "{message:?}");
        }
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty()
            && self.acks.is_empty()
            && self.nacks.is_empty()
            && self.reports.is_empty()
            && self.closed.is_none()
    }
}

impl Lone {
    fn new(config: ReaderConfig) -> Self {
        Self {
            now: now(),
            reader: Reader::new(config),
        }
    }

    fn established() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ReaderConfig)) -> Self {
        let mut config = ReaderConfig::new(InstanceId([1; 16]));
        change(&mut config);
        let mut lone = Self::new(config);
        lone.hello(1, 0);
        lone.take();
        lone
    }

    fn in_generation(generation: u64) -> Self {
        let mut lone = Self::new(ReaderConfig::new(InstanceId([1; 16])));
        lone.hello(generation, 0);
        lone.take();
        lone
    }

    fn hello(&mut self, generation: u64, revision: u64) {
        self.reader.handle_connected(self.now);
        self.say(&Message::HelloAck(hello_ack(generation, revision)));
    }

    fn say(&mut self, message: &Message) {
        self.say_frame(&message.encode().unwrap());
    }

    fn say_raw(&mut self, body: &[u8]) {
        self.say_frame(&Frame::new(body).unwrap());
    }

    fn say_frame(&mut self, frame: &Frame) {
        assert_eq!(self.reader.handle_bytes(self.now, frame.bytes()), frame.bytes().len());
    }

    /// A whole, right snapshot.
    fn snapshot(&mut self, generation: u64, revision: u64, facts: &[Fact]) {
        self.snapshot_of(generation, revision, facts.iter().map(Record::of).collect());
    }

    fn snapshot_of(&mut self, generation: u64, revision: u64, records: Vec<Record>) {
        self.snapshot_with(generation, revision, records, |_| {});
    }

    fn snapshot_with(&mut self, generation: u64, revision: u64, records: Vec<Record>, spoil: fn(&mut SnapshotEnd)) {
        let mut counts = Counts::default();
        let mut digest = crate::feed::digest::RunningDigest::default();
        let frames: Vec<Frame> = records
            .into_iter()
            .map(|record| {
                *counts.of(record.kind()).unwrap() += 1;
                let frame = Message::Record { revision, record }.encode().unwrap();
                digest.add(frame.body());
                frame
            })
            .collect();
        self.say(&Message::SnapshotBegin(SnapshotBegin {
            generation,
            revision,
            counts,
        }));
        frames.iter().for_each(|frame| self.say_frame(frame));
        let mut end = SnapshotEnd {
            generation,
            revision,
            counts,
            digest: digest.finish(),
        };
        spoil(&mut end);
        self.say(&Message::SnapshotEnd(end));
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.plus(by);
        self.reader.handle_timeout(self.now);
    }

    fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        while let Some(output) = self.reader.poll_output() {
            match output {
                Output::Apply(batch) => taken.batches.push(batch),
                Output::Report(report) => taken.reports.push(report),
                Output::Close(reason) => taken.closed = Some(reason),
                Output::Send(frame) => taken.note_sent(sent(&frame)),
            }
        }
        taken
    }
}

fn sent(frame: &Frame) -> Message {
    let mut decoder = Decoder::default();
    let (taken, body) = decoder.push(frame.bytes()).unwrap();
    assert_eq!(taken, frame.bytes().len());
    Message::parse(body.unwrap()).unwrap()
}

fn hello_ack(generation: u64, revision: u64) -> Hello {
    Hello {
        major: 1,
        minor: 0,
        instance: InstanceId([2; 16]),
        seen_instance: None,
        generation,
        revision,
        capabilities: vec![capability::VCR.into(), capability::FEEDBACK.into()],
    }
}

fn begin(generation: u64, revision: u64, routes: u64) -> Message {
    let counts = Counts {
        routes,
        ..Counts::default()
    };
    Message::SnapshotBegin(SnapshotBegin {
        generation,
        revision,
        counts,
    })
}

fn record(revision: u64, fact: &Fact) -> Message {
    Message::Record {
        revision,
        record: Record::of(fact),
    }
}

fn heartbeat(lone: &Lone, revision: u64) -> Message {
    Message::Heartbeat(Heartbeat {
        revision,
        clock: lone.now.unix,
        ring: None,
    })
}

fn withdraw(id: &str) -> Fact {
    let which = RouteRef::Id(id.parse().unwrap());
    Fact::RouteWithdraw(RouteWithdraw {
        which,
        reason: WithdrawReason::Revoked,
    })
}

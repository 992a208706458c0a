//! Client and server against each other in virtual time, and a client against a server that does not play by the rules.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tollgate_contract::{Now, Pii, Secret, Way};

use super::*;
use crate::VServiceId;
use crate::checks::RouteFault;
use crate::facts::{Fact, RouteFeedback, RouteOutcome, TrunkClass, UpFact, VcrReport};
use crate::feed::session::NotTold;
use crate::testing::now;
use crate::valinfo::{ValInfo, ValInfoFault};
use crate::vap::{Decoder, FrameFault, Read};

const VSERVICE: VServiceId = VServiceId(7);

#[test]
fn a_registered_client_is_told_of_proven_numbers() {
    let mut pair = Pair::registered();
    assert_eq!(pair.events, [Event::Registered, Event::Subscribed(VSERVICE)]);
    pair.server
        .notify(VSERVICE, &[group("+14085550100"), group("+14085550101")]);
    pair.pump();
    let facts = pair.take_facts();
    assert_eq!(facts.len(), 2);
    let Fact::RouteUpsert(route) = &facts[0] else {
        panic!("{facts:?}")
    };
    assert_eq!(route.number.to_string(), "+14085550100");
    assert_eq!(route.expires_at, pair.now.unix + Duration::from_secs(365 * 86_400));
    assert_eq!(route.learned_at, pair.now.unix);
    assert_eq!(route.vservice_id, VSERVICE);
    assert_eq!(pair.events.last(), Some(&Event::Answered(Method::Notify, None)));
}

#[test]
fn the_same_number_told_again_renews_its_route_under_a_higher_revision() {
    let mut pair = Pair::registered();
    let mut told = Vec::new();
    for _ in 0..2 {
        pair.server.notify(VSERVICE, &[group("+14085550100")]);
        pair.pump();
        let Some(Fact::RouteUpsert(route)) = pair.take_facts().pop() else {
            panic!("no route")
        };
        told.push(route);
    }
    assert_eq!(told[0].route_id, told[1].route_id);
    assert!(told[0].revision < told[1].revision);
    assert!(!told[0].route_id.as_str().contains("4085550100"));
}

#[test]
fn a_bad_route_is_refused_by_name_and_the_others_are_learned() {
    let mut pair = Pair::registered();
    let spoiled = |spoil: fn(&mut ValInfo)| {
        let mut group = group("+14085550100");
        spoil(&mut group);
        group
    };
    let groups = [
        spoiled(|group| group.number = Pii("4085550100".into())),
        spoiled(|group| group.uris = vec!["sip:u@peer.example:1;maddr=192.168.0.1".into()]),
        spoiled(|group| group.uris = vec![format!("sip:{}@peer.example:1;maddr=192.0.2.4", "u".repeat(600))]),
        spoiled(|group| group.uris.push("sip:u@other.example:1;maddr=192.0.2.4".into())),
        spoiled(|group| group.ticket = Pii("a".repeat(1_025))),
        group("+14085550101"),
    ];
    pair.server.notify(VSERVICE, &groups);
    pair.pump();
    assert_eq!(pair.take_facts().len(), 1);
    let expected = [
        RouteFault::Number,
        RouteFault::PrivateAddress,
        RouteFault::UriTooLong,
        RouteFault::DomainMismatch,
        RouteFault::TicketTooLong,
    ];
    for fault in expected {
        assert!(pair.reports.contains(&Report::RouteRefused { fault }), "{fault:?}");
    }
}

#[test]
fn a_document_that_is_no_valinfo_is_answered_with_400() {
    let mut pair = Pair::registered();
    pair.server.notify_document(VSERVICE, b"<!DOCTYPE x><valinfo/>");
    pair.pump();
    assert!(pair.take_facts().is_empty());
    assert!(pair.reports.contains(&Report::ValInfoRefused {
        fault: ValInfoFault::DocType
    }));
    assert_eq!(pair.events.last(), Some(&Event::Answered(Method::Notify, Some(400))));
}

#[test]
fn a_notify_for_no_subscription_is_answered_with_476_and_not_used() {
    let mut pair = Pair::registered();
    let document = crate::valinfo::write(&[group("+14085550100")]);
    pair.server.notify_subscription(1, VSERVICE, document.as_bytes());
    pair.pump();
    assert!(pair.take_facts().is_empty());
    assert_eq!(pair.events.last(), Some(&Event::Answered(Method::Notify, Some(476))));
}

#[test]
fn a_notify_for_another_vservice_than_the_subscriptions_is_answered_with_400() {
    let mut pair = Pair::registered();
    pair.server.notify(VSERVICE, &[]);
    let read = read(&pair.next_sent_by_server());
    let subscription = read.parsed.unwrap().message.subscription().unwrap();
    let document = crate::valinfo::write(&[group("+14085550100")]);
    let other = VServiceId(8);
    pair.server
        .notify_subscription(subscription, other, document.as_bytes());
    pair.pump();
    assert!(pair.take_facts().is_empty());
    assert_eq!(pair.events.last(), Some(&Event::Answered(Method::Notify, Some(400))));
}

#[test]
fn a_response_of_another_method_is_not_taken_for_ours() {
    let mut pair = Pair::new();
    pair.client.handle_connected(pair.now);
    let Some(ClientOutput::Send(register)) = pair.client.poll_output() else {
        panic!("no Register")
    };
    let key = Key::derive("edge1", &Secret::new(b"tollgate-test".to_vec()));
    let attributes = vec![Attribute::ClientHandle(1), Attribute::Keepalive(30_000)];
    let response = success(Method::Subscribe, transaction_of(&register), attributes, &key).unwrap();
    pair.client.handle_bytes(pair.now, &response);
    pair.pump();
    assert_eq!(pair.reports, [Report::UnknownTransaction]);
    assert!(!pair.client.is_registered());
}

#[test]
fn a_wrong_password_is_answered_with_431_and_an_unknown_name_with_436() {
    for (username, password, code, reason) in [
        ("edge1", "other", 431, CloseReason::IntegrityFailure),
        ("edge2", "tollgate-test", 436, CloseReason::UnknownUsername),
    ] {
        let mut pair = Pair::with(|config| {
            config.username = username.into();
            config.password = Secret::new(password.into());
        });
        pair.client.handle_connected(pair.now);
        pair.pump();
        assert_eq!(pair.events, [Event::Refused(code)]);
        assert_eq!(pair.closed, Some(reason));
        assert_eq!(reason.retry(), Retry::Later);
    }
}

#[test]
fn a_request_of_the_server_with_a_wrong_mac_changes_nothing() {
    let mut pair = Pair::registered();
    pair.server.notify(VSERVICE, &[group("+14085550100")]);
    let mut bytes = pair.next_sent_by_server();
    *bytes.last_mut().unwrap() ^= 1;
    pair.client.handle_bytes(pair.now, &bytes);
    pair.pump();
    assert!(pair.take_facts().is_empty());
    assert!(pair.reports.contains(&Report::BadMac { method: Method::Notify }));
    assert_eq!(pair.events.last(), Some(&Event::Answered(Method::Notify, Some(431))));
    assert!(pair.client.is_registered());
}

#[test]
fn a_response_with_a_wrong_or_no_mac_is_dropped() {
    let mut pair = Pair::new();
    pair.client.handle_connected(pair.now);
    let Some(ClientOutput::Send(register)) = pair.client.poll_output() else {
        panic!("no Register")
    };
    pair.server.handle_bytes(pair.now, &register);
    let mut wrong = pair.next_sent_by_server();
    *wrong.last_mut().unwrap() ^= 1;
    pair.client.handle_bytes(pair.now, &wrong);
    let unsigned = Message::new(Method::Register, Class::Success, transaction_of(&register))
        .with(Attribute::ClientHandle(1))
        .with(Attribute::Keepalive(30_000));
    pair.client.handle_bytes(pair.now, &unsigned.encode(None).unwrap());
    pair.pump();
    let bad = Report::BadMac {
        method: Method::Register,
    };
    assert_eq!(pair.reports.iter().filter(|report| **report == bad).count(), 2);
    assert!(!pair.client.is_registered());
    pair.pass(Duration::from_millis(39_500));
    assert_eq!(pair.closed, Some(CloseReason::Timeout));
}

#[test]
fn a_third_of_the_interval_in_silence_brings_a_keepalive() {
    let mut pair = Pair::registered();
    pair.events.clear();
    for _ in 0..12 {
        let due = pair.client.poll_timeout().unwrap();
        assert_eq!(due - pair.now.instant, Duration::from_secs(10));
        pair.pass(Duration::from_secs(10));
    }
    assert_eq!(pair.events, vec![Event::KeptAlive; 12]);
}

#[test]
fn after_a_loss_the_client_registers_anew_without_its_handle() {
    let mut pair = Pair::registered();
    pair.client.handle_closed();
    assert!(!pair.client.is_registered());
    pair.reconnect();
    assert_eq!(pair.events, [Event::Registered, Event::Subscribed(VSERVICE)]);
    pair.server.notify(VSERVICE, &[group("+14085550100")]);
    pair.pump();
    assert_eq!(pair.take_facts().len(), 1);
}

#[test]
fn a_vservice_not_published_is_asked_for_again_later() {
    let mut pair = Pair::new();
    pair.server_config.vservices.clear();
    pair.reconnect();
    assert_eq!(pair.events, [Event::Registered, Event::Refused(474), Event::KeptAlive]);
    pair.events.clear();
    let asked = |pair: &Pair| pair.events.contains(&Event::Refused(474));
    for _ in 0..11 {
        pair.pass(Duration::from_secs(10));
    }
    assert!(!asked(&pair));
    pair.pass(Duration::from_secs(10));
    assert!(asked(&pair));
}

#[test]
fn a_server_that_has_forgotten_us_is_left_at_once() {
    let mut pair = Pair::registered();
    pair.server = Server::new(pair.server_config.clone(), StdRng::seed_from_u64(9), pair.now);
    pair.pass(Duration::from_secs(10));
    assert_eq!(pair.closed, Some(CloseReason::BadHandle));
    assert_eq!(CloseReason::BadHandle.retry(), Retry::AtOnce);
}

#[test]
fn publish_revoke_means_that_the_ring_is_down_until_the_next_notify() {
    let mut pair = Pair::registered();
    for _ in 0..2 {
        pair.server.publish_revoke(VSERVICE);
        pair.pump();
    }
    pair.server.notify(VSERVICE, &[]);
    pair.pump();
    let rings: Vec<_> = pair
        .reports
        .iter()
        .filter(|report| matches!(report, Report::Ring { .. }))
        .collect();
    assert_eq!(rings, [&Report::Ring { is_up: false }, &Report::Ring { is_up: true }]);
}

#[test]
fn voice_call_records_are_uploaded() {
    let mut pair = Pair::new();
    let vcr = VcrReport {
        direction: Way::Outbound,
        calling: Some("+14085550199".parse().unwrap()),
        called: "+14085550100".parse().unwrap(),
        start: Duration::from_millis(1_799_999_000_500),
        stop: Duration::from_millis(1_799_999_900_250),
        vservice_id: VSERVICE,
        trunk_class: TrunkClass::Supervised,
    };
    let fact = UpFact::Vcr(vcr.clone());
    assert_eq!(pair.client.tell(pair.now, &fact), Err(NotTold::NotConnected));
    pair.reconnect();
    pair.client.tell(pair.now, &fact).unwrap();
    pair.pump();
    assert_eq!(pair.events.last(), Some(&Event::Vcr(vcr)));
    let feedback = RouteFeedback {
        route_id: "r1".parse().unwrap(),
        outcome: RouteOutcome::Ok,
        count: 1,
        window: Duration::from_secs(1),
    };
    assert_eq!(
        pair.client.tell(pair.now, &UpFact::Feedback(feedback)),
        Err(NotTold::NotWanted)
    );
}

#[test]
fn requests_that_wait_for_an_answer_are_bounded() {
    let mut pair = Pair::registered();
    let vcr = UpFact::Vcr(VcrReport {
        direction: Way::Inbound,
        calling: None,
        called: "+14085550100".parse().unwrap(),
        start: Duration::from_secs(1),
        stop: Duration::from_secs(2),
        vservice_id: VSERVICE,
        trunk_class: TrunkClass::Supervised,
    });
    let told = (0..1_000).filter(|_| pair.client.tell(pair.now, &vcr).is_ok()).count();
    assert_eq!(told, 256);
    assert_eq!(pair.client.tell(pair.now, &vcr), Err(NotTold::Busy));
}

#[test]
fn leaving_is_told_and_then_the_connection_closed() {
    let mut pair = Pair::registered();
    pair.client.unregister(pair.now);
    pair.pump();
    assert_eq!(pair.events.last(), Some(&Event::Unregistered));
    assert_eq!(pair.closed, Some(CloseReason::Unregistered));
    assert_eq!(CloseReason::Unregistered.retry(), Retry::Never);
}

#[test]
fn an_endless_row_of_notifies_is_read_at_its_rate_into_a_bounded_table() {
    let mut pair = Pair::with(|config| {
        config.messages_per_second = 100;
        config.bounds.routes = 50;
    });
    pair.reconnect();
    let mut stream = Vec::new();
    for n in 0..500 {
        pair.server.notify(VSERVICE, &[group(&format!("+1408555{n:04}"))]);
        stream.extend(pair.next_sent_by_server());
    }
    let (mut rest, mut waits) = (&stream[..], 0);
    while !rest.is_empty() {
        let taken = pair.client.handle_bytes(pair.now, rest);
        rest = &rest[taken..];
        pair.pump();
        if taken == 0 {
            waits += 1;
            let ready = pair.client.poll_timeout().unwrap();
            pair.pass(ready - pair.now.instant);
        }
    }
    assert!(waits > 300, "{waits}");
    assert_eq!(pair.take_facts().len(), 50);
    assert_eq!(
        pair.reports
            .iter()
            .filter(|report| **report == Report::TableFull)
            .count(),
        450
    );
}

#[test]
fn bytes_that_are_no_vap_close_the_connection() {
    let mut pair = Pair::registered();
    pair.client.handle_bytes(pair.now, b"OPTIONS sip:x SIP/2.0\r\n\r\n");
    pair.pump();
    assert_eq!(pair.closed, Some(CloseReason::Frame(FrameFault::Magic)));
    pair.server.handle_bytes(pair.now, b"OPTIONS sip:x SIP/2.0\r\n\r\n");
    pair.pump();
    assert_eq!(pair.events.last(), Some(&Event::NoVap(FrameFault::Magic)));
}

#[test]
fn a_silent_client_is_forgotten_by_the_server() {
    let mut pair = Pair::registered();
    pair.now = pair.now.plus(Duration::from_secs(30));
    pair.server.handle_timeout(pair.now);
    pair.pump();
    assert_eq!(pair.events.last(), Some(&Event::Lost));
}

#[test]
fn a_second_register_without_handle_is_answered_with_477() {
    let mut pair = Pair::registered();
    pair.client.handle_connected(pair.now);
    pair.pump();
    assert_eq!(pair.closed, Some(CloseReason::AlreadyRegistered));
}

/// A client and a server, joined by perfect wires in virtual time.
struct Pair {
    now: Now,
    client: Client,
    server: Server,
    server_config: ServerConfig,
    facts: Vec<Fact>,
    reports: Vec<Report>,
    events: Vec<Event>,
    closed: Option<CloseReason>,
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ClientConfig)) -> Self {
        let now = now();
        let password = || Secret::new(b"tollgate-test".to_vec());
        let mut config = ClientConfig::new("edge1", password());
        config.vservices = vec![VSERVICE];
        change(&mut config);
        let mut server_config = ServerConfig::new("edge1", password());
        server_config.vservices = vec![VSERVICE];
        Self {
            now,
            client: Client::new(config, StdRng::seed_from_u64(1)),
            server: Server::new(server_config.clone(), StdRng::seed_from_u64(2), now),
            server_config,
            facts: Vec::new(),
            reports: Vec::new(),
            events: Vec::new(),
            closed: None,
        }
    }

    fn registered() -> Self {
        let mut pair = Self::new();
        pair.reconnect();
        assert!(pair.client.is_registered());
        pair
    }

    /// A new connection with a server that knows nothing.
    fn reconnect(&mut self) {
        self.events.clear();
        self.server = Server::new(self.server_config.clone(), StdRng::seed_from_u64(3), self.now);
        self.client.handle_connected(self.now);
        self.pump();
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.plus(by);
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        self.pump();
    }

    fn pump(&mut self) {
        loop {
            let from_client = self.client.poll_output();
            let from_server = self.server.poll_output();
            if from_client.is_none() && from_server.is_none() {
                return;
            }
            match from_client {
                Some(ClientOutput::Send(bytes)) => self.server.handle_bytes(self.now, &bytes),
                Some(ClientOutput::Apply(facts)) => self.facts.extend(facts),
                Some(ClientOutput::Report(report)) => self.reports.push(report),
                Some(ClientOutput::Close(reason)) => self.closed = Some(reason),
                None => {}
            }
            match from_server {
                Some(ServerOutput::Send(bytes)) => drop(self.client.handle_bytes(self.now, &bytes)),
                Some(ServerOutput::Event(event)) => self.events.push(event),
                Some(ServerOutput::Close) | None => {}
            }
        }
    }

    fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }

    /// What the server sends next, taken off the wire.
    fn next_sent_by_server(&mut self) -> Vec<u8> {
        loop {
            match self.server.poll_output().expect("something to send") {
                ServerOutput::Send(bytes) => return bytes,
                ServerOutput::Event(event) => self.events.push(event),
                ServerOutput::Close => panic!("closed"),
            }
        }
    }
}

fn read(bytes: &[u8]) -> Read {
    Decoder::default().push(bytes).unwrap().1.unwrap()
}

fn transaction_of(bytes: &[u8]) -> TransactionId {
    read(bytes).transaction
}

fn group(number: &str) -> ValInfo {
    ValInfo {
        number: Pii(number.into()),
        ticket: Pii("AAEAEGunuBCdrUHRgLQAwE_UMMg.".into()),
        uris: vec!["sip:17ahhs7zpaksux6z5==@peer.example:5061;maddr=192.0.2.4".into()],
    }
}

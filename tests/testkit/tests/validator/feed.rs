//! The feed with a validator that behaves.

use std::time::Duration;

use tollgate_control::ime::{CallResult, Feedback};
use tollgate_control::learned::Source;
use tollgate_testkit::validator::{Settings, StandIn};
use tollgate_validator::facts::{FallbackMetrics, RouteOutcome, UpFact};
use tollgate_validator::feed::RingState;

use crate::kit::{Edge, Folder, document, settings};

const ONE: &str = "+14085550001";
const TWO: &str = "+14085550002";
const THREE: &str = "+14085550003";

#[tokio::test]
async fn a_snapshot_and_then_each_change_reach_the_ledger() {
    let folder = Folder::new();
    let validator = StandIn::start(Settings::feed(&folder.socket())).unwrap();
    validator
        .publish(document(&[(ONE, "one.example"), (TWO, "two.example")]))
        .unwrap();
    let mut edge = Edge::start(settings(&folder.socket()));
    edge.until("the snapshot", |edge| edge.ledger.table().len() == 2).await;
    assert_eq!(edge.seen, ["up feed"]);
    validator
        .publish(document(&[(TWO, "other.example"), (THREE, "three.example")]))
        .unwrap();
    edge.until("the changes", |edge| {
        edge.domain_of(THREE).is_some() && edge.domain_of(TWO).as_deref() == Some("other.example")
    })
    .await;
    assert_eq!((edge.domain_of(ONE), validator.snapshots()), (None, 1));
    assert_eq!(edge.ledger.mark(Source::Feed).unwrap().revision, validator.revision());
    assert_eq!(edge.sample("validator_up"), 1.0);
    assert_eq!(edge.sample("validator_facts_total{kind=\"route_withdraw\"}"), 1.0);
    assert!(edge.sample("validator_last_message_timestamp_seconds") > 1_600_000_000.0);
}

#[tokio::test]
async fn a_validator_that_died_leaves_its_routes_and_goes_on_where_it_was() {
    let folder = Folder::new();
    let socket = folder.socket();
    let both = || document(&[(ONE, "one.example"), (TWO, "two.example")]);
    let validator = StandIn::start(Settings::feed(&socket)).unwrap();
    validator.publish(both()).unwrap();
    let mut edge = Edge::start(settings(&socket));
    edge.until("the snapshot", |edge| edge.ledger.table().len() == 2).await;
    drop(validator);
    edge.until("its end", |edge| edge.seen.iter().any(|seen| seen == "down closed"))
        .await;
    edge.go_on_for(Duration::from_millis(200)).await;
    assert_eq!((edge.ledger.table().len(), edge.sample("validator_up")), (2, 0.0));
    let validator = StandIn::start(Settings::feed(&socket)).unwrap();
    validator.publish(both()).unwrap();
    validator
        .publish(document(&[
            (ONE, "one.example"),
            (TWO, "two.example"),
            (THREE, "three.example"),
        ]))
        .unwrap();
    edge.until("what is new", |edge| edge.domain_of(THREE).is_some()).await;
    assert_eq!((edge.ledger.table().len(), validator.snapshots()), (3, 0));
    assert!(edge.stats.disconnects("connect") > 0, "{}", edge.page());
}

#[tokio::test]
async fn an_edge_that_starts_again_goes_on_from_its_ledger() {
    let folder = Folder::new();
    let validator = StandIn::start(Settings::feed(&folder.socket())).unwrap();
    validator.publish(document(&[(ONE, "one.example")])).unwrap();
    let mut edge = Edge::start(settings(&folder.socket()));
    edge.until("the snapshot", |edge| edge.domain_of(ONE).is_some()).await;
    let ledger = edge.stop().await;
    let mut edge = Edge::with(settings(&folder.socket()), ledger);
    validator
        .publish(document(&[(ONE, "one.example"), (TWO, "two.example")]))
        .unwrap();
    edge.until("the change", |edge| edge.domain_of(TWO).is_some()).await;
    assert_eq!((edge.ledger.table().len(), validator.snapshots()), (2, 1));
}

#[tokio::test]
async fn another_validator_replaces_all_that_the_former_one_told() {
    let folder = Folder::new();
    let first = StandIn::start(Settings::feed(&folder.socket())).unwrap();
    first.publish(document(&[(ONE, "one.example")])).unwrap();
    let mut edge = Edge::start(settings(&folder.socket()));
    edge.until("the snapshot", |edge| edge.domain_of(ONE).is_some()).await;
    drop(first);
    let second = StandIn::start(Settings {
        instance: tollgate_validator::InstanceId([2; 16]),
        ..Settings::feed(&folder.socket())
    })
    .unwrap();
    second.publish(document(&[(TWO, "two.example")])).unwrap();
    edge.until("the other's snapshot", |edge| edge.domain_of(TWO).is_some())
        .await;
    assert_eq!(
        (edge.domain_of(ONE), edge.stats.incidents("instance_changed")),
        (None, 1)
    );
}

#[tokio::test]
async fn a_ring_that_goes_down_is_told_and_takes_no_route_away() {
    let folder = Folder::new();
    let validator = StandIn::start(Settings::feed(&folder.socket())).unwrap();
    validator.publish(document(&[(ONE, "one.example")])).unwrap();
    let mut edge = Edge::start(settings(&folder.socket()));
    edge.until("the snapshot", |edge| edge.domain_of(ONE).is_some()).await;
    validator.set_ring(RingState::Down);
    edge.until("the heartbeat", |edge| {
        edge.seen.iter().any(|seen| seen == "ring false")
    })
    .await;
    assert_eq!((edge.sample("validator_ring_up"), edge.ledger.table().len()), (0.0, 1));
}

#[tokio::test]
async fn what_calls_came_to_reaches_the_validator_by_route() {
    let folder = Folder::new();
    let validator = StandIn::start(Settings::feed(&folder.socket())).unwrap();
    validator.publish(document(&[(ONE, "one.example")])).unwrap();
    let mut edge = Edge::start(settings(&folder.socket()));
    edge.until("the snapshot", |edge| edge.domain_of(ONE).is_some()).await;
    let mut feedback = Feedback::new(edge.up.clone(), edge.stats.clone());
    let result = |domain: &str, outcome, fallback| CallResult {
        called: ONE.parse().unwrap(),
        domain: domain.to_owned(),
        outcome: Some(outcome),
        fallback,
    };
    let metrics = FallbackMetrics {
        loss_permille: 120,
        jitter_us: 4_000,
        since_trigger: Duration::from_millis(7_000),
    };
    let table = edge.ledger.table();
    feedback.note(
        table,
        result("one.example", RouteOutcome::Ok, Some(("call-7".into(), metrics))),
    );
    feedback.note(table, result("one.example", RouteOutcome::Ok, None));
    feedback.note(table, result("one.example", RouteOutcome::TlsNameMismatch, None));
    // A call by a route of the policy's.
    feedback.note(table, result("policy.example", RouteOutcome::Ok, None));
    assert!(feedback.due().is_some());
    feedback.flush();
    edge.until("all told", |_| validator.told().len() == 3).await;
    let told: Vec<_> = validator
        .told()
        .into_iter()
        .map(|fact| match fact {
            UpFact::Feedback(feedback) => (feedback.route_id.to_string(), feedback.outcome.name(), feedback.count),
            UpFact::Fallback(event) => (
                event.route_id.unwrap().to_string(),
                "fallback",
                event.metrics.loss_permille.into(),
            ),
            UpFact::Vcr(_) => panic!("no PSTN call passes an edge"),
        })
        .collect();
    let route = || "n-14085550001".to_owned();
    assert_eq!(
        told,
        [
            (route(), "fallback", 120),
            (route(), "tls_name_mismatch", 1),
            (route(), "ok", 2)
        ]
    );
    assert_eq!((edge.stats.told("feedback"), feedback.due()), (2, None));
}

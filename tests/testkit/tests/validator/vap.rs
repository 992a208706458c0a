//! VAP with a validator that behaves, and with ones that do not.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;
use tollgate_contract::Secret;
use tollgate_control::ime::{ValidatorSettings, VapSettings};
use tollgate_control::learned::Source;
use tollgate_testkit::validator::{Face, Mischief, Settings, StandIn};
use tollgate_validator::VServiceId;
use tollgate_validator::vap::session::ServerConfig;

use crate::kit::{Edge, Folder, document, settings, unix};

const ONE: &str = "+14085550001";
const TWO: &str = "+14085550002";
const LIFE: Duration = Duration::from_secs(3_600);

fn validator(socket: &Path) -> StandIn {
    let config = ServerConfig {
        vservices: vec![VServiceId(7)],
        ..ServerConfig::new("edge1", Secret::new(b"tollgate-test".to_vec()))
    };
    StandIn::start(Settings {
        face: Face::Vap(config),
        ..Settings::feed(socket)
    })
    .unwrap()
}

fn vap(socket: &Path, password: &str) -> ValidatorSettings {
    ValidatorSettings {
        vap: Some(VapSettings {
            username: "edge1".to_owned(),
            password: Secret::new(password.as_bytes().to_vec()),
            vservice: VServiceId(7),
            route_life: LIFE,
        }),
        ..settings(socket)
    }
}

#[tokio::test]
async fn what_is_notified_becomes_routes_of_the_configured_life() {
    let folder = Folder::new();
    let validator = validator(&folder.socket());
    validator.publish(document(&[(ONE, "one.example")])).unwrap();
    let mut edge = Edge::start(vap(&folder.socket(), "tollgate-test"));
    edge.until("the first route", |edge| edge.domain_of(ONE).is_some())
        .await;
    validator
        .publish(document(&[(ONE, "one.example"), (TWO, "two.example")]))
        .unwrap();
    edge.until("the second", |edge| edge.domain_of(TWO).is_some()).await;
    let held = edge.ledger.table().in_use(ONE.parse().unwrap()).unwrap();
    let left = held.end().saturating_sub(unix());
    assert_eq!((held.source, edge.seen[0].as_str()), (Source::Vap, "up vap"));
    assert!(left <= LIFE && left > LIFE - Duration::from_secs(60), "{left:?}");
    drop(validator);
    edge.until("its end", |edge| edge.seen.iter().any(|seen| seen == "down closed"))
        .await;
    assert_eq!(edge.ledger.table().len(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_an_alarm_and_no_storm() {
    let folder = Folder::new();
    let validator = validator(&folder.socket());
    let mut edge = Edge::start(vap(&folder.socket(), "guessed"));
    edge.until("the refusal", |edge| edge.stats.disconnects("integrity_failure") > 0)
        .await;
    edge.go_on_for(Duration::from_secs(2)).await;
    // At the policy's pause alone there would be forty.
    assert!(
        (2..10).contains(&validator.connections()),
        "{} connections",
        validator.connections()
    );
    assert!(edge.stats.incidents("refused_by_validator") > 0, "{}", edge.page());
    assert!(edge.seen.is_empty() && !edge.stats.is_up());
}

#[tokio::test]
async fn a_notify_with_a_wrong_mac_teaches_nothing() {
    let folder = Folder::new();
    let validator = validator(&folder.socket());
    validator.set_mischief(Mischief::WrongMac);
    validator.publish(document(&[(ONE, "one.example")])).unwrap();
    let mut edge = Edge::start(vap(&folder.socket(), "tollgate-test"));
    edge.until("the alarm", |edge| edge.stats.incidents("bad_mac") > 0)
        .await;
    assert!(edge.ledger.table().is_empty() && edge.stats.is_up());
    validator.set_mischief(Mischief::None);
    validator.publish(document(&[(TWO, "two.example")])).unwrap();
    edge.until("a good one", |edge| edge.domain_of(TWO).is_some()).await;
}

#[tokio::test]
async fn a_notify_without_end_is_not_read_while_the_control_loop_is_busy() {
    let folder = Folder::new();
    let validator = validator(&folder.socket());
    validator.publish(document(&[(ONE, "one.example")])).unwrap();
    let mut edge = Edge::start(vap(&folder.socket(), "tollgate-test"));
    edge.until("the first route", |edge| edge.domain_of(ONE).is_some())
        .await;
    validator.set_mischief(Mischief::Flood);
    let learned = |edge: &Edge| edge.sample("validator_facts_total{kind=\"route_upsert\"}");
    edge.until("more of the same", |edge| learned(edge) > 20.0).await;
    // Nothing is taken: the queue fills, and then the sockets.
    sleep(Duration::from_secs(1)).await;
    let before = edge.sample("validator_received_bytes_total");
    sleep(Duration::from_millis(500)).await;
    assert_eq!(edge.sample("validator_received_bytes_total"), before);
    edge.until("the rest", |edge| learned(edge) > 500.0).await;
    assert!(edge.ledger.table().len() == 1 && edge.stats.is_up());
}

#[tokio::test]
async fn what_speaks_no_vap_is_left() {
    let folder = Folder::new();
    let validator = validator(&folder.socket());
    validator.set_mischief(Mischief::EndlessFrame);
    let mut edge = Edge::start(vap(&folder.socket(), "tollgate-test"));
    edge.until("the refusal", |edge| edge.stats.disconnects("magic") > 0)
        .await;
    assert!(edge.seen.is_empty());
}

//! The feed with a validator that is broken or bad: what it does is counted, bounded, and leaves what was learned.

use std::time::Duration;

use tollgate_testkit::validator::{Mischief, Settings, StandIn};

use crate::kit::{Edge, Folder, document, settings};

const ONE: &str = "+14085550001";
const TWO: &str = "+14085550002";

/// An edge that has learned one route of a validator that then died, and the folder of the socket.
async fn learned(silence: Duration) -> (Edge, Folder) {
    let folder = Folder::new();
    let validator = StandIn::start(Settings::feed(&folder.socket())).unwrap();
    validator.publish(document(&[(ONE, "one.example")])).unwrap();
    let mut settings = settings(&folder.socket());
    settings.silence = silence;
    let mut edge = Edge::start(settings);
    edge.until("the snapshot", |edge| edge.domain_of(ONE).is_some()).await;
    (edge, folder)
}

/// The same validator in its next generation, with two routes, and bad.
fn next_generation(folder: &Folder, mischief: Mischief) -> StandIn {
    let bad = StandIn::start(Settings {
        generation: 2,
        mischief,
        ..Settings::feed(&folder.socket())
    })
    .unwrap();
    bad.publish(document(&[(ONE, "bad.example"), (TWO, "bad.example")]))
        .unwrap();
    bad
}

fn is_as_it_was(edge: &Edge) {
    assert_eq!(
        (edge.domain_of(ONE).as_deref(), edge.domain_of(TWO)),
        (Some("one.example"), None)
    );
}

#[tokio::test]
async fn a_snapshot_with_a_wrong_digest_is_refused_whole() {
    let (mut edge, folder) = learned(Duration::from_secs(15)).await;
    let bad = next_generation(&folder, Mischief::WrongDigest);
    edge.until("the refusal", |edge| edge.stats.incidents("snapshot_refused") > 0)
        .await;
    is_as_it_was(&edge);
    drop(bad);
    let _good = next_generation(&folder, Mischief::None);
    edge.until("a good one", |edge| edge.domain_of(TWO).is_some()).await;
}

#[tokio::test]
async fn half_a_snapshot_changes_nothing() {
    let (mut edge, folder) = learned(Duration::from_secs(15)).await;
    let _bad = next_generation(&folder, Mischief::HalfSnapshot);
    edge.until("its end", |edge| edge.stats.incidents("snapshot_abandoned") > 1)
        .await;
    is_as_it_was(&edge);
}

#[tokio::test]
async fn an_earlier_generation_is_refused() {
    let (mut edge, folder) = learned(Duration::from_secs(15)).await;
    let stale = StandIn::start(Settings {
        generation: 0,
        ..Settings::feed(&folder.socket())
    })
    .unwrap();
    stale
        .publish(document(&[(ONE, "old.example"), (TWO, "old.example")]))
        .unwrap();
    edge.until("the refusal", |edge| edge.stats.disconnects("stale") > 1)
        .await;
    is_as_it_was(&edge);
    assert!(stale.connections() < 20, "a refusal is no storm");
}

#[tokio::test]
async fn a_validator_that_falls_silent_is_left_and_called_again() {
    let (mut edge, folder) = learned(Duration::from_millis(500)).await;
    let silent = next_generation(&folder, Mischief::Silence);
    edge.until("its end", |edge| edge.stats.disconnects("heartbeat_timeout") > 1)
        .await;
    is_as_it_was(&edge);
    silent.set_mischief(Mischief::None);
    edge.until("its facts", |edge| edge.domain_of(TWO).is_some()).await;
}

#[tokio::test]
async fn garbage_and_endless_frames_end_the_connection() {
    for (mischief, reason) in [
        (Mischief::Garbage, "too_many_faults"),
        (Mischief::EndlessFrame, "frame_too_long"),
    ] {
        let (mut edge, folder) = learned(Duration::from_secs(15)).await;
        let bad = next_generation(&folder, mischief);
        edge.until(reason, |edge| edge.stats.disconnects(reason) > 0).await;
        edge.go_on_for(Duration::from_millis(500)).await;
        assert!(bad.connections() < 10, "{} connections", bad.connections());
        assert!(edge.sample("validator_received_bytes_total") < 5e6, "{}", edge.page());
    }
}

#[tokio::test]
async fn a_flood_of_routes_fills_the_table_and_no_more() {
    let (mut edge, folder) = learned(Duration::from_secs(15)).await;
    let _bad = next_generation(&folder, Mischief::Flood);
    edge.until("a full table", |edge| edge.stats.incidents("table_full") > 100)
        .await;
    assert!(edge.ledger.table().len() <= 1_000, "{}", edge.ledger.table().len());
    assert!(edge.stats.is_up());
}

#[tokio::test]
async fn a_control_loop_that_is_busy_stops_the_reading() {
    let (mut edge, folder) = learned(Duration::from_secs(15)).await;
    let bad = next_generation(&folder, Mischief::Flood);
    edge.until("the flood", |edge| edge.domain_of(TWO).is_some()).await;
    // Nothing is taken: the queue fills, and then the sockets.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = edge.sample("validator_received_bytes_total");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(edge.sample("validator_received_bytes_total"), before);
    assert!(before < 2e6, "{before} bytes were read");
    drop(bad);
    edge.until("its end", |edge| edge.seen.iter().any(|seen| seen.starts_with("down ")))
        .await;
}

#[tokio::test]
async fn routes_to_inside_addresses_are_refused_by_cause_until_the_rules_allow_them() {
    let (mut edge, folder) = learned(Duration::from_secs(15)).await;
    let inside = |id: &str| {
        let text = format!(
            r#"{{"routes":[{{"id":"{id}","number":"{TWO}","domain":"bad.example","targets":["127.0.0.1:22"],
                "ticket":"AAEAEGunuBCdrUHRgLQAwE_UMMg."}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    };
    let validator = next_generation(&folder, Mischief::None);
    edge.until("a snapshot", |edge| edge.domain_of(TWO).is_some()).await;
    validator.publish(inside("first")).unwrap();
    edge.until("the refusal", |edge| {
        edge.page().contains("validator_refused_total{cause=\"") && edge.domain_of(TWO).is_none()
    })
    .await;
    edge.rules.send_modify(|rules| {
        rules.addresses.allow_private = true;
        rules.addresses.allow_own = true;
    });
    edge.go_on_for(Duration::from_millis(50)).await;
    validator.publish(inside("second")).unwrap();
    edge.until("the route", |edge| {
        edge.domain_of(TWO).as_deref() == Some("bad.example")
    })
    .await;
}

#[tokio::test]
async fn a_socket_of_another_user_is_not_spoken_to() {
    let folder = Folder::new();
    let stranger = StandIn::start(Settings::feed(&folder.socket())).unwrap();
    stranger.publish(document(&[(ONE, "one.example")])).unwrap();
    let mut settings = settings(&folder.socket());
    settings.peer_uid = Some(4_000_000_000);
    let mut edge = Edge::start(settings);
    edge.until("two tries", |edge| edge.stats.disconnects("peer_uid") > 1)
        .await;
    assert_eq!(
        (edge.stats.connections(), stranger.snapshots(), edge.seen.len()),
        (0, 0, 0)
    );
}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tollgate_contract::{
    Admission, E164, KeyState, NumberPattern, Pii, Route, RouteChange, RouteTable, Secret, Snapshot, TicketAlg,
};
use tollgate_validator::VServiceId;
use tollgate_validator::checks::RouteRules;
use tollgate_validator::facts::{
    DomainMode, DomainPolicy, Fact, LearnedKey, LearnedKeyState, LocalNumbers, MappingWithdraw, NumberRange, RouteRef,
    RouteWithdraw, WithdrawReason,
};

use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);
const NUMBER: &str = "+14085551234";

#[test]
fn the_best_source_wins_and_the_loser_takes_over_when_the_winner_ends() {
    let mut table = LearnedRoutes::new(Bounds::default());
    put(&mut table, Source::Vap, &route("v", NUMBER, "vap.example"));
    put(&mut table, Source::Feed, &route("f", NUMBER, "feed.example"));
    let soon = RouteEntry {
        expires_at_ms: Some(millis(NOW) + 10_000),
        ..route("a", NUMBER, "api.example")
    };
    let outcome = put(&mut table, Source::Api, &soon);
    assert_eq!(
        told(&outcome.changes),
        [(NUMBER.to_owned(), Some("api.example".to_owned()))]
    );
    put(&mut table, Source::File, &route("l", NUMBER, "file.example"));
    assert_eq!(in_use(&table), "api.example");
    assert_eq!(table.next_expiry(), Some(NOW + Duration::from_secs(10)));
    assert!(table.expire(NOW + Duration::from_secs(9)).is_empty());
    let changes = table.expire(NOW + Duration::from_secs(10));
    assert_eq!(told(&changes), [(NUMBER.to_owned(), Some("file.example".to_owned()))]);
    let (removed, changes) = remove_of(&mut table, Source::File);
    assert_eq!((removed, told(&changes).len(), in_use(&table)), (1, 1, "feed.example"));
}

#[test]
fn within_a_source_the_higher_revision_wins_and_of_equals_the_first_id() {
    let mut table = LearnedRoutes::new(Bounds::default());
    let revised = |id, revision, domain| RouteEntry {
        revision,
        ..route(id, NUMBER, domain)
    };
    put(&mut table, Source::Feed, &revised("b", 3, "b.example"));
    put(&mut table, Source::Feed, &revised("a", 3, "a.example"));
    assert_eq!(in_use(&table), "a.example");
    put(&mut table, Source::Feed, &revised("c", 4, "c.example"));
    assert_eq!(in_use(&table), "c.example");
}

#[test]
fn the_policys_own_number_stands_above_all_until_the_policy_drops_it() {
    let mut table = LearnedRoutes::new(Bounds::default());
    let number: E164 = NUMBER.parse().unwrap();
    let taken = table.set_policy(Bounds::default(), [number].into());
    assert!(taken.is_empty());
    let outcome = put(&mut table, Source::Api, &route("a", NUMBER, "api.example"));
    assert!(outcome.is_applied && outcome.changes.routes.is_empty() && table.in_use(number).is_none());
    let freed = table.set_policy(Bounds::default(), [].into());
    assert_eq!(told(&freed), [(NUMBER.to_owned(), Some("api.example".to_owned()))]);
}

#[test]
fn a_batch_told_twice_changes_nothing() {
    let mut table = LearnedRoutes::new(Bounds::default());
    let entries: Vec<_> = (0..50)
        .map(|at| route(&format!("r{at}"), &format!("+1408555{at:04}"), "b.example"))
        .collect();
    for (scope, source) in [
        (Scope::All, Source::Feed),
        (Scope::Delta, Source::Feed),
        (Scope::Routes, Source::Api),
    ] {
        assert!(table.apply(NOW, source, batch(scope, &entries)).is_applied);
        table.journal().take();
        let again = table.apply(NOW, source, batch(scope, &entries));
        assert!(again.is_applied && again.changes.is_empty());
        assert_eq!(table.journal().take(), Some(vec![]));
    }
}

#[test]
fn a_route_without_times_told_again_later_changes_nothing() {
    let mut table = LearnedRoutes::new(Bounds::default());
    let entry = RouteEntry {
        learned_at_ms: None,
        expires_at_ms: None,
        ..route("r", NUMBER, "b.example")
    };
    for (later, changed) in [(0, 1), (60, 0), (400 * 86_400, 0)] {
        let now = NOW + Duration::from_secs(later);
        let document = FactsDocument {
            routes: vec![entry.clone()],
            ..FactsDocument::default()
        };
        let batch = document.batch(Scope::Delta, &RouteRules::default(), now).unwrap();
        assert_eq!(table.apply(now, Source::Api, batch).changes.routes.len(), changed);
    }
}

#[test]
fn a_snapshot_replaces_its_source_with_the_fewest_changes() {
    let mut table = LearnedRoutes::new(Bounds::default());
    put(&mut table, Source::Api, &route("mine", "+1408", "api.example"));
    let of = |at: u32, domain| route(&format!("r{at}"), &format!("+1408555{at:04}"), domain);
    table.apply(
        NOW,
        Source::Feed,
        batch(
            Scope::All,
            &[of(1, "b.example"), of(2, "b.example"), of(3, "b.example")],
        ),
    );
    let next = [of(2, "b.example"), of(3, "c.example"), of(4, "b.example")];
    let outcome = table.apply(NOW, Source::Feed, batch(Scope::All, &next));
    let expected = [
        ("+14085550001".to_owned(), None),
        ("+14085550003".to_owned(), Some("c.example".to_owned())),
        ("+14085550004".to_owned(), Some("b.example".to_owned())),
    ];
    assert_eq!((told(&outcome.changes), table.len()), (expected.to_vec(), 4));
}

#[test]
fn one_bad_entry_refuses_an_operators_batch_whole_and_only_itself_on_the_feed() {
    let old = RouteEntry {
        expires_at_ms: Some(millis(NOW) + 1_000),
        ..route("old", "+1", "b.example")
    };
    let later = NOW + Duration::from_secs(2);
    for (source, tolerance, applied) in [(Source::Api, Tolerance::None, 0), (Source::Feed, Tolerance::SkipBad, 1)] {
        let mut table = LearnedRoutes::new(Bounds::default());
        let mut both = batch(Scope::Delta, &[old.clone(), route("new", "+2", "b.example")]);
        both.tolerance = tolerance;
        let outcome = table.apply(later, source, both);
        assert_eq!((outcome.is_applied, table.len()), (applied == 1, applied));
        assert_eq!(outcome.refused, [Refused::of(0, Cause::Expired)]);
        assert_eq!(table.stats().refused, BTreeMap::from([("expired", 1)]));
        assert_eq!(outcome.changes.routes.len(), applied);
    }
}

#[test]
fn a_full_table_refuses_the_whole_batch_and_cuts_nothing() {
    let bounds = Bounds {
        routes_max: 10,
        ..Bounds::default()
    };
    let mut table = LearnedRoutes::new(bounds);
    let of = |from: usize, to: usize| -> Vec<RouteEntry> {
        (from..to)
            .map(|at| route(&format!("r{at}"), &format!("+1{at}"), "b.example"))
            .collect()
    };
    assert!(table.apply(NOW, Source::Feed, batch(Scope::All, &of(0, 8))).is_applied);
    let mut over = batch(Scope::Delta, &of(6, 11));
    over.tolerance = Tolerance::SkipBad;
    let outcome = table.apply(NOW, Source::Vap, over);
    assert_eq!((outcome.is_applied, table.len()), (false, 8));
    assert_eq!(outcome.refused.last().map(|refusal| refusal.cause.status()), Some(507));
    assert!(table.apply(NOW, Source::Vap, batch(Scope::Delta, &of(6, 8))).is_applied);
    // A snapshot makes room for itself first.
    assert!(
        table
            .apply(NOW, Source::Feed, batch(Scope::All, &of(20, 28)))
            .is_applied
    );
    assert!(
        !table
            .apply(NOW, Source::Feed, batch(Scope::All, &of(20, 29)))
            .is_applied
    );
    assert_eq!(table.len(), 10);
}

#[test]
fn one_number_takes_a_few_routes_of_a_source_and_no_more() {
    let mut table = LearnedRoutes::new(Bounds::default());
    for at in 0..ROUTES_PER_NUMBER_MAX {
        assert!(put(&mut table, Source::Feed, &route(&format!("r{at}"), NUMBER, "b.example")).is_applied);
    }
    let outcome = put(&mut table, Source::Feed, &route("more", NUMBER, "b.example"));
    assert_eq!(outcome.refused, [Refused::of(0, Cause::Crowded)]);
    assert!(put(&mut table, Source::Api, &route("more", NUMBER, "b.example")).is_applied);
    let moved = put(
        &mut table,
        Source::Feed,
        &RouteEntry {
            revision: 1,
            ..route("r0", "+1", "b.example")
        },
    );
    assert!(moved.is_applied);
    assert!(put(&mut table, Source::Feed, &route("more", NUMBER, "b.example")).is_applied);
}

#[test]
fn older_revisions_and_changed_ones_without_a_new_revision_are_refused_on_the_feed_alone() {
    for (source, applied) in [(Source::Feed, false), (Source::Api, true)] {
        let mut table = LearnedRoutes::new(Bounds::default());
        let revised = |revision, domain| RouteEntry {
            revision,
            ..route("r", NUMBER, domain)
        };
        put(&mut table, source, &revised(5, "b.example"));
        assert_eq!(put(&mut table, source, &revised(4, "b.example")).is_applied, applied);
        put(&mut table, source, &revised(5, "b.example"));
        assert_eq!(put(&mut table, source, &revised(5, "c.example")).is_applied, applied);
        assert!(put(&mut table, source, &revised(6, "d.example")).is_applied);
    }
}

#[test]
fn a_snapshot_of_an_earlier_generation_is_refused() {
    let mut table = LearnedRoutes::new(Bounds::default());
    let marked = |instance, generation| Batch {
        mark: Some(Mark {
            instance: Some(instance),
            generation,
            revision: 1,
        }),
        ..batch(Scope::All, &[route("r", NUMBER, "b.example")])
    };
    assert!(table.apply(NOW, Source::Feed, marked(1, 7)).is_applied);
    let stale = table.apply(NOW, Source::Feed, marked(1, 6));
    assert_eq!(
        (stale.is_applied, stale.refused),
        (false, vec![Refused::of(0, Cause::Stale)])
    );
    assert!(table.apply(NOW, Source::Feed, marked(2, 1)).is_applied);
    assert_eq!(table.mark(Source::Feed).unwrap().generation, 1);
}

#[test]
fn a_withdrawal_ends_routes_of_its_own_source_alone() {
    let mut table = LearnedRoutes::new(Bounds::default());
    put(&mut table, Source::Feed, &route("r", NUMBER, "b.example"));
    put(&mut table, Source::Vap, &route("r", NUMBER, "b.example"));
    let number = NUMBER.parse().unwrap();
    let by_number = RouteRef::NumberAndDomain(number, "b.example".parse().unwrap());
    for which in [by_number, RouteRef::Id("r".parse().unwrap())] {
        let reason = WithdrawReason::Revoked;
        let withdraw = facts(vec![Fact::RouteWithdraw(RouteWithdraw { which, reason })]);
        assert!(table.apply(NOW, Source::Feed, withdraw).is_applied);
        assert_eq!((table.len(), table.in_use(number).unwrap().source), (1, Source::Vap));
    }
}

#[test]
fn a_denied_domain_loses_its_routes_while_it_is_denied() {
    let mut table = LearnedRoutes::new(Bounds::default());
    put(&mut table, Source::Api, &route("a", NUMBER, "b.example"));
    put(&mut table, Source::Feed, &route("f", NUMBER, "c.example"));
    let deny = |domains: &[&str]| {
        let domains = domains.iter().map(|domain| domain.parse().unwrap()).collect();
        let mode = DomainMode::Deny;
        facts(vec![Fact::DomainPolicy(DomainPolicy { mode, domains })])
    };
    let denied = table.apply(NOW, Source::Vap, deny(&["b.example"]));
    assert_eq!(
        told(&denied.changes),
        [(NUMBER.to_owned(), Some("c.example".to_owned()))]
    );
    let all = table.apply(NOW, Source::Vap, deny(&["b.example", "c.example"]));
    assert_eq!(told(&all.changes), [(NUMBER.to_owned(), None)]);
    let none = table.apply(NOW, Source::Vap, deny(&[]));
    assert_eq!(told(&none.changes), [(NUMBER.to_owned(), Some("b.example".to_owned()))]);
}

#[test]
fn learned_facts_are_added_to_a_snapshot_and_end_with_their_time() {
    let mut table = LearnedRoutes::new(Bounds::default());
    let range = NumberRange::new("+14085550100".parse().unwrap(), "+14085550109".parse().unwrap()).unwrap();
    let numbers = LocalNumbers {
        vservice_id: VServiceId(1),
        ranges: vec![range],
    };
    let mut batch = document(
        r#"{"revocations":[{"number":"+14085550001","until_ms":1800000010000},{"granted_to":"d.example"}],
            "mappings":[{"mapping_id":"m","global":{"ip":"2001:db8::9","port":5061,"transport":"tls"},
            "inside":{"ip":"10.0.0.1","port":20001},"expected_tls_domain":"b.example","expires_at_ms":1900000000000}],
            "domains":{"mode":"deny","domains":["evil.example"]}}"#,
    );
    batch
        .facts
        .extend([Fact::LocalNumbers(numbers), Fact::TicketKey(key(7, 1))]);
    assert!(table.apply(NOW, Source::Feed, batch).changes.has_additions);
    let mut snapshot = Snapshot::without_policy();
    snapshot.peers.denied = vec!["z.example".to_owned()];
    add_learned(&mut snapshot, table.view());
    let tickets = &snapshot.tickets;
    assert!(tickets.keyring.verifying(7, NOW).is_some());
    assert_eq!((tickets.denied.numbers.len(), tickets.denied.domains.len()), (1, 1));
    assert_eq!(tickets.enrolled.as_ref().unwrap().len(), 10);
    assert_eq!(snapshot.peers.denied, ["evil.example", "z.example"]);
    assert_eq!(table.view().mappings().count(), 1);
    assert_eq!(snapshot.admission, Admission::Draining);
    assert!(table.expire(NOW + Duration::from_secs(10)).has_additions);
    let mut later = Snapshot::without_policy();
    add_learned(&mut later, table.view());
    assert!(later.tickets.denied.numbers.is_empty() && later.tickets.denied.domains.contains("d.example"));
}

#[test]
fn an_epoch_never_gets_a_second_key() {
    let mut table = LearnedRoutes::new(Bounds {
        keys_max: 2,
        ..Bounds::default()
    });
    let tell = |table: &mut LearnedRoutes, source, key| table.apply(NOW, source, facts(vec![Fact::TicketKey(key)]));
    assert!(tell(&mut table, Source::Feed, key(1, 1)).is_applied);
    for source in [Source::Feed, Source::Vap] {
        assert_eq!(
            tell(&mut table, source, key(1, 2)).refused,
            [Refused::of(0, Cause::EpochTaken)]
        );
    }
    let revoked = LearnedKey {
        state: LearnedKeyState::Revoked,
        ..key(1, 1)
    };
    assert!(tell(&mut table, Source::Feed, revoked).is_applied);
    assert_eq!(table.view().keys().next().unwrap().state, KeyState::Revoked);
    assert!(tell(&mut table, Source::Feed, key(2, 2)).is_applied);
    assert_eq!(
        tell(&mut table, Source::Feed, key(3, 3)).refused,
        [Refused::of(0, Cause::Full)]
    );
    let retired = LearnedKey {
        state: LearnedKeyState::Retired,
        ..key(2, 2)
    };
    assert!(tell(&mut table, Source::Feed, retired).is_applied);
    assert!(tell(&mut table, Source::Feed, key(3, 3)).is_applied);
}

#[test]
fn a_mapping_taken_back_stays_until_its_drain_is_over() {
    let mut table = LearnedRoutes::new(Bounds::default());
    let mapping = document(
        r#"{"mappings":[{"mapping_id":"m","global":{"ip":"192.0.2.9","port":5061,"transport":"tls"},
            "inside":{"ip":"10.0.0.1","port":20001},"expected_tls_domain":"b.example","expires_at_ms":1900000000000}]}"#,
    );
    let put = table.apply(NOW, Source::Feed, mapping).changes;
    assert!(put.mappings[0].mapping.is_some() && !put.has_additions);
    let withdraw = |drain| {
        let (mapping_id, reason) = ("m".parse().unwrap(), WithdrawReason::Policy);
        facts(vec![Fact::MappingWithdraw(MappingWithdraw {
            mapping_id,
            reason,
            drain,
        })])
    };
    let drained = table
        .apply(NOW, Source::Feed, withdraw(Duration::from_secs(30)))
        .changes;
    let end = NOW + Duration::from_secs(30);
    assert_eq!(drained.mappings[0].mapping.as_ref().unwrap().expires_at, end);
    let over = table.expire(end).mappings;
    assert_eq!((over.len(), &over[0].mapping), (1, &None));
    assert!(
        table
            .apply(end, Source::Feed, withdraw(Duration::ZERO))
            .changes
            .is_empty()
    );
}

#[test]
fn what_the_policy_no_longer_allows_is_not_read_back_and_leaves_the_disk_too() {
    let dir = std::env::temp_dir().join(format!("tollgate-narrower-{}", std::process::id()));
    let settings = |routes_max, allow_private| {
        let mut rules = RouteRules::default();
        rules.addresses.allow_private = allow_private;
        let bounds = Bounds {
            routes_max,
            ..Bounds::default()
        };
        let state_dir = Some(dir.clone());
        LedgerSettings {
            state_dir,
            bounds,
            rules,
        }
    };
    let (mut ledger, faults) = Ledger::open(settings(10, true), NOW);
    assert!(faults.is_empty(), "{faults:?}");
    let text = r#"{"routes":[{"number":"+1","domain":"b.example","targets":["10.0.0.4:5061"],"ticket":"t"},
        {"number":"+2","domain":"b.example","targets":["192.0.2.4:5061"],"ticket":"t"},
        {"number":"+3","domain":"b.example","targets":["192.0.2.4:5061"],"ticket":"t"}]}"#;
    let document: FactsDocument = serde_json::from_str(text).unwrap();
    let batch = document.batch(Scope::All, ledger.rules(), NOW).unwrap();
    assert!(ledger.apply(NOW, Source::File, batch).is_applied && ledger.close());
    for (routes_max, allow_private, held) in [(10, true, 3), (1, false, 1), (10, true, 1)] {
        let (ledger, faults) = Ledger::open(settings(routes_max, allow_private), NOW);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(ledger.table().len(), held);
        let left_out = if routes_max == 1 { 2 } else { 0 };
        assert_eq!(ledger.stats().refused.values().sum::<u64>(), left_out);
        assert!(ledger.close());
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn pages_go_through_every_route_once_and_show_no_ticket() {
    let mut table = LearnedRoutes::new(Bounds::default());
    let entries: Vec<_> = (0..25)
        .map(|at| route(&format!("r{at}"), &format!("+1408555{at:04}"), "b.example"))
        .collect();
    table.apply(NOW, Source::Feed, batch(Scope::All, &entries));
    table.apply(NOW, Source::Api, batch(Scope::Routes, &entries[3..5]));
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let filter = RouteFilter {
            after,
            limit: 10,
            ..RouteFilter::default()
        };
        let page = table.answer(&Question::Routes(filter)).body;
        assert!(!page.to_string().contains("secret-ticket"));
        seen.extend(
            page["routes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|route| route["number"].clone()),
        );
        match page["next"].as_str() {
            Some(next) => after = Some(next.parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen.len(), 27);
    let one = table.answer(&Question::Route("+14085550003".parse().unwrap())).body;
    assert_eq!(
        (&one["routes"][0]["source"], &one["routes"][0]["in_use"]),
        (&"api".into(), &true.into())
    );
    assert_eq!(one["routes"][1]["yields_to"], "api");
    let filter = RouteFilter {
        source: Some(Source::Api),
        limit: 10,
        ..RouteFilter::default()
    };
    let page = table.answer(&Question::Routes(filter)).body;
    assert_eq!(page["routes"].as_array().unwrap().len(), 2);
}

#[test]
fn a_document_names_every_entry_that_cannot_be_read() {
    let text = r#"{"routes":[{"number":"+1","domain":"b.example","targets":["192.0.2.4:5061"],"ticket":"t"},
        {"number":"1","domain":"b.example","targets":["192.0.2.4:5061"],"ticket":"t"},
        {"number":"+2","domain":"b.example","targets":["10.0.0.1:5061"],"ticket":"t"}],
        "revocations":[{"number":"+1","granted_to":"b.example"}],"mappings":[{"mapping_id":"m"}]}"#;
    let document: FactsDocument = serde_json::from_str(text).unwrap();
    let refused = document.batch(Scope::All, &RouteRules::default(), NOW).unwrap_err();
    let causes: Vec<_> = refused
        .iter()
        .map(|refusal| (refusal.index, refusal.cause.name()))
        .collect();
    assert_eq!(
        causes,
        [(1, "number"), (2, "private_address"), (3, "syntax"), (4, "syntax")]
    );
}

proptest! {
    /// Whatever is told, withdrawn and expired, the changes told so far make the very table that is made anew.
    #[test]
    fn changes_lead_to_the_table_that_a_rebuild_makes(steps in prop::collection::vec(step(), 1..40)) {
        let mut table = LearnedRoutes::new(Bounds { routes_max: 12, ..Bounds::default() });
        let mut followed = RouteTable::default();
        let mut now = NOW;
        for step in steps {
            now += Duration::from_secs(1);
            let changes = match step {
                Step::Put(source, scope, entries) => table.apply(now, source, batch(scope, &entries)).changes,
                Step::Remove(number) => table.remove(now, Source::Api, &Removal::RoutesOf(number)).1,
                Step::Deny(domains) => {
                    let mode = DomainMode::Deny;
                    let policy = Fact::DomainPolicy(DomainPolicy { mode, domains });
                    table.apply(now, Source::Feed, facts(vec![policy])).changes
                }
                Step::Take(numbers) => table.set_policy(table.bounds, numbers.into_iter().collect()),
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    table.expire(now)
                }
            };
            followed = followed.with_changes(changes.routes);
            prop_assert_eq!(&followed, &RouteTable::from_routes(0, table.routes()));
            prop_assert!(table.len() <= 12);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(Source, Scope, Vec<RouteEntry>),
    Remove(E164),
    Deny(Vec<tollgate_validator::Domain>),
    Take(Vec<E164>),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let number = (0..6u32).prop_map(|at| format!("+1{at}").parse::<E164>().unwrap());
    let entry =
        (0..8u32, 0..6u32, 0..3u32, 0..4u64, 1..60u64).prop_map(|(id, number, domain, revision, life)| RouteEntry {
            revision,
            expires_at_ms: Some(millis(NOW) + life * 1_000),
            ..route(&format!("r{id}"), &format!("+1{number}"), &format!("d{domain}.example"))
        });
    let source = prop::sample::select(Source::ALL.to_vec());
    let scope = prop::sample::select(vec![Scope::Delta, Scope::Routes, Scope::All]);
    let domains = prop::collection::vec((0..3u32).prop_map(|at| format!("d{at}.example").parse().unwrap()), 0..3);
    prop_oneof![
        6 => (source, scope, prop::collection::vec(entry, 0..5)).prop_map(|(source, scope, put)| Step::Put(source, scope, put)),
        1 => number.clone().prop_map(Step::Remove),
        1 => domains.prop_map(Step::Deny),
        1 => prop::collection::vec(number, 0..3).prop_map(Step::Take),
        1 => (1..20u64).prop_map(Step::Wait),
    ]
}

fn route(id: &str, number: &str, domain: &str) -> RouteEntry {
    RouteEntry {
        id: Some(id.to_owned()),
        number: number.to_owned(),
        domain: domain.to_owned(),
        targets: vec![TargetEntry::Text("192.0.2.4:5061".to_owned())],
        ticket: Pii("secret-ticket".to_owned()),
        revision: 0,
        learned_at_ms: Some(millis(NOW)),
        expires_at_ms: Some(millis(NOW) + 1_000_000),
    }
}

/// As a source would hand it on that judged its routes before.
fn batch(scope: Scope, entries: &[RouteEntry]) -> Batch {
    let document = FactsDocument {
        routes: entries.to_vec(),
        ..FactsDocument::default()
    };
    document.batch(scope, &RouteRules::default(), NOW).unwrap()
}

fn document(text: &str) -> Batch {
    let document: FactsDocument = serde_json::from_str(text).unwrap();
    document.batch(Scope::Delta, &RouteRules::default(), NOW).unwrap()
}

fn facts(facts: Vec<Fact>) -> Batch {
    Batch {
        scope: Scope::Delta,
        tolerance: Tolerance::None,
        mark: None,
        facts,
    }
}

fn put(table: &mut LearnedRoutes, source: Source, entry: &RouteEntry) -> Outcome {
    table.apply(NOW, source, batch(Scope::Delta, std::slice::from_ref(entry)))
}

/// Takes back a source's routes of the number, as if it were the API.
fn remove_of(table: &mut LearnedRoutes, source: Source) -> (usize, Changes) {
    table.remove(NOW, source, &Removal::RoutesOf(NUMBER.parse().unwrap()))
}

fn in_use(table: &LearnedRoutes) -> &str {
    &table.in_use(NUMBER.parse().unwrap()).unwrap().route.domain
}

fn told(changes: &Changes) -> Vec<(String, Option<String>)> {
    let domain = |route: &Arc<Route>| route.domain.to_string();
    let told = changes
        .routes
        .iter()
        .map(|RouteChange { pattern, route }| match pattern {
            NumberPattern::Exact(number) => (number.to_string(), route.as_ref().map(domain)),
            NumberPattern::Prefix(_) | NumberPattern::Any => unreachable!("only numbers are learned"),
        });
    told.collect()
}

fn key(epoch: u32, byte: u8) -> LearnedKey {
    LearnedKey {
        epoch,
        alg: TicketAlg::V2HmacSha256,
        secret: Secret::new(vec![byte; 32]),
        not_before: NOW,
        issue_until: NOW + Duration::from_secs(1_000),
        accept_until: NOW + Duration::from_secs(2_000),
        state: LearnedKeyState::Issuing,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// The design size, by hand: `cargo test --release -p tollgate-control -- --ignored --nocapture a_million`.
#[test]
#[allow(clippy::print_stdout, reason = "figures to be read")]
#[ignore = "takes a gigabyte and, without optimisation, minutes"]
fn a_million_routes_are_learned_stored_and_read_back() {
    let dir = std::env::temp_dir().join(format!("tollgate-million-{}", std::process::id()));
    let settings = LedgerSettings {
        state_dir: Some(dir.clone()),
        bounds: Bounds::default(),
        rules: RouteRules::default(),
    };
    let ticket = Pii("A".repeat(196));
    let part = |from: u32| {
        let entries = (from..from + 10_000).map(|at| RouteEntry {
            ticket: ticket.clone(),
            expires_at_ms: Some(millis(NOW) + 1_000_000 + u64::from(at)),
            ..route(
                &format!("r{at}"),
                &format!("+1408{at:07}"),
                &format!("d{}.example", at % 1_000),
            )
        });
        batch(Scope::Delta, &entries.collect::<Vec<_>>())
    };
    let before = resident();
    let (mut ledger, faults) = Ledger::open(settings.clone(), NOW);
    assert!(faults.is_empty(), "{faults:?}");
    let began = std::time::Instant::now();
    let (mut longest, mut applying) = (Duration::ZERO, Duration::ZERO);
    for from in (0..1_000_000).step_by(10_000) {
        let part = part(from);
        let at = std::time::Instant::now();
        assert!(ledger.apply(NOW, Source::Feed, part).is_applied);
        applying += at.elapsed();
        longest = longest.max(at.elapsed());
    }
    println!(
        "applied in {applying:?} of {:?}, longest batch of 10,000 {longest:?}",
        began.elapsed()
    );
    println!("{} bytes a route", (resident() - before) / 1_000_000);
    let mut now = NOW;
    while ledger
        .next_wake(now)
        .is_some_and(|wake| wake < now + Duration::from_secs(1))
    {
        now += Duration::from_millis(60);
        let at = std::time::Instant::now();
        ledger.tick(now);
        longest = longest.max(at.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    println!(
        "stored after {:?}, {:?}, longest turn {longest:?}",
        began.elapsed(),
        ledger.stats().store
    );
    while !ledger
        .stats()
        .store
        .is_some_and(|store| store.is_up && store.bytes > 100_000_000)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(ledger.close());
    let began = std::time::Instant::now();
    let (mut ledger, faults) = Ledger::open(settings, NOW);
    println!("read back in {:?}", began.elapsed());
    assert!(faults.is_empty() && ledger.table().len() == 1_000_000, "{faults:?}");
    let began = std::time::Instant::now();
    let changes = ledger.tick(NOW + Duration::from_secs(1_001));
    println!("{} routes ended in {:?}", changes.routes.len(), began.elapsed());
    assert_eq!(changes.routes.len(), 1_001);
    std::fs::remove_dir_all(dir).unwrap();
}

/// Bytes of memory in use.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

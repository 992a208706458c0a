use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[test]
fn the_exact_number_wins_over_the_longest_prefix_over_a_shorter_one() {
    let table = table(&["*", "+1*", "+1408*", "+14085551234"]);
    let found = |number: &str| &*table.lookup(number.parse().unwrap(), Duration::ZERO).unwrap().domain;
    assert_eq!(found("+14085551234"), "+14085551234");
    assert_eq!(found("+14085551235"), "+1408*");
    assert_eq!(found("+12125551234"), "+1*");
    assert_eq!(found("+442071234567"), "*");
}

#[test]
fn a_route_past_its_end_is_not_found() {
    let end = Some(Duration::from_secs(10));
    let table = RouteTable::default().with_changes([set(
        "+1408*",
        Route {
            expires: end,
            ..route("old", 1)
        },
    )]);
    let number = "+14085551234".parse().unwrap();
    assert!(table.lookup(number, Duration::from_secs(9)).is_some());
    assert!(table.lookup(number, Duration::from_secs(10)).is_none());
}

#[test]
fn the_last_prefix_of_a_length_takes_the_length_out_of_the_look_up() {
    let two = table(&["+1408*", "+1212*"]);
    assert_eq!(two.prefix_lengths[4], 2);
    let none = two.with_changes([unset("+1408*"), unset("+1212*"), unset("+1650*")]);
    assert_eq!(none.prefix_lengths, [0; 16]);
    assert!(none.is_empty());
}

#[test]
fn a_domain_is_reached_where_most_of_its_routes_say_until_the_last_is_gone() {
    let at = |table: &RouteTable| table.targets_of("b.example").map(<[SocketAddr]>::to_vec);
    let table = RouteTable::default().with_changes([
        set("+11", route("b.example", 9)),
        set("+12", route("b.example", 9)),
        set("+13", route("b.example", 1)),
    ]);
    assert_eq!(at(&table), Some(targets(9).to_vec()));
    let table = table.with_changes([unset("+11"), unset("+12")]);
    assert_eq!(at(&table), Some(targets(1).to_vec()));
    assert_eq!(at(&table.with_changes([unset("+13")])), None);
}

#[test]
fn routes_of_one_peer_share_its_domain_and_addresses() {
    let table = RouteTable::default().with_changes([set("+11", route("b.example", 1))]);
    let table = table.with_changes([set("+12", route("b.example", 1))]);
    let routes: Vec<&Arc<Route>> = table.iter().map(|(_, route)| route).collect();
    assert!(Arc::ptr_eq(&routes[0].domain, &routes[1].domain));
    assert!(Arc::ptr_eq(&routes[0].targets, &routes[1].targets));
}

#[test]
fn one_change_among_a_hundred_thousand_copies_one_shard() {
    let number = |n: u64| format!("+1{n:010}").parse().map(NumberPattern::Exact).unwrap();
    let routes = (0..100_000).map(|n| (number(n), Arc::new(route(&format!("{}.example", n % 100), 1))));
    let before = RouteTable::from_routes(7, routes);
    let ticket = Some(Pii("new".to_owned()));
    let after = before.with_changes([RouteChange {
        pattern: number(4_711),
        route: Some(Arc::new(Route {
            ticket,
            ..route("11.example", 1)
        })),
    }]);
    assert_eq!(after.exact.shards_apart(&before.exact), 1);
    assert_eq!(after.prefixes.shards_apart(&before.prefixes), 0);
    assert_eq!(after.domains, before.domains);
    assert_ne!(after, before);
    let same = after.with_changes(after.iter().map(|(pattern, route)| RouteChange {
        pattern,
        route: Some(route.clone()),
    }));
    assert_eq!(
        same.exact.shards_apart(&after.exact),
        0,
        "a change to what is there is none"
    );
}

proptest! {
    #[test]
    fn a_table_changed_in_steps_equals_one_from_nothing(
        steps in vec(vec(any_change(), 0..12), 1..8),
        called in vec("[+][12]{1,5}", 1..20),
    ) {
        let mut table = RouteTable::new(1);
        let mut model: BTreeMap<NumberPattern, Arc<Route>> = BTreeMap::new();
        for changes in steps {
            for change in &changes {
                match &change.route {
                    Some(route) => drop(model.insert(change.pattern, route.clone())),
                    None => drop(model.remove(&change.pattern)),
                }
            }
            table = table.with_changes(changes);
            prop_assert_eq!(&table, &RouteTable::from_routes(2, model.clone()));
            prop_assert_eq!(table.iter().map(|(pattern, route)| (pattern, route.clone())).collect::<BTreeMap<_, _>>(), model.clone());
            for number in &called {
                let number: E164 = number.parse().unwrap();
                let unix = Duration::from_secs(5);
                prop_assert_eq!(table.lookup(number, unix), naive_lookup(&model, number, unix));
            }
            for domain in DOMAINS {
                let expected = naive_targets(&model, domain);
                prop_assert_eq!(table.targets_of(domain), expected.as_deref());
            }
        }
    }
}

const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];

/// Few enough patterns, domains and target lists that they meet again and again.
fn any_change() -> impl Strategy<Value = RouteChange> {
    let pattern = prop_oneof!["[+][12]{1,5}", "[+][12]{1,5}[*]", Just("*".to_owned())];
    let content = (
        prop::sample::select(DOMAINS.to_vec()),
        1u8..4,
        prop::option::of(1u64..9),
    );
    (pattern, prop::option::of(content)).prop_map(|(pattern, content)| RouteChange {
        pattern: pattern.parse().unwrap(),
        route: content.map(|(domain, host, end)| {
            let expires = end.map(Duration::from_secs);
            Arc::new(Route {
                expires,
                ..route(domain, host)
            })
        }),
    })
}

/// The longest pattern that matches and is live, by trying all.
fn naive_lookup(model: &BTreeMap<NumberPattern, Arc<Route>>, number: E164, unix: Duration) -> Option<&Arc<Route>> {
    let rank = |pattern: &NumberPattern| match pattern {
        NumberPattern::Exact(exact) => (*exact == number).then_some(99),
        NumberPattern::Prefix(prefix) => number
            .to_string()
            .starts_with(&prefix.to_string())
            .then_some(prefix.digits()),
        NumberPattern::Any => Some(0),
    };
    let live = model
        .iter()
        .filter(|(_, route)| route.expires.is_none_or(|end| unix < end));
    let matching = live.filter_map(|(pattern, route)| Some((rank(pattern)?, route)));
    matching.max_by_key(|(rank, _)| *rank).map(|(_, route)| route)
}

/// The target list of most routes, the first in order of equals, by counting all.
fn naive_targets(model: &BTreeMap<NumberPattern, Arc<Route>>, domain: &str) -> Option<Vec<SocketAddr>> {
    let lists: Vec<&[SocketAddr]> = model
        .values()
        .filter(|route| &*route.domain == domain)
        .map(|route| &*route.targets)
        .collect();
    let routes = |list: &[SocketAddr]| lists.iter().filter(|other| **other == list).count();
    let most = lists.iter().map(|list| routes(list)).max()?;
    lists
        .iter()
        .filter(|list| routes(list) == most)
        .min()
        .map(|list| list.to_vec())
}

fn table(patterns: &[&str]) -> RouteTable {
    let routes = patterns
        .iter()
        .map(|pattern| (pattern.parse().unwrap(), Arc::new(route(pattern, 1))));
    RouteTable::from_routes(0, routes)
}

fn set(pattern: &str, route: Route) -> RouteChange {
    RouteChange {
        pattern: pattern.parse().unwrap(),
        route: Some(Arc::new(route)),
    }
}

fn unset(pattern: &str) -> RouteChange {
    RouteChange {
        pattern: pattern.parse().unwrap(),
        route: None,
    }
}

fn targets(host: u8) -> Arc<[SocketAddr]> {
    Arc::from([SocketAddr::from(([192, 0, 2, host], 5061))])
}

fn route(domain: &str, host: u8) -> Route {
    Route {
        domain: domain.into(),
        targets: targets(host),
        ticket: None,
        expires: None,
    }
}

//! Publishing one route costs memory by the shard, not by the table.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;

use tollgate_contract::{NumberPattern, Pii, Route, RouteChange, RouteTable, Snapshot};
use tollgate_testkit::alloc::{CountingAllocator, allocated_bytes, allocations};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn the_bytes_to_publish_one_route_do_not_grow_with_the_table() {
    let [small, large] = [1_000, 100_000].map(|routes| bytes_to_publish_one(&table(routes)));
    assert!(
        small > 0 && large < small * 5 / 4,
        "{small} bytes of 1,000 routes, {large} of 100,000"
    );
}

#[test]
fn cloning_a_snapshot_of_many_routes_allocates_no_more_than_cloning_an_empty_one() {
    let empty = Snapshot::without_policy();
    let full = Snapshot {
        routes: table(10_000),
        ..empty.clone()
    };
    let allocated = |snapshot: &Snapshot| {
        let before = allocations();
        let copy = snapshot.clone();
        (allocations() - before, copy.routes.len())
    };
    let (of_empty, _) = allocated(&empty);
    assert_eq!(allocated(&full), (of_empty, 10_000));
}

fn bytes_to_publish_one(table: &RouteTable) -> u64 {
    let change = RouteChange {
        pattern: number(500),
        route: Some(route(500, "renewed")),
    };
    let before = allocated_bytes();
    let next = table.with_changes([change]);
    let allocated = allocated_bytes() - before;
    assert_ne!(next, *table);
    allocated
}

fn table(routes: u64) -> RouteTable {
    RouteTable::from_routes(1, (0..routes).map(|n| (number(n), route(n, "first"))))
}

fn number(n: u64) -> NumberPattern {
    format!("+1{n:010}").parse().expect("a number")
}

fn route(n: u64, ticket: &str) -> Arc<Route> {
    Arc::new(Route {
        domain: format!("{}.example", n % 100).into(),
        targets: Arc::from([SocketAddr::from(([192, 0, 2, 1], 5061))]),
        ticket: Some(Pii(ticket.to_owned())),
        expires: None,
    })
}

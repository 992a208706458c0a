//! What a table of routes costs by its size.
//!
//! Routes are as a validator would teach them: each number its own ticket, a thousand peers between them all, one or two
//! addresses a peer. It looks at the table alone, not at the policy file or the swap of the snapshot (one pointer).

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tollgate_contract::{E164, NumberPattern, Pii, Route, RouteChange, RouteTable};
use tollgate_testkit::alloc::{allocated_bytes, freed_bytes};

/// Peers that share the routes, unless there are fewer routes.
const DOMAINS: u64 = 1_000;

/// Characters of a ticket: between the usual 200 and the 860 of the longest names (ticket.md 3).
const TICKET_BYTES: usize = 300;

/// Changes published for the median.
const PUBLISHED: usize = 201;

/// Numbers of a warm look-up: as many as a busy edge calls again and again.
const WARM_NUMBERS: usize = 256;

/// Look-ups for the warm mean.
const WARM_LOOKUPS: usize = 1_000_000;

/// Single look-ups for the cold median, each after a walk through [`EVICTING_BYTES`].
const COLD_LOOKUPS: usize = 41;

/// More than the caches near a core hold.
const EVICTING_BYTES: usize = 256 << 20;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Numbers of routes.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000, 1_000_000], value_name = "ROUTES",
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    sizes: Vec<u64>,
}

/// The figures of one size.
struct Figures {
    routes: usize,
    load: Duration,
    bytes_per_route: u64,
    publish: Duration,
    publish_bytes: u64,
    warm_ns: f64,
    miss_ns: f64,
    cold: Duration,
}

/// Prints a row for each size; returns the same as JSON.
#[allow(clippy::print_stdout, reason = "the answer of a command")]
pub(crate) fn run(options: &Options) -> Value {
    println!(
        "| routes | load s | bytes/route | publish one µs | publish one bytes | warm ns | warm miss ns | cold ns |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut rows = Vec::new();
    let mut evicting = vec![1u8; EVICTING_BYTES];
    for &routes in &options.sizes {
        let figures = measure(routes, &mut evicting);
        println!("{}", row(&figures));
        rows.push(as_json(&figures));
    }
    json!({ "routes": rows })
}

fn row(figures: &Figures) -> String {
    format!(
        "| {} | {:.3} | {} | {:.1} | {} | {:.0} | {:.0} | {} |",
        figures.routes,
        figures.load.as_secs_f64(),
        figures.bytes_per_route,
        figures.publish.as_secs_f64() * 1e6,
        figures.publish_bytes,
        figures.warm_ns,
        figures.miss_ns,
        figures.cold.as_nanos()
    )
}

fn as_json(figures: &Figures) -> Value {
    json!({
        "routes": figures.routes,
        "load_seconds": figures.load.as_secs_f64(),
        "bytes_per_route": figures.bytes_per_route,
        "publish_us": figures.publish.as_secs_f64() * 1e6,
        "publish_bytes": figures.publish_bytes,
        "warm_ns": figures.warm_ns,
        "warm_miss_ns": figures.miss_ns,
        "cold_ns": figures.cold.as_nanos() as u64,
    })
}

fn measure(routes: u64, evicting: &mut [u8]) -> Figures {
    let mut rng = StdRng::seed_from_u64(routes);
    let held_before = held_bytes();
    let routes_made: Vec<_> = (0..routes).map(|n| (number(n), route(n))).collect();
    let begun = Instant::now();
    let table = RouteTable::from_routes(rng.random(), routes_made);
    let load = begun.elapsed();
    let bytes_per_route = (held_bytes() - held_before) / routes;
    let table = table.with_changes(prefixes());
    let (publish, publish_bytes) = publish(&table, routes, &mut rng);
    let any_number = |rng: &mut StdRng| called(rng.random_range(0..routes));
    let present: Vec<E164> = (0..WARM_NUMBERS).map(|_| any_number(&mut rng)).collect();
    let absent: Vec<E164> = (0..WARM_NUMBERS).map(|_| absent(&mut rng)).collect();
    let (warm_ns, miss_ns) = (warm(&table, &present, &mut rng), warm(&table, &absent, &mut rng));
    let cold = median((0..COLD_LOOKUPS).map(|_| {
        let number = any_number(&mut rng);
        evict(evicting);
        timed(|| look_up(&table, number))
    }));
    Figures {
        routes: table.len() - prefixes().count(),
        load,
        bytes_per_route,
        publish,
        publish_bytes,
        warm_ns,
        miss_ns,
        cold,
    }
}

/// Median time and bytes to make the next table with one new ticket and let go of the last, as a publication does.
fn publish(table: &RouteTable, routes: u64, rng: &mut StdRng) -> (Duration, u64) {
    let mut current = table.clone();
    let mut bytes = 0;
    let time = median((0..PUBLISHED).map(|_| {
        let n = rng.random_range(0..routes);
        let mut renewed = route(n);
        Arc::make_mut(&mut renewed).ticket = Some(Pii(ticket(n + 1)));
        let change = RouteChange {
            pattern: number(n),
            route: Some(renewed),
        };
        let before = allocated_bytes();
        let spent = timed(|| current = current.with_changes([change]));
        bytes = bytes.max(allocated_bytes() - before);
        spent
    }));
    (time, bytes)
}

/// Mean of many look-ups of a few numbers in random order, after as many that are not measured.
fn warm(table: &RouteTable, numbers: &[E164], rng: &mut StdRng) -> f64 {
    let order: Vec<E164> = (0..WARM_LOOKUPS).filter_map(|_| numbers.choose(rng).copied()).collect();
    let all = || order.iter().for_each(|number| look_up(table, *number));
    all();
    timed(all).as_nanos() as f64 / order.len() as f64
}

/// A look-up as a call does it: the route is followed to its addresses.
fn look_up(table: &RouteTable, number: E164) {
    let route = table.lookup(black_box(number), Duration::ZERO);
    black_box(route.and_then(|route| route.targets.first()));
}

fn evict(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().step_by(64) {
        *byte = byte.wrapping_add(1);
    }
    black_box(bytes);
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Bytes this thread asked for and did not give back; the allocator's rounding is not in it.
fn held_bytes() -> u64 {
    allocated_bytes() - freed_bytes()
}

/// A prefix of each length, so that a look-up without an exact route has to ask for all of them.
fn prefixes() -> impl Iterator<Item = RouteChange> {
    (1..=E164::MAX_DIGITS).map(|digits| RouteChange {
        pattern: format!("+{:1<digits$}*", 1).parse().expect("digits and a star"),
        route: Some(route(digits as u64)),
    })
}

fn number(n: u64) -> NumberPattern {
    NumberPattern::Exact(called(n))
}

/// Numbers of twelve digits that begin alike, as those of one country do.
fn called(n: u64) -> E164 {
    format!("+49{:010}", 8_900_000_000 + n).parse().expect("twelve digits")
}

/// A number of fifteen digits that no route and no prefix is for.
fn absent(rng: &mut StdRng) -> E164 {
    let text = format!("+9{:014}", rng.random_range(0..100_000_000_000_000u64));
    text.parse().expect("fifteen digits")
}

fn route(n: u64) -> Arc<Route> {
    let peer = n % DOMAINS;
    let address = |host: u8| SocketAddr::from(([198, 51, (peer / 256) as u8, host], 5061));
    let targets: Vec<SocketAddr> = (0..=peer % 2)
        .map(|host| address(host as u8 + (peer % 250) as u8))
        .collect();
    Arc::new(Route {
        domain: format!("sip.company-{peer}.example").into(),
        targets: targets.into(),
        ticket: Some(Pii(ticket(n))),
        expires: Some(Duration::from_secs(86_400 * (1 + n % 30))),
    })
}

/// A text of no more capacity than it needs, as one copied from a message has.
fn ticket(n: u64) -> String {
    format!("{n:0>TICKET_BYTES$}").into_boxed_str().into_string()
}

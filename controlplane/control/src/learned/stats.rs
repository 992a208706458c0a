//! What is counted about learned facts and their store, as metrics.
//!
//! No label holds a number, domain or id.

use std::collections::BTreeMap;

use super::kept::Kind;
use super::{LearnedRoutes, Source};
use crate::exposition::{Exposition, Kind as Family};

/// Counters and gauges of learned facts at one moment.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Routes held, by [`Source::index`].
    pub routes: [u64; Source::ALL.len()],
    /// Most routes that may be held.
    pub routes_max: u64,
    /// Ticket keys held.
    pub keys: u64,
    /// Revocations held.
    pub revocations: u64,
    /// Mappings held.
    pub mappings: u64,
    /// Entries refused, by cause.
    pub refused: BTreeMap<&'static str, u64>,
    /// Routes that ended by their own time.
    pub expired: u64,
    /// Requests to the admin address without the right token.
    pub unauthorised: u64,
    /// The store; `None` where the policy has no `state.dir`.
    pub store: Option<StoreStats>,
}

/// Counters and gauges of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Whether everything learned is on disk or on its way.
    pub is_up: bool,
    /// Bytes of the file.
    pub bytes: u64,
    /// Commits made.
    pub commits: u64,
    /// Times the disk refused.
    pub failures: u64,
    /// Times everything was written anew.
    pub rewrites: u64,
}

impl Stats {
    pub(super) fn of(table: &LearnedRoutes) -> Self {
        let count = |kinds: &[Kind]| kinds.iter().map(|kind| table.keep.count(*kind) as u64).sum();
        Self {
            routes: Source::ALL.map(|source| table.book.len_of(source) as u64),
            routes_max: table.bounds.routes_max as u64,
            keys: count(&[Kind::Keys]),
            revocations: count(&[Kind::RevokedUuids, Kind::RevokedDomains, Kind::RevokedNumbers]),
            mappings: count(&[Kind::Mappings]),
            refused: table.refused.clone(),
            expired: table.expired,
            unauthorised: 0,
            store: None,
        }
    }
}

/// Adds the metrics of learned facts to a page.
pub fn expose(out: &mut Exposition, stats: &Stats) {
    out.family("learned_routes", Family::Gauge, "Learned routes held, by source.");
    for (source, count) in Source::ALL.into_iter().zip(stats.routes) {
        out.sample("learned_routes", &[("source", source.name())], count as f64);
    }
    let gauges = [
        (
            "learned_routes_max",
            "Learned routes that may be held.",
            stats.routes_max,
        ),
        ("learned_ticket_keys", "Learned ticket keys held.", stats.keys),
        ("learned_revocations", "Learned revocations held.", stats.revocations),
        ("learned_mappings", "Learned mappings held.", stats.mappings),
    ];
    for (name, help, value) in gauges {
        out.family(name, Family::Gauge, help);
        out.sample(name, &[], value as f64);
    }
    out.family(
        "learned_refused_total",
        Family::Counter,
        "Learned entries refused, by cause.",
    );
    for (cause, count) in &stats.refused {
        out.sample("learned_refused_total", &[("reason", cause)], *count as f64);
    }
    let counters = [
        (
            "learned_expired_total",
            "Learned routes that ended by their own time.",
            stats.expired,
        ),
        (
            "admin_unauthorised_total",
            "Requests to the admin address without the right token.",
            stats.unauthorised,
        ),
    ];
    for (name, help, value) in counters {
        out.family(name, Family::Counter, help);
        out.sample(name, &[], value as f64);
    }
    if let Some(store) = &stats.store {
        expose_store(out, store);
    }
}

fn expose_store(out: &mut Exposition, store: &StoreStats) {
    let up = f64::from(u8::from(store.is_up));
    let families = [
        (
            "state_store_up",
            Family::Gauge,
            "1 while learned facts are kept on disk.",
            up,
        ),
        (
            "state_store_bytes",
            Family::Gauge,
            "Bytes of the file of learned facts.",
            store.bytes as f64,
        ),
        (
            "state_store_commits_total",
            Family::Counter,
            "Commits of learned facts.",
            store.commits as f64,
        ),
        (
            "state_store_failures_total",
            Family::Counter,
            "Times the disk refused.",
            store.failures as f64,
        ),
        (
            "state_store_rewrites_total",
            Family::Counter,
            "Times all was written anew.",
            store.rewrites as f64,
        ),
    ];
    for (name, kind, help, value) in families {
        out.family(name, kind, help);
        out.sample(name, &[], value);
    }
}

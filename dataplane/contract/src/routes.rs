//! Routes: which peer a called number is reached at.
//!
//! It does not learn, age or remove routes by itself: who compiles the snapshot says what changes.

mod domains;
mod pattern;
mod sharded;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use self::pattern::{InvalidNumberPattern, NumberPattern};

use self::domains::{Domains, Recount};
use self::sharded::Sharded;
use crate::{E164, Pii};

/// How calls to a number reach their peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The peer's domain: its certificate must name it, and it is the host of the Request-URI sent. Lower case.
    pub domain: Arc<str>,
    /// Addresses of the peer edge, tried in order. Never empty.
    pub targets: Arc<[SocketAddr]>,
    /// The ticket to send, in its text form; opaque to the calling side.
    pub ticket: Option<Pii<String>>,
    /// When the route ends, since 1970; `None` for a static one.
    pub expires: Option<Duration>,
}

/// A pattern gets a route, or loses the one it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// Which numbers.
    pub pattern: NumberPattern,
    /// Their route from now on; `None` removes it.
    pub route: Option<Arc<Route>>,
}

/// All routes, looked up by exact number first and then by longest prefix, in at most 15 look-ups of prefixes.
///
/// A table never changes: [`RouteTable::with_changes`] makes the next one, which shares with it whatever no change
/// touched. A clone shares everything. Two tables are equal if they hold the same routes, however they came to be.
///
/// Whoever teaches us routes chooses the numbers. To have no way to crowd one shard, which would make each change in it
/// a copy of all those numbers, shards are chosen by a hash keyed with a seed. The seed is an argument, since this crate
/// has no randomness; look-ups stay logarithmic even in a crowded shard, so a known one costs time to publish alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTable {
    exact: Sharded<E164, Arc<Route>>,
    prefixes: Sharded<E164, Arc<Route>>,
    /// How many prefixes have this many digits; the look-up skips lengths without any.
    prefix_lengths: [u32; E164::MAX_DIGITS + 1],
    any: Option<Arc<Route>>,
    domains: Domains,
}

impl RouteTable {
    /// An empty table whose shards are chosen with a seed, which should be random and secret where others choose the
    /// numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            exact: Sharded::new(seed),
            prefixes: Sharded::new(seed),
            domains: Domains::new(seed),
            ..Self::default()
        }
    }

    /// A table of these routes; the last of a pattern's holds. Seed as for [`RouteTable::new`].
    #[must_use]
    pub fn from_routes(seed: u64, routes: impl IntoIterator<Item = (NumberPattern, Arc<Route>)>) -> Self {
        let changes = routes.into_iter().map(|(pattern, route)| RouteChange {
            pattern,
            route: Some(route),
        });
        Self::new(seed).with_changes(changes)
    }

    /// The table after some changes, the last of a pattern's being the one that holds. Costs what the touched shards
    /// cost, not what the table does; a change to what is there already costs nothing.
    #[must_use]
    pub fn with_changes(&self, changes: impl IntoIterator<Item = RouteChange>) -> Self {
        let latest = changes.into_iter().map(|change| (change.pattern, change.route));
        let mut latest: BTreeMap<NumberPattern, Option<Arc<Route>>> = latest.collect();
        latest.retain(|pattern, route| self.of_pattern(*pattern) != route.as_ref());
        let mut recount = Recount::default();
        for (pattern, route) in &latest {
            recount.replace(self.of_pattern(*pattern), route.as_ref());
        }
        let mut next = Self {
            domains: self.domains.with(recount),
            ..self.clone()
        };
        let (mut exact, mut prefixes) = (Vec::new(), Vec::new());
        for (pattern, mut route) in latest {
            if let Some(route) = &mut route {
                next.domains.share(route);
            }
            match pattern {
                NumberPattern::Exact(number) => exact.push((number, route)),
                NumberPattern::Prefix(prefix) => {
                    next.count_prefix(prefix, self.prefixes.get(&prefix).is_some(), route.is_some());
                    prefixes.push((prefix, route));
                }
                NumberPattern::Any => next.any = route,
            }
        }
        next.exact = self.exact.with(exact);
        next.prefixes = self.prefixes.with(prefixes);
        next
    }

    /// The route for a number at a time since 1970: an exact one, else that of the longest prefix.
    #[must_use]
    pub fn lookup(&self, number: E164, unix: Duration) -> Option<&Arc<Route>> {
        let live = |route: &&Arc<Route>| route.expires.is_none_or(|end| unix < end);
        self.of_pattern(NumberPattern::Exact(number))
            .filter(live)
            .or_else(|| {
                let lengths = self.prefix_lengths.iter().enumerate().take(number.digits() + 1).rev();
                lengths
                    .filter(|(_, prefixes)| **prefixes > 0)
                    .filter_map(|(digits, _)| self.of_pattern(NumberPattern::Prefix(number.prefix(digits)?)))
                    .find(live)
            })
            .or_else(|| self.catch_all(unix))
    }

    /// The route for everything, at a time since 1970: also for what is addressed to no number.
    #[must_use]
    pub fn catch_all(&self, unix: Duration) -> Option<&Arc<Route>> {
        self.any
            .as_ref()
            .filter(|route| route.expires.is_none_or(|end| unix < end))
    }

    /// The addresses of a peer's edge by its domain: those that most of its routes have.
    #[must_use]
    pub fn targets_of(&self, domain: &str) -> Option<&[SocketAddr]> {
        self.domains.targets_of(domain)
    }

    /// Every route with its pattern, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (NumberPattern, &Arc<Route>)> {
        let exact = self
            .exact
            .iter()
            .map(|(number, route)| (NumberPattern::Exact(*number), route));
        let prefixes = self
            .prefixes
            .iter()
            .map(|(prefix, route)| (NumberPattern::Prefix(*prefix), route));
        exact
            .chain(prefixes)
            .chain(self.any.iter().map(|route| (NumberPattern::Any, route)))
    }

    /// Number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len() + self.prefixes.len() + usize::from(self.any.is_some())
    }

    /// Whether there is no route at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The route of exactly this pattern.
    fn of_pattern(&self, pattern: NumberPattern) -> Option<&Arc<Route>> {
        match pattern {
            NumberPattern::Exact(number) => self.exact.get(&number).map(|(_, route)| route),
            NumberPattern::Prefix(prefix) => self.prefixes.get(&prefix).map(|(_, route)| route),
            NumberPattern::Any => self.any.as_ref(),
        }
    }

    fn count_prefix(&mut self, prefix: E164, was_there: bool, is_there: bool) {
        let Some(prefixes) = self.prefix_lengths.get_mut(prefix.digits()) else {
            return;
        };
        // The old one is among those counted, so this cannot fall below 0.
        *prefixes = *prefixes + u32::from(is_there) - u32::from(was_there);
    }
}

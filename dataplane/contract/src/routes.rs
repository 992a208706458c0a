//! Routes: which peer a called number is reached at.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::{E164, InvalidE164, Pii};

/// A number, or all numbers that begin with some digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumberPattern {
    /// One number.
    Exact(E164),
    /// Every number with these leading digits.
    Prefix(E164),
    /// Every number.
    Any,
}

/// Not `+digits`, `+digits*` or `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNumberPattern;

impl FromStr for NumberPattern {
    type Err = InvalidNumberPattern;

    /// `+14085551234` is a number, `+1408*` a prefix, `*` or `+*` everything.
    fn from_str(text: &str) -> Result<Self, InvalidNumberPattern> {
        let number = |digits: &str| digits.parse().map_err(|_: InvalidE164| InvalidNumberPattern);
        match text.strip_suffix('*') {
            None => Ok(Self::Exact(number(text)?)),
            Some("" | "+") => Ok(Self::Any),
            Some(prefix) => Ok(Self::Prefix(number(prefix)?)),
        }
    }
}

impl fmt::Display for InvalidNumberPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a number (+14085551234) or prefix (+1408*)")
    }
}

impl std::error::Error for InvalidNumberPattern {}

/// How calls to a number reach their peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The peer's domain: its certificate must name it, and it is the host of the Request-URI sent. Lower case.
    pub domain: String,
    /// Addresses of the peer edge, tried in order. Never empty.
    pub targets: Vec<SocketAddr>,
    /// The ticket to send, in its text form; opaque to the calling side.
    pub ticket: Option<Pii<String>>,
    /// When the route ends, since 1970; `None` for a static one.
    pub expires: Option<Duration>,
}

/// All routes, looked up by exact number first and then by longest prefix, in at most 17 probes.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    exact: HashMap<E164, Arc<Route>>,
    prefixes: HashMap<E164, Arc<Route>>,
    any: Option<Arc<Route>>,
}

impl RouteTable {
    /// Adds or replaces the route of a pattern.
    pub fn insert(&mut self, pattern: NumberPattern, route: Arc<Route>) {
        match pattern {
            NumberPattern::Exact(number) => drop(self.exact.insert(number, route)),
            NumberPattern::Prefix(prefix) => drop(self.prefixes.insert(prefix, route)),
            NumberPattern::Any => self.any = Some(route),
        }
    }

    /// The route for a number at a time since 1970: an exact one, else that of the longest prefix.
    #[must_use]
    pub fn lookup(&self, number: E164, unix: Duration) -> Option<&Arc<Route>> {
        let live = |route: &&Arc<Route>| route.expires.is_none_or(|end| unix < end);
        self.exact
            .get(&number)
            .filter(live)
            .or_else(|| {
                let longest_first = (1..=number.digits()).rev();
                longest_first
                    .filter_map(|digits| self.prefixes.get(&number.prefix(digits)?))
                    .find(live)
            })
            .or_else(|| self.any.as_ref().filter(live))
    }

    /// The addresses of a peer's edge by its domain, from any route that names it.
    #[must_use]
    pub fn targets_of(&self, domain: &str) -> Option<&[SocketAddr]> {
        self.iter()
            .find(|route| route.domain == domain)
            .map(|route| route.targets.as_slice())
    }

    /// Every route, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.exact.values().chain(self.prefixes.values()).chain(&self.any)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_number_wins_over_the_longest_prefix_over_a_shorter_one() {
        let mut table = RouteTable::default();
        for pattern in ["*", "+1*", "+1408*", "+14085551234"] {
            table.insert(pattern.parse().unwrap(), route(pattern, None));
        }
        let found = |number: &str| {
            table
                .lookup(number.parse().unwrap(), Duration::ZERO)
                .unwrap()
                .domain
                .clone()
        };
        assert_eq!(found("+14085551234"), "+14085551234");
        assert_eq!(found("+14085551235"), "+1408*");
        assert_eq!(found("+12125551234"), "+1*");
        assert_eq!(found("+442071234567"), "*");
    }

    #[test]
    fn a_route_past_its_end_is_not_found() {
        let mut table = RouteTable::default();
        table.insert("+1408*".parse().unwrap(), route("old", Some(Duration::from_secs(10))));
        let number = "+14085551234".parse().unwrap();
        assert!(table.lookup(number, Duration::from_secs(9)).is_some());
        assert!(table.lookup(number, Duration::from_secs(10)).is_none());
    }

    fn route(domain: &str, expires: Option<Duration>) -> Arc<Route> {
        Arc::new(Route {
            domain: domain.into(),
            targets: vec![],
            ticket: None,
            expires,
        })
    }
}

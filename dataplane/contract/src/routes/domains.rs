//! Where each peer is reached by its domain, counted from the routes that name it.
//!
//! It holds no routes. A change of one route costs a copy of the target lists of the domains it names (a handful, unless
//! a peer lists every number at another address).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Route;
use super::sharded::Sharded;

/// Addresses tried in order.
type Targets = Arc<[SocketAddr]>;

/// By domain, target lists with the routes that have them. A domain without a route is not held.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Domains(Sharded<Arc<str>, Peer>);

/// The target lists of one domain.
#[derive(Clone, Debug, PartialEq)]
struct Peer {
    /// Each list with its number of routes, never 0, in order of the lists.
    lists: Arc<[(Targets, usize)]>,
    /// The list of most routes, the least of equals: one stray route does not move a domain.
    preferred: Targets,
}

/// By domain and target list, how many routes more or less have it.
#[derive(Debug, Default)]
pub(super) struct Recount(BTreeMap<Arc<str>, BTreeMap<Targets, isize>>);

impl Recount {
    /// Counts a route that takes the place of another.
    pub(super) fn replace(&mut self, old: Option<&Arc<Route>>, new: Option<&Arc<Route>>) {
        for (route, difference) in [(old, -1), (new, 1)] {
            let Some(route) = route else { continue };
            let lists = self.0.entry(route.domain.clone()).or_default();
            *lists.entry(route.targets.clone()).or_default() += difference;
        }
    }
}

impl Domains {
    /// Knows no domain.
    pub(super) fn new(seed: u64) -> Self {
        Self(Sharded::new(seed))
    }

    /// The addresses of a domain that most of its routes have.
    pub(super) fn targets_of(&self, domain: &str) -> Option<&[SocketAddr]> {
        self.0.get(domain).map(|(_, peer)| &*peer.preferred)
    }

    /// The index after routes were counted anew.
    pub(super) fn with(&self, recount: Recount) -> Self {
        let changed = recount.0.into_iter().filter_map(|(domain, mut lists)| {
            lists.retain(|_, difference| *difference != 0);
            let (domain, peer) = match self.0.get(&*domain) {
                // The name that earlier routes share stays the shared one.
                Some((held, peer)) => (held.clone(), Some(peer)),
                None => (domain, None),
            };
            (!lists.is_empty()).then(|| (domain, recounted(peer, lists)))
        });
        Self(self.0.with(changed))
    }

    /// Lets a route have the domain and list that the other routes of its peer have, instead of its own copies of them.
    /// One that is held elsewhere too is left as it is.
    pub(super) fn share(&self, route: &mut Arc<Route>) {
        let Some(route) = Arc::get_mut(route) else { return };
        let Some((domain, peer)) = self.0.get(&*route.domain) else {
            return;
        };
        route.domain = domain.clone();
        if let Ok(at) = peer.lists.binary_search_by(|(held, _)| held.cmp(&route.targets)) {
            route.targets = peer.lists[at].0.clone();
        }
    }
}

/// The lists of a domain after a recount; `None` if no route is left.
fn recounted(peer: Option<&Peer>, changed: BTreeMap<Targets, isize>) -> Option<Peer> {
    let mut lists: BTreeMap<Targets, usize> = peer
        .map(|peer| peer.lists.iter().cloned().collect())
        .unwrap_or_default();
    for (list, difference) in changed {
        let routes = lists.entry(list).or_default();
        *routes = routes.saturating_add_signed(difference);
    }
    lists.retain(|_, routes| *routes > 0);
    let (preferred, _) = lists.iter().min_by_key(|(list, routes)| (Reverse(**routes), *list))?;
    Some(Peer {
        preferred: preferred.clone(),
        lists: lists.into_iter().collect(),
    })
}
